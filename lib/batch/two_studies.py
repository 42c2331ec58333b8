"""The command `--compare`: two finished studies, A and B, side by side. Both are only read.

Written among A's tables as `compared-with-NAME`: all of it as Markdown, the numbers as CSV. Nothing else is changed.
"""

import html
import json
import math
import os
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lib.artifacts import Store, absolute, read_only, write_text
from lib.batch.finished_study import command_of, foreign, last_record
from lib.classification.feature_sets import FEATURE_SETS
from lib.config import Study, UsageError
from lib.datasets.csv_text import read_csv
from lib.datasets.errors import first_few, printable
from lib.evaluation.bootstrap import Paired
from lib.evaluation.metrics import MISSING, RANKINGS, TITLES, at_keep, rows_of_metric
from lib.evaluation.significance import Comparison, bootstrap_difference
from lib.reporting.table import Table, Value

NEEDS = INDEX, PREDICTIONS = ("index.parquet", "predictions/imbalance.parquet")
SAME = "The verdicts are the same: sentences differ in numbers only.\n"
NOTE = (
    "Intervals are paired where folds, groups, seed and repeats are the same. Otherwise they are made of each study's "
    "own and are wider. They are not corrected for the number of comparisons."
)
NUMBER = re.compile(r"(?:< )?[+−-]?\b(?:\d+(?:[.,]\d+)*|nan|inf)\b")
VERDICT, SHORT = "What is the verdict?", ("pill", "guide", "picture", "cost", "more", "weakest", "next")


class Finished(NamedTuple):
    """A data set of a finished study: provenance, index, predictions (primary folds, all defects), sentences."""

    about: Mapping[str, Any]
    images: pd.DataFrame
    predictions: pd.DataFrame
    sentences: Mapping[str, str]


Studied = Mapping[str, Finished]  # data sets of a study, by name


@read_only()
def studies_to_compare(options: Namespace, default: Namespace) -> tuple[list[Path], list[Studied]]:
    """Return the folders of two finished studies, and of each the data sets that both hold, by name.

    `default` holds what the options are where none is given. Raises `UsageError` with all issues at once.
    """
    issues, studies = foreign(options, default, ("compare", "output", "dataset")), []
    named = [(absolute(options.output) / name, Path(name)) for name in options.compare]
    folders = [absolute(below if below.is_dir() else path) for below, path in named]
    tables = folders[0] / "tables"
    if folders[0] == folders[1]:
        issues.append(f"--compare {' '.join(options.compare)}: one and the same study twice; name another")
    if folders[0].is_dir() and not os.access(tables, os.W_OK):
        issues.append(f"{tables}: cannot be written; name a study first where that can be done")
    for folder in dict.fromkeys(folders):
        try:
            studies.append(_read(folder, options.dataset or ()))
        except UsageError as error:
            issues.append(str(error))
    if len(studies) == 2:
        a, b = studies
        held = [name for name in a if name in b]
        issues += filter(None, (_other_images(name, a[name].images, b[name].images) for name in held))
        if not held:
            have = [", ".join(one) or f"none of {', '.join(options.dataset)}" for one in studies]
            issues.append(f"no data set in common: A holds {have[0]}, B {have[1]}; name other studies")
        studies = [{name: one[name] for name in held} for one in studies]
    if issues:
        raise UsageError("\n".join(map(printable, issues)))
    return folders, studies


def _read(folder: Path, wanted: Sequence[str]) -> Studied:
    """Return the data sets of a finished study (those `wanted`, if any), proven; raises `UsageError` with the issue."""
    known_of, found = last_record(folder)["summary"]["artefacts"], {}
    try:
        said, short = (
            read_csv(folder / f"tables/{name}.csv", dtype=str, keep_default_na=False).set_index("dataset")
            for name in ("conclusions", "verdicts")
        )
        for place, known in known_of.items():
            home, name = Store(folder / Path(place).name), Path(place).name
            if wanted and not {name, name.removesuffix("-synthetic")} & {*wanted}:
                continue
            if altered := [need for need in NEEDS if home.digest_or_none(need) != known[need]]:
                raise ValueError(f"{home.path(altered[0])} is not what its tables rest on")
            about = json.loads(home.path("provenance.json").read_text(encoding="utf-8"))
            if about["settings"].keys() != {item.name for item in fields(Study)}:
                raise ValueError("it has other settings")
            rows = pd.read_parquet(home.path(PREDICTIONS))
            rows = at_keep(rows[rows["scheme"] == rows["scheme"].iloc[0]], 1.0)
            sentences = {VERDICT: " ".join(short.loc[name, list(SHORT)].str.rstrip(".") + ".")}
            for row in said.loc[[name]].to_dict("records"):
                sentences[row["question"]] = f"{row['pill']}. {row['answer']} {row['evidence']}".strip()
            found[name] = Finished(about, pd.read_parquet(home.path(INDEX)), rows, sentences)
    except (OSError, ValueError, KeyError) as error:
        issue = f"not finished, or of an earlier version: {error}"
        raise UsageError(f"{folder}: {issue}; first run {command_of(folder)}") from error
    return found


def _other_images(name: str, a: pd.DataFrame, b: pd.DataFrame) -> str:
    """Return how many images are not in both indices under one label, and the first of them; empty where none."""
    known = [one.assign(good=one["label"] == one.attrs["good"]) for one in (a, b)]
    rows = [set(one[["id", "sha256", "label", "good"]].itertuples(index=False, name=None)) for one in known]
    unlike = sorted({row[0] for row in rows[0] ^ rows[1]})
    issue = f"{name}: images that A and B do not both hold under one label: {len(unlike)} ({first_few(unlike, 3)})"
    remedy = "run both on the same labelled images, or name other data sets with --dataset"
    return f"{issue}; {remedy}" if unlike else ""


def compare_studies(folders: Sequence[Path], studies: Sequence[Studied]) -> str:
    """Write what differs between two studies as Markdown and CSV; return the Markdown, unescaped."""
    unlike, figures, said = [], [], []
    for dataset, a in studies[0].items():
        b, here = studies[1][dataset], {"Dataset": dataset}
        differing = [*_differing(a, b)] or [("nothing", MISSING, MISSING)]
        unlike += [here | {"What": what, "A": one, "B": other} for what, one, other in differing]
        settings = a.about["settings"], b.about["settings"]
        same_seed = settings[0]["seed"] == settings[1]["seed"]
        paired = same_seed and image_folds(a.predictions).equals(image_folds(b.predictions))
        both, good = (a.predictions, b.predictions), str(a.images.attrs["good"])
        for (features, metric), gap in study_differences(*both, good, settings, paired=paired).items():
            ends = {"difference": gap.difference, "from": gap.low, "to": gap.high}
            row: dict[Any, Any] = {
                **here, "Features": FEATURE_SETS[features].title, "Measure": TITLES[metric],
                "A": Value(gap.value_b, ".3f"), "B": Value(gap.value_a, ".3f"),
                **{("B − A, 95 % CI", name): Value(value, "+z.3f") for name, value in ends.items()},
                "Intervals": "paired" if paired else "unpaired",
                "What is shown": gap.verdict("B is better", "B is worse"),
            }  # fmt: skip
            figures.append(row)
        for question in {**a.sentences, **b.sentences}:
            pairs = other_words(a.sentences.get(question, ""), b.sentences.get(question, ""))
            said += [here | {"Question": question, "A": one, "B": other} for one, other in pairs]
    told = f"Studies A = {folders[0]}, B = {folders[1]}"
    about = Table("What differs", told, unlike, headers=2)
    measured = Table("Figures", "All defects, over all test folds", figures, [NOTE], headers=3)
    words = Table("Sentences", "Those that differ in words", said, headers=2).markdown() if said else SAME
    target = folders[0] / "tables" / f"compared-with-{folders[1].name}.md"
    text = "\n".join([about.markdown(), measured.markdown(), words])
    write_text(target, text)
    measured.to_csv(target.with_name(f"{target.stem}.csv"))
    plain = re.sub(r"\\(.)", r"\1", html.unescape(text))
    return f"{plain}\nThis is {target}; the figures also as CSV beside it"


def _differing(a: Finished, b: Finished) -> Iterator[tuple[str, ...]]:
    """Yield what differs and may change results, beside images and labels: name, value in a, value in b."""
    facts, places = [], []
    for one in (a, b):
        rows, about = one.predictions, one.about
        known = {key: about[key] for key in ("settings", "versions", "device")} | {"code": about["code"][:12]}
        known["made with"] = {name: ", ".join(sorted(found)) for name, found in about.get("made_with", {}).items()}
        known["folds"] = f"{rows['fold'].nunique()} {rows['scheme'].iloc[0]}"
        facts.append(pd.json_normalize(known, sep=": ").astype(str).iloc[0])
        places.append(image_folds(rows).drop_duplicates("id")[["fold", "group"]].to_numpy())
    both = pd.concat(facts, axis=1, keys=["a", "b"]).replace("", MISSING).fillna(MISSING)
    yield from both[both["a"] != both["b"]].itertuples(name=None)
    for name, moved in zip(("fold", "group"), (places[0] != places[1]).sum(axis=0), strict=True):
        if moved:
            yield f"images in another {name}", MISSING, f"{moved} of {len(places[0])}"


def study_differences(
    a: pd.DataFrame, b: pd.DataFrame, good: str, settings: Sequence[Mapping[str, Any]], *, paired: bool
) -> dict[tuple[str, str], Comparison]:
    """Return b against a (untested) by feature set that both have and ranking.

    `a`, `b`: predictions of the same images at one scheme and keep; `settings`: binary and seed of both studies. What
    is `paired` has the same folds, groups and repeats; else the interval is made of each study's own (`_apart`).
    """
    found, both = {}, [name for name in FEATURE_SETS if name in set(a["features"]) & set(b["features"])]
    for metric in RANKINGS:
        rows = [rows_of_metric(one, metric, of["binary"]) for one, of in zip((a, b), settings, strict=True)]
        for name in both:
            parts = [part[part["features"] == name].assign(features=x) for x, part in zip("ab", rows, strict=True)]
            if paired:
                gap = bootstrap_difference(pd.concat(parts), metric, "b", "a", good, settings[0]["seed"])
            else:
                gap = _apart(parts, metric, good, [one["seed"] for one in settings])
            found[name, metric] = gap
    return found


def _apart(rows: Sequence[pd.DataFrame], metric: str, good: str, seeds: Sequence[int]) -> Comparison:
    """Return b - a of independent samples: squared, the distances to the ends of both intervals add up.

    So do Zou and Donner (Construction of confidence limits about effect measures, 2008). What each study's interval
    allows for retraining is kept; that the images are the same only makes it wider than needed.
    """
    a, b = (
        Paired(part, [name], good).samples(metric, seed, 2000)[name]
        for name, part, seed in zip("ab", rows, seeds, strict=True)
    )
    x, y = float(a.values[0]), float(b.values[0])
    (low_x, high_x), (low_y, high_y) = np.clip([a.interval(seeds[0]), b.interval(seeds[1])], 0, 1).tolist()
    low, high = math.hypot(y - low_y, high_x - x), math.hypot(high_y - y, x - low_x)
    return Comparison(y - x, y - x - low, y - x + high, y, x, metric=metric)


def image_folds(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return by training and image, sorted, the fold that tested it and its group (empty where not known)."""
    rows = predictions.drop_duplicates(["repeat", "id"])[["repeat", "id", "fold", "group"]]
    return rows.fillna({"group": ""}).sort_values(["repeat", "id"], ignore_index=True)


def other_words(a: str, b: str) -> Iterator[tuple[str, str]]:
    """Yield the sentences of two texts that differ when numbers are taken out, side by side; one may be empty."""
    parts = [re.split(r"(?<=\.) ", text) for text in (a, b)]
    words = [[NUMBER.sub("#", sentence) for sentence in part] for part in parts]
    for same, *places in SequenceMatcher(None, words[0], words[1], autojunk=False).get_opcodes():
        if same != "equal":
            yield " ".join(parts[0][slice(*places[:2])]), " ".join(parts[1][slice(*places[2:])])
