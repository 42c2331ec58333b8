"""Every text that the project generates, at its extremes, is short, correct English in the glossary's words."""

from __future__ import annotations

import ast
import dataclasses
import io
import json
import re
import tokenize
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.classification.feature_sets import FEATURE_SETS
from lib.config import MAP_SOURCES, Study
from lib.datasets.shortcuts import Told
from lib.evaluation import headlines as h
from lib.evaluation.checks import DataFacts, Facts, checks
from lib.evaluation.findings import findings
from lib.evaluation.results import compute_results
from lib.evaluation.verdicts import rule, verdicts
from lib.inspection.threshold import OutOfFoldScores, choose_threshold
from lib.reporting.figures_inspection import count_decisions, describe_expected_performance
from tests.evaluation.made_up import rows, study
from tests.words import banned, faults

LIBRARY = Path(__file__).parents[1] / "lib"
ALL = {"image": 1.0, "map": 0.5, "image_map": 1.4, "score": 0.3, "image_map_all": 1.2, "image_logistic": 1.0,
       "guided": 1.5, "guided_all": 2.0, "guided_logistic": 2.5}  # fmt: skip
SAME = dict.fromkeys(ALL, 1.0)
GROUPS = {"group": [f"g{number // 3}" for number in range(90)]}


def no_fault(*texts: str) -> None:
    assert not [fault for text in texts for fault in faults(text)]


def grouped(skill, **columns):
    frame = study(skill, n=90, **columns)
    return frame.assign(group="g" + (frame["id"].astype(int) // 3).astype(str))


def trained(times):
    label = study(ALL, n=90)["label"].tolist()
    return pd.concat(
        [study(ALL, n=90, seed=one, repeat=one).assign(label=label) for one in range(times)], ignore_index=True
    )


def perfect(**columns):
    labels = ["good"] * 30 + ["a"] * 30
    every = [rows(labels, labels, features=name, folds=[n % 3 for n in range(60)], classes=("good", "a"), sure=1.0)
             for name in ALL]  # fmt: skip
    return pd.concat(every, ignore_index=True).assign(**columns)


def wrong():
    return perfect().assign(**{"p:good": lambda t: 1.0 - t["p:good"], "p:a": lambda t: 1.0 - t["p:a"]})


SCORES = study({"map": 1.0})  # the maps' own

STUDIES = {  # name: predictions, calibration, settings
    "full": (study(ALL, n=90, keep=(0.25, 1.0)), study(ALL, n=90, calibrated=True), {}),
    "identical methods": (study(SAME, n=90, keep=(0.25, 1.0)), study(SAME, n=90, calibrated=True), {}),
    "no maps": (study({"image": 1.0}, n=90), None, {}),
    "no calibration": (study(ALL, n=90), None, {}),
    "one of each": (study(ALL, n=6, folds=2), study(ALL, n=6, folds=2, calibrated=True), {"least_good": 1}),
    "perfect": (perfect(), perfect(inner=0), {"least_good": 1, "target_recall": 0.9}),
    "all wrong": (wrong(), wrong().assign(inner=0), {"least_good": 1, "target_recall": 0.9}),
    "recall of all": (study(ALL, n=90), study(ALL, n=90, calibrated=True), {"target_recall": 1.0, "least_good": 1}),
    "missed": (study(ALL, n=300), perfect(inner=0), {"least_good": 1}),
    "usable": (study({"image": 9.0}, n=300), study({"image": 9.0}, n=300, calibrated=True), {}),
    "grouped": (grouped(ALL, scheme="grouped"), None, {"map_source": "patchcore"}),
    "leaking": (grouped(ALL), None, {"map_fit": "cross_fitted"}),
    "both": (pd.concat([grouped(ALL, scheme="grouped"), grouped(ALL)], ignore_index=True), None, {}),
    "retrained": (trained(3), None, {"repeats": 3}),
}
TOLD = (Told("file size", 1.0, 1.0, 1.0), Told("JPEG quality", 0.9, 0.8, 1.0))
FACTS = (
    Facts(SCORES, {"a": 0.7, "b": 0.6}, 0.5, (1, 2, 3), True),
    Facts(SCORES, {"a": 0.4, "b": 0.3}, 0.9, (0, 0, 0), False),
    Facts(SCORES, {}, float("nan"), (), False),
    Facts(SCORES, {"a": 0.4}, 0.1, (0,), False),
    Facts(SCORES, {"a": 1.0}, 0.5, (1,), False, DataFacts(450, 1, 1, 1, TOLD, {"64 x 48 L": 1, "64 x 64 RGB": 7})),
)


@pytest.mark.parametrize("name", STUDIES)
def test_conclusions_checks_and_verdicts(name):
    found, known, settings = STUDIES[name]
    none, good = pd.DataFrame(), {"toy": "good", "other-synthetic": "good"}
    if name == "full":  # two data sets, one of them drawn and without calibration
        found = pd.concat([found, found.assign(dataset="other-synthetic")], ignore_index=True)
    known = none if known is None else known
    results = compute_results(found, good, Study.of("quick", settings), known, n=20)
    said = findings(results)
    no_fault(*said["question"], *said["answer"], *said["evidence"], h.statistics_headline(said).sentence)
    assert set(said["state"]) <= {"good", "warn", "bad", "none"} and said["pill"].str.len().between(2, 32).all()
    assert not said["answer"].str.contains(r"\. [A-Z]").any(), "one sentence"
    for facts in FACTS if name == "full" else FACTS[:2]:
        table = checks(results, dict.fromkeys(good, facts))
        no_fault(*table["check"], *table["result"], *table["why"], *table["action"])
    cards = verdicts(results, table)
    for column in cards.columns.difference(["dataset", "images", "state", "command"]):
        no_fault(*(f"{one[0].upper()}{one[1:]}" for one in cards[column] if one))
    no_fault(rule(results))


def pictures(**counts):
    table = pd.DataFrame({"label": [name for name, n in counts.items() for _ in range(n)], "group": None})
    table.attrs["good"] = "good"
    return table


def headlines():
    for counts in ({"good": 500, "a": 40, "b": 50}, {"good": 1, "a": 40}, {"good": 500, "a": 1}, {"good": 500, "a": 20},
                   {"good": 500}, {"a": 500}):  # fmt: skip
        yield h.dataset_headline(pictures(**counts), 3)
        yield h.dataset_headline(pictures(**counts).assign(group="x"), 1)
    defective = np.arange(40) % 2 == 0
    for scores in (defective, ~defective, np.zeros(40), np.arange(40), np.arange(40) + 30 * defective):
        yield h.source_headline("DRAEM", defective, scores.astype(float))
    yield h.source_headline("PatchCore")
    yield h.source_headline("DRAEM", np.zeros(9, bool), np.zeros(9))
    areas = {"overall": 0.7, "a": 0.9, "b": 0.5, "c": 0.8}
    quality = pd.DataFrame({"image_auroc": areas})
    for some in (["overall", "a", "b"], ["overall", "a", "c"], ["overall", "a"], []):
        yield h.maps_headline(quality.loc[some])
    still, moving = np.zeros(10), np.ones(10)
    few = np.r_[moving, moving, 0.0]
    for spread in ({"image": few, "map": still}, {"image": moving, "map": few}, {"image": moving, "map": moving}, {}):
        yield h.features_headline(spread)
        yield h.features_headline(spread, untrained=True)
    need = dict(features="guided_logistic", reference=300.0, target=0.5, least=75.0)
    ends = [(75.0, 75.0, 75.0), (100.0, 80.0, 290.0), (100.0, 75.0, np.inf), (np.inf, 75.0, np.inf), (np.nan,) * 3]
    for labels, low, high in ends:
        yield h.imbalance_headline(pd.DataFrame([need | {"labels": labels, "low": low, "high": high}]))
    yield h.statistics_headline(pd.DataFrame())
    for counts in ({}, {"pass": 1}, {"review": 1}, {"pass": 60, "reject": 9, "review": 22}, {"pass": 99, "review": 1}):
        yield h.inspection_headline(counts)


def test_headlines():
    found = list(headlines())
    no_fault(*(one.sentence for one in found))
    assert {one.state for one in found} == {"good", "warn", "bad", "none"}
    assert all(len(one.pill) <= 32 for one in found)


def test_a_headline_says_what_its_numbers_say():
    said = [h.dataset_headline(pictures(good=500, a=n, b=40), 3) for n in (2, 20, 40)]
    assert [one.state for one in said] == ["bad", "warn", "warn"] and "class a has 2 images" in said[0].sentence.lower()
    assert "40 images, the good class 500" in h.dataset_headline(pictures(good=500, a=40).assign(group="x"), 3).sentence
    defective = np.arange(40) % 2 == 0
    sure, turned, blind = (
        h.source_headline("DRAEM", defective, one * 1.0) for one in (defective, ~defective, defective * 0)
    )
    assert [one.state for one in (sure, turned, blind)] == ["good", "bad", "warn"]
    quality = pd.DataFrame({"image_auroc": {"overall": 0.6, "a": 0.9, "b": 0.4}})
    said = h.maps_headline(quality)
    assert said.state == "bad" and "class a best (image AUROC 0.90) and class b worst (0.40)" in said.sentence
    said = h.features_headline({"image": np.ones(4), "map": np.array([0, 0, 0, 1.0])})
    assert said.state == "warn" and "75.0 % of the map features" in said.sentence
    assert h.inspection_headline({"pass": 5, "review": 5, "refused": 90}).sentence.startswith("5 of 10 new images")


def test_settings_and_feature_sets():
    no_fault(*(f"{item.metadata['help'][0].upper()}{item.metadata['help'][1:]}." for item in dataclasses.fields(Study)))
    no_fault(*(one.title for one in FEATURE_SETS.values()), *(one.description for one in FEATURE_SETS.values()))
    no_fault(*(one.help for one in MAP_SOURCES.values()))


def test_what_an_inspection_says():
    for n, required in ((1, 0.5), (1, 0.99), (200, 0.99), (200, 1.0)):
        scores, defective = np.linspace(0, 1, 2 * n), np.arange(2 * n) >= n
        for groups, grouped_too in ((np.arange(2 * n), False), (np.arange(2 * n) // 2, True)):
            known = OutOfFoldScores(scores, defective, groups, grouped_too)
            no_fault(*describe_expected_performance(choose_threshold(known, required, 0), 0.01))
    columns = {"reason": "", "seen_in_training": ""}
    every = pd.DataFrame({"verdict": ["pass", "reject", "review", "review", "refused"], **columns})
    every["reason"] = ["", "", "out of distribution", "uncertain", ""]
    for some in (every, every[:1], every[2:3], every[4:], every.assign(seen_in_training="7")):
        no_fault(count_decisions(some), count_decisions(some, 1))


def literals(tree):
    """Yield the texts of a module that are not docstrings, what is computed in them shown as X."""
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (bare | inner):
            yield node.value


def explanations(source):
    """Yield the docstrings and comments of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


# their texts are part of what proves a study's files: changed only with the code
PROVEN = ("anomaly_maps", "classification", "datasets", "draem", "features", "pipeline")


@pytest.mark.parametrize("package", sorted({path.relative_to(LIBRARY).parts[0] for path in LIBRARY.rglob("*.py")}))
def test_texts_of_the_library(package):
    place, found = LIBRARY / package, []
    for path in [place] if place.suffix else place.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        for text in literals(ast.parse(source)) if package not in PROVEN else ():
            if re.search(r"\w \w+ \w", text):
                wrong = faults(text.strip(), numbers=9)  # numbers are not known yet
                found += [f"{path.name}: {one}" for one in wrong if not one.startswith("two spaces")]
        found += [f"{path.name}: {one}" for text in explanations(source) for one in banned(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("template", sorted(LIBRARY.rglob("*.j2")), ids=lambda path: path.name)
def test_texts_of_templates(template):
    text = re.sub(r"{#.*?#}|<style.*?</style>", "", template.read_text(encoding="utf-8"), flags=re.S)
    text = re.sub(r"{{.*?}}", "X", re.sub(r"{%.*?%}", "", text, flags=re.S))
    lines = "\n|" * template.name.endswith(".txt.j2")  # a sentence or title each
    for part in re.split(lines + r"</?(?:p|li|ul|h\d|div|td|th|dd|dt|details|summary|section|a|ol|br)\b[^>]*>", text):
        no_fault(" ".join(re.sub(r"<[^>]*>", "", part).split()))


@pytest.mark.parametrize("notebook", sorted(LIBRARY.parent.glob("notebooks/*.ipynb")), ids=lambda path: path.stem)
def test_texts_of_notebooks(notebook):
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            no_fault(*(text.strip() for text in literals(ast.parse(source)) if re.search(r"\w \w+ \w", text)))
            continue
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", re.sub(r"^(#+ .*|[-*|] .*)$", "", source, flags=re.M))
        no_fault(*(" ".join(part.replace("*", "").split()) for part in plain.split("\n\n")))
