"""The index page's parts: costs with their missed recalls, each check once with its worst state, what to run next."""

import re

import pandas as pd

from lib.config import Study
from lib.evaluation.metrics import ALL
from lib.evaluation.operating_points import CONFORMAL, TRAINING
from lib.reporting.html_pages import render
from lib.reporting.index_page import checklist, costs, next_commands, with_options


def checked(*rows):
    columns = ["check", "dataset", "state", "pill", "result", "why", "action", "options"]
    return pd.DataFrame([(*row, "Because.", f"Do {row[0]}.", options) for *row, options in rows], columns=columns)


CHECKED = checked(
    ("one", "a", "good", "passed", "Fine.", ""),
    ("two", "a", "warn", "warning", "Once.", "--set repeats=3"),
    ("three", "a", "none", "unknown", "Not run.", ""),
    ("one", "shaft-synthetic", "bad", "failed", "Few.", "--groups FILE"),
    ("two", "shaft-synthetic", "warn", "warning", "Once.", "--set repeats=3"),
    ("three", "shaft-synthetic", "good", "passed", "Enough.", ""),
)


def test_each_check_stands_once_with_its_worst_state():
    listed = {one["name"]: one for one in checklist(CHECKED)}
    assert [one["pill"] for one in listed.values()] == ["failed", "warning", "unknown"]
    assert listed["one"]["where"] == "Shaft", "where it fails, by the name that readers know"
    assert listed["two"]["where"] == "", "everywhere needs no names"
    assert listed["one"]["lines"] == ["a: Fine.", "Shaft: Few."]


def test_commands_are_those_of_the_checks_that_ask_for_something():
    found = list(next_commands(CHECKED, "python run_all.py --data x", drawn=False))
    assert [one["command"] for one in found] == [
        "python run_all.py --data x --set repeats=3",
        "python run_all.py --data x --groups FILE",
    ]
    demo = list(next_commands(CHECKED, "python run_all.py", drawn=True))
    assert [one["command"] for one in demo] == [
        "python run_all.py --data FOLDER --groups FILE",
        "python run_all.py --set repeats=3",
    ], "demo data have no groups to name"
    assert not list(next_commands(CHECKED[:1], "python run_all.py", drawn=False))


def test_a_command_takes_new_options_in_place_of_the_same_ones():
    asked = "--set folds=10 --study ten"
    assert with_options("python run_all.py --data 'a b' --set folds=5 --set repeats=3 --study tiles", asked) == (
        "python run_all.py --data 'a b' --set repeats=3 --set folds=10 --study ten"
    )
    assert with_options("python run_all.py", "--groups FILE") == "python run_all.py --groups FILE"
    assert with_options("python run_all.py --skip-bad", asked).startswith("python run_all.py --skip-bad --set")


def point(features, required, rejects, recall_high=1.0, method=TRAINING, **other):
    rates = {"false_rejects": rejects, "false_rejects_low": rejects / 2, "false_rejects_high": 2 * rejects}
    counts = {
        "caught": 90 * rejects,
        "rejected": 100 * rejects,
        "n_good": 100,
        "recall": 0.9,
        "recall_high": recall_high,
    }
    place = {"dataset": "a", "class": ALL, "method": method, "features": features, "required": required}
    return place | rates | counts | other


def test_costs_are_of_the_target_recall_and_the_next_and_say_what_missed_its_recall():
    points = pd.DataFrame([
        point("image", 0.95, 0.4), point("image", 0.9, 0.2), point("image", 0.99, 0.5),
        point("guided_logistic", 0.9, 0.03), point("guided_logistic", 0.95, 0.1, recall_high=0.94),
        point("image_map", 0.9, 0.1, method=CONFORMAL), point("image_map", 0.9, 0.1, dataset="b"),
        point("image_map", 0.9, 0.1, **{"class": "dent"}), point("map", 0.9, float("nan")),
    ])  # fmt: skip
    first, last = costs(points, "a", "guided_logistic", Study())
    assert (first["name"], last["name"]) == ("Image", "Image + map-guided, logistic")
    assert [first["recommended"], last["recommended"]] == [False, True]
    page = render("costs.html.j2", part={"name": "A <b>", "costs": [first, last]})
    assert re.findall(r'<th scope="col">(.*?)</th>', page) == ["A &lt;b&gt;", "catch 90 %", "catch 95 %"]
    assert re.findall(r"</span> (.*?)</td>", page) == ["20 %", "40 %", "3 %", "missed"]
    assert '"width:20.0%"></i><i class="ends" style="left:10.0%;width:30.0%">' in page
    assert costs(points, "c", "image", Study()) == []
    high = costs(points, "a", "image", Study(target_recall=0.95))
    assert [cell["required"] for cell in high[0]["cells"]] == [0.95, 0.99]
