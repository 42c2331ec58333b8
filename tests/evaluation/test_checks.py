"""Each of the fifteen checks passes where it should, and fails where what it looks for is wrong."""

import numpy as np
import pandas as pd
import pytest

from lib.config import Study
from lib.datasets.shortcuts import Told
from lib.evaluation.checks import DataFacts, Facts, checks, method_of
from lib.evaluation.results import compute_results
from tests.evaluation.made_up import study

NONE = pd.DataFrame()
COMPUTED = {}


def of_maps(found):
    """Return the maps' own scores as the facts have them: as sure as the feature set `map` of predictions."""
    return found[found["features"] == "map"]


SKILL = {"image": 2.0, "map": 3.0, "image_map": 3.0}
NAMES = (ENOUGH_GOOD, ENOUGH, RAREST, FINDS, CARRY, ALIKE, OBJECTS, SHORTCUTS, LABELS, RETRAINED, PROBABILITIES,
         FOLDS, SELECTED, POOLED, PAPER) = (
    "Good images (100 wanted)", "Defects for the target recall", "Rarest class (30 wanted)", "Maps against chance",
    "Recall of thresholds", "Maps of training and test", "Images of one object", "Shortcuts", "Labels",
    "Retraining noise", "Probabilities against guessing", "Folds for the test", "Selection of map features",
    "Pooled recall", "Likeness to the paper",
)  # fmt: skip


def checked(found, calibration=NONE, name="toy", facts=None, **settings):
    """Return the checks of one data set by their name; `facts` change what the facts are."""
    known = {"scores": of_maps(found), "auroc": {"a": 0.9, "b": 0.8}, "unseen": 0.52, "from_map": (3, 2, 4)}
    facts = Facts(**{**known, "as_paper": True, **(facts or {})})
    asked = id(found), id(calibration), name, *settings.items()
    if asked not in COMPUTED:  # kept with what they were computed of, whose ids so stay theirs
        results = compute_results(found, {name: "good"}, Study.of("quick", settings), calibration, n=50)
        COMPUTED[asked] = results, found, calibration
    results = COMPUTED[asked][0]
    table = checks(results, {name: facts})
    assert tuple(table["check"]) == NAMES
    return table.set_index("check")


@pytest.fixture(scope="module")
def sound():
    """Predictions that pass every check: grouped folds, many images, ten folds, three trainings."""
    trained = [study(SKILL, n=450, folds=10, scheme="grouped", repeat=k, seed=k) for k in range(2)]
    known = [study(SKILL, n=450, folds=10, scheme="grouped", calibrated=True, repeat=k, seed=k) for k in range(2)]
    known = pd.concat(known, ignore_index=True)
    found = pd.concat(trained, ignore_index=True)
    return found.assign(group="g" + found["id"]), known.assign(group="g" + known["id"])


def test_a_sound_study_passes_all(sound):
    table = checked(sound[0], calibration=sound[1])
    assert table["state"].eq("good").all(), table[table["state"] != "good"][["pill", "result"]]
    assert table["pill"].eq("passed").all()


def test_each_check_sees_what_it_looks_for(sound):
    found, known = sound
    few = study(SKILL, n=45, folds=3)
    table = checked(few)
    expected = "Not known: no groups were given. No near-duplicates were found."
    assert table.loc[OBJECTS, ["pill", "result"]].tolist() == ["warning", expected]
    assert table.loc[RAREST, "state"] == "warn" and "n = 15" in table.loc[RAREST, "result"]
    assert table.loc[ENOUGH_GOOD, "state"] == "bad" and "0.2 per test fold" in table.loc[ENOUGH_GOOD, "result"]
    assert table.loc[FOLDS, "pill"] == "failed" and "needs 9" in table.loc[FOLDS, "result"]
    assert table.loc[RETRAINED, "pill"] == "warning"
    assert table.loc[[ENOUGH, CARRY], "pill"].tolist() == ["unknown", "unknown"]
    leaking = pd.concat([found, found.assign(scheme="stratified")]).query("scheme == 'stratified'")
    assert checked(leaking, calibration=known).loc[OBJECTS, "state"] == "bad"


def test_the_maps_checks_see_what_they_look_for(sound):
    found, known = sound
    worthless = checked(
        found, known, facts={"auroc": {"a": 0.4, "b": 0.6}, "unseen": 0.75, "from_map": (0, 0), "as_paper": False}
    )
    assert worthless.loc[SELECTED, "state"] == "bad" and "is the image alone" in worthless.loc[SELECTED, "result"]
    assert worthless.loc[ALIKE, "state"] == "bad"
    assert worthless.loc[FINDS, "result"].endswith("Below chance for: a.")
    assert worthless.loc[PAPER, "result"] == "Preset quick, backbone efficientnet_lite0."
    some = checked(found, known, facts={"auroc": {}, "unseen": 0.35, "from_map": (0, 2)})
    assert some.loc[[SELECTED, ALIKE], "state"].tolist() == ["warn", "warn"]
    without = checked(study({"image": 2.0}), facts={"auroc": {}, "unseen": float("nan"), "from_map": ()})
    assert without.loc[[FINDS, ALIKE, SELECTED], "state"].tolist() == ["none"] * 3
    blind = checked(study({"image": 2.0, "map": 0.0, "image_map": 2.0}, n=300))
    assert blind.loc[FINDS, "state"] == "warn"
    turned = study({"map": 3.0, "image": 2.0, "image_map": 2.0}, n=300)
    mine = turned["features"] == "map"
    turned.loc[mine, "p:good"] = 1 - turned.loc[mine, "p:good"]
    assert checked(turned).loc[FINDS, "state"] == "bad"
    assert turned.loc[mine, "p:good"].notna().all(), "a classifier on such a score would turn it: it finds defects"
    drawn = checked(found.assign(dataset="shaft-synthetic"), name="shaft-synthetic")
    assert drawn.loc[PAPER, "result"].startswith("Demo data")


def test_near_duplicates_and_shortcuts_are_held_against_the_data(sound):
    def of(data, found=sound[0]):
        return checked(found, sound[1], facts={"data": data})

    few = of(DataFacts(450, alike=40, across_folds=4)).loc[OBJECTS]
    assert few["state"] == "good" and few["result"].endswith(
        "near-duplicates: 40. Of these, 4 in another fold, 0 in another class. Proposed groups: groups-proposed.csv."
    )
    for many in (DataFacts(450, 40, across_folds=6), DataFacts(450, 40, across_classes=6)):
        assert of(many).loc[OBJECTS, "state"] == "warn"
        assert of(many).loc[OBJECTS, "options"] == "--groups FILE"
        assert of(many, study(SKILL)).loc[OBJECTS, "state"] == "bad"
    told = (Told("JPEG quality", 0.98, 0.95, 1.0), Told("mean tone", 0.8, 0.72, 0.88))
    found = of(DataFacts(450, told=told, variants={"64 x 48 L": 1})).loc[SHORTCUTS]
    assert found["state"] == "warn" and found["action"].startswith("Take good and defective")
    assert found["result"] == (
        "JPEG quality alone tells good from defective: AUC 0.98 (95 % CI 0.95 to 1.00). "
        "Mean tone alone tells good from defective: AUC 0.80 (95 % CI 0.72 to 0.88). It may be the defect itself. "
        "Only defects are 64 x 48 L: 1 image."
    )
    assert of(DataFacts(450, variants={"64 x 48 L": 9})).loc[SHORTCUTS, "state"] == "warn"


def test_probabilities_thresholds_labels_and_folds_are_held_against_the_predictions(sound):
    found, known = sound
    sure = found.copy()
    sure[["p:good", "p:a", "p:b"]] = np.where(np.random.default_rng(0).random((len(found), 1)) < 0.5, 0, [1, 0, 0])
    assert checked(sure, calibration=known).loc[PROBABILITIES, "state"] == "bad"
    lax = known.copy()  # training images that seem easier than test images: thresholds too high
    lax["p:good"] = np.where(lax["label"] == "good", 1.0, 0.0)
    assert checked(found, calibration=lax).loc[CARRY, "state"] == "bad"
    few = checked(found, calibration=known[known["label"].eq("good") | known["id"].isin(["0001", "0002"])])
    assert few.loc[ENOUGH, "state"] == "bad" and "needed: 9" in few.loc[ENOUGH, "result"]
    assert (
        checked(found, calibration=known, required="1", target_recall="1")
        .loc[ENOUGH, "result"]
        .endswith("no number is enough.")
    )
    wrong = found.copy()
    named = wrong["id"].isin(sorted(set(wrong.loc[wrong["label"] == "good", "id"]))[:20])
    wrong.loc[named, "predicted"] = "a"
    assert (
        checked(wrong, calibration=known).loc[LABELS, "result"].startswith("Every method disagrees with the label of")
    )
    assert checked(wrong, calibration=known).loc[LABELS, "state"] == "warn"
    shifted = study({"image": 2.5}, n=300)  # the folds' scores on two scales: each well, together badly
    odd = shifted["fold"] % 2 == 1
    shifted.loc[odd, "p:good"] = shifted.loc[odd, "p:good"] / 10
    assert checked(shifted).loc[POOLED, "state"] == "warn"


def test_the_method_is_the_recommended_one_then_image_and_map_then_what_is_there(sound):
    settings = Study.of("quick")
    known = study({"image": 3.0, "image_map": 1.0}, calibrated=True)
    found = study({"image": 1.0, "image_map": 1.0})
    of = compute_results(found, {"toy": "good"}, settings, known, n=20)
    assert method_of(of) == "image"
    assert method_of(compute_results(found, {"toy": "good"}, settings, NONE, n=20)) == "image_map"
    alone = compute_results(study({"map": 1.0}), {"toy": "good"}, settings, NONE, n=20)
    assert method_of(alone) == "map"


def test_advice_is_what_the_study_has_not_done_yet():
    few = study(SKILL, n=45, folds=3)
    asked = checked(few)[["action", "options"]]
    assert asked.loc[FOLDS].tolist() == ["Use 10 folds.", "--set folds=10 --study 10-folds"]
    assert checked(few, alpha=1e-4).loc[FOLDS, "action"] == "Use 15 folds."
    assert asked.loc[PAPER].tolist() == ["", ""], "what passes asks for nothing"
    weak = {"unseen": 0.8}
    blind = study({"image": 2.0, "map": 0.0, "image_map": 2.0}, n=60)
    by_draem = checked(blind, facts=weak)["options"]
    assert "patchcore" in by_draem[FINDS] and "cross_fitted" in by_draem[ALIKE]
    by_patchcore = checked(blind, facts=weak, map_source="patchcore")
    assert not by_patchcore.loc[[FINDS, ALIKE], "state"].eq("good").any()
    assert by_patchcore.loc[[FINDS, ALIKE], "options"].tolist() == ["", ""]
    assert checked(few, cv="stratified").loc[OBJECTS, "options"] == ""
