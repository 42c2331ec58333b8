"""The fitted line: the same bits again, the same answers from its file, and its choice of features."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lib.classify.feature_sets import RECIPES
from lib.line.columns import labelled_measures
from lib.line.fit import LineError, chosen_features, fitted_line, line_name, load_line, save_line
from lib.pipeline.models import good_rows
from lib.pipeline.pictures import FINAL, in_test_fold, index, splits
from lib.pipeline.predictions import predictions
from lib.pipeline.run import open_run


def test_the_final_split_tests_nothing_and_is_no_split_of_the_study(run):
    assert not in_test_fold(run, FINAL).any()
    assert FINAL not in splits(run)
    good = np.flatnonzero(index(run)["label"] == "good")
    halves = [good_rows(run, f"{FINAL}-inner-{half}").tolist() for half in (0, 1)]
    assert good_rows(run, FINAL).tolist() == sorted(halves[0] + halves[1]) == good.tolist()


def test_a_line_from_its_file_answers_as_the_one_that_was_fitted(run, tmp_path):
    for features in ("both", "both_logistic"):
        line = fitted_line(run, features)
        measured = labelled_measures(run, line.sources)
        assert measured.columns.shape == (len(index(run)), sum(line.widths))
        save_line(tmp_path / "line.safetensors", line)
        again = load_line(tmp_path / "line.safetensors")
        np.testing.assert_array_equal(
            line.probabilities(measured.columns), again.probabilities(measured.columns)
        )
        np.testing.assert_array_equal(line.scores(measured.columns), again.scores(measured.columns))
        assert (again.features, again.classes, again.good) == (features, ("good", "dent", "hole"), "good")
        known = np.array(again.classes)[again.probabilities(measured.columns).argmax(axis=1)]
        assert np.mean(known == index(run)["label"]) > 0.8, "fitted on these very images"


def test_a_refit_gives_the_same_bytes(run):
    line = fitted_line(run, "both")
    path = run.store.path(line_name("both"))
    before = path.read_bytes()
    run.store.forget("line/")
    again = fitted_line(run, "both")
    assert path.read_bytes() == before
    np.testing.assert_array_equal(line.evidence.scores, again.evidence.scores)


def test_the_evidence_is_each_images_score_by_models_that_did_not_see_it(run):
    line = fitted_line(run, "both")
    found, _ = predictions(run, "classification")
    task = "binary" if run.study.binary == "separate" else "multiclass"
    rows = found[(found["features"] == "both") & (found["task"] == task)].set_index("id")
    table = index(run)
    np.testing.assert_allclose(line.evidence.scores, 1 - rows.loc[table["id"], "p:good"])
    np.testing.assert_array_equal(line.evidence.defective, table["label"] != "good")
    assert len(np.unique(line.evidence.groups)) == table["group"].nunique()


def test_features_that_were_not_evaluated_are_refused_by_name(run):
    with pytest.raises(LineError, match="did you mean 'both'"):
        fitted_line(run, "boht")


def test_a_file_that_is_no_line_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(LineError, match=r"x\.safetensors: no fitted line"):
        load_line(tmp_path / "x.safetensors")


def test_the_set_with_the_highest_recall_is_chosen_the_first_of_equals_and_the_place_is_said(monkeypatch):
    rows = [(name, score, bad)
            for name, scores in {"image": (0.9, 0.1), "map": (0.9, 0.8), "both": (0.9, 0.8)}.items()
            for score, bad in [(0.5, False), *((score, True) for score in scores)]]  # fmt: skip
    known = pd.DataFrame(rows, columns=["features", "score", "defective"])
    plain = open_run("plates", "smoke", "", "out")
    name, why = chosen_features(plain, known)
    assert name == "map"
    assert "100.0%" in why
    assert "test folds" in why
    crossed = replace(plain, study=replace(plain.study, map_fit="cross_fitted"))
    inner = known.assign(score=known["score"].where(known["features"] != "map", 0.2))
    monkeypatch.setattr("lib.line.fit.calibration", lambda run: None)
    monkeypatch.setattr("lib.line.fit.deciding", lambda run, found: inner)
    name, why = chosen_features(crossed, known)
    assert name == "both"
    assert "training images" in why
    assert chosen_features(crossed, known, "image") == ("image", "as asked for")
    assert {"image", "map", "both"} <= set(RECIPES)
