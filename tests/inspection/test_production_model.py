"""The production model of a small study: its fit, the same bits again, its features, verdicts on all files."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lib.batch.finished_study import require_current
from lib.config import UsageError
from lib.evaluation.recommendation import recommend, recommended
from lib.inspection.decisions import OOD, REVIEW
from lib.inspection.new_images import features_of_labelled, features_of_new, judge, maps_of_new, read_folder
from lib.inspection.production_model import (
    ProductionModelError,
    choose_features,
    deciding,
    fitted_production_model,
    load_production_model,
    model_name,
    save_production_model,
    threshold_of,
)
from lib.pipeline.classification import calibration, predictions
from lib.pipeline.dataset import FINAL, data_root, in_test_fold, index, splits
from lib.pipeline.detectors import good_rows, inputs, load_model, models
from tests.inspection import made_up
from tests.inspection.studies import RUNS, study_run


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
    return study_run(tmp_path_factory, request.param)


def test_the_final_split_tests_nothing_and_is_no_split_of_the_study(run):
    assert not in_test_fold(run, FINAL).any()
    assert FINAL not in splits(run)
    good = np.flatnonzero(index(run)["label"] == "good")
    halves = [good_rows(run, f"{FINAL}-inner-{half}").tolist() for half in (0, 1)]
    assert good_rows(run, FINAL).tolist() == sorted(halves[0] + halves[1]) == good.tolist()


def test_the_model_is_fitted_on_all_labelled_images_with_scores_by_models_that_did_not_see_them(run):
    for features in ("image_map", "image_map_logistic"):
        model = fitted_production_model(run, features)
        assert (model.features, model.classes) == (features, ("good", "dent", "hole"))
        probabilities = model.probabilities(features_of_labelled(run, model.blocks))
        assert np.mean(np.array(model.classes)[probabilities.argmax(axis=1)] == index(run)["label"]) > 0.8
        found, table = predictions(run, "classification")[0], index(run)
        task = "binary" if run.study.binary == "separate" else "multiclass"
        rows = found[(found["features"] == features) & (found["task"] == task)].set_index("id")
        np.testing.assert_allclose(model.out_of_fold.scores, 1 - rows.loc[table["id"], "p:good"])
        np.testing.assert_array_equal(model.out_of_fold.defective, table["label"] != "good")
        assert len(np.unique(model.out_of_fold.groups)) == table["group"].nunique()


def test_a_new_image_gets_the_map_of_one_model(run):
    """The maximum of a mean of maps is lower than theirs: new images would look cleaner than those learnt from."""
    given, _ = inputs(run)
    fitted = load_model(run, models(run, FINAL)[0])
    np.testing.assert_array_equal(maps_of_new(run, np.asarray(given)), fitted.maps(np.asarray(given)))


def test_a_model_from_its_file_gives_the_same_bits(tmp_path):
    rng, model = np.random.default_rng(0), made_up.model()
    columns, fitted = model.models["multiclass"]
    fitted = replace(fitted, weights=(rng.normal(size=(3, 3)).astype(np.float32),))
    model = replace(model, models={"multiclass": (columns, fitted)})
    save_production_model(tmp_path / "model.safetensors", model)
    again = load_production_model(tmp_path / "model.safetensors")
    features = made_up.features(rng.dirichlet(np.ones(3), 99))
    np.testing.assert_array_equal(again.scores(features), model.scores(features))
    np.testing.assert_array_equal(again.models["multiclass"][1].scale, np.ones(3))
    assert again.reference.ranges.keys() == model.reference.ranges.keys()
    np.testing.assert_array_equal(again.reference.embeddings, model.reference.embeddings)
    np.testing.assert_array_equal(again.out_of_fold.defective, model.out_of_fold.defective)


def test_a_study_is_never_done_again_for_an_inspection(run):
    fitted_production_model(run, "image_map")
    require_current(run)
    before = {name: run.store.digest(name) for name in run.store.names()}
    for stale in (replace(run.study, seed=1), replace(run.study, reconstructive_width=2, coreset_size=3)):
        with pytest.raises(UsageError, match=r"not as it would be made now\n.*have changed since. Update it first: "):
            require_current(replace(run, study=stale))
    picture = data_root(run) / "good" / "0-0.png"
    was = picture.stat()
    os.utime(picture, ns=(was.st_atime_ns, was.st_mtime_ns + 10**9))
    with pytest.raises(UsageError, match=r"index\.parquet"):
        require_current(replace(run))  # as if opened anew: a run lists its images once
    os.utime(picture, ns=(was.st_atime_ns, was.st_mtime_ns))
    require_current(replace(run))
    assert {name: run.store.digest(name) for name in run.store.names()} == before


def test_a_refit_gives_the_same_bytes(run):
    fitted_production_model(run, "image_map")
    path = run.store.path(model_name("image_map"))
    before = path.read_bytes()
    run.store.forget("production_model/")
    fitted_production_model(run, "image_map")
    assert path.read_bytes() == before


def test_a_set_that_the_study_did_not_evaluate_is_refused_by_name(run):
    with pytest.raises(ProductionModelError, match="did you mean 'image_map'"):
        fitted_production_model(run, "image_mpa")


def test_the_studys_recommended_method_judges_unless_another_is_asked_for(run):
    found = deciding(run, predictions(run, "classification")[0])
    table = recommend(found, calibration(run), "good", run.study.binary)
    name, why = choose_features(run, found)
    assert name == recommended(table) and "on training images" in why
    assert choose_features(run, found.assign(**{"p:good": 0.5}))[0] == name  # whatever the test folds say
    assert choose_features(run, found, "image") == ("image", "as asked for")


def judged(run, model, folder):
    features = features_of_new(run, folder.root, folder.names, model.blocks)
    return judge(run, model, threshold_of(run, model, 0.9), folder, features).set_index("file")


@pytest.fixture(scope="module")
def inspected(run, tmp_path_factory):
    """Judge a folder of good and bad files; returns folder, model and verdicts by file."""
    root, known = tmp_path_factory.mktemp("new") / "ü $x", data_root(run)
    (root / "deep" / "er").mkdir(parents=True)
    for masks in ("ground_truth", "MASK"):
        (root / masks).mkdir()
    rng = np.random.default_rng(5)

    def plate(name, level=128, spread=12, size=(40, 56)):
        picture = rng.normal(level, spread, (*size, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(root / name)

    for name in (
        "plain.png",
        "deep/er/new\nline.png",
        'it\'s, "odd" <b>.png',
        "ground_truth/m.png",
        "MASK/a.png",
        "plain_GT.png",
    ):
        plate(name)
    plate("dark.png", level=30)
    plate("flat.png", spread=0)
    plate("large.png", size=(400, 560))
    plate("long.png", size=(24, 100))
    shutil.copy(known / "dent" / "0-0.png", root / "again.png")
    Image.open(known / "dent" / "0-0.png").save(root / "as.bmp")
    (root / "text.png").write_text("no image")
    (root / "cut.png").write_bytes((root / "large.png").read_bytes()[:999])
    (root / "empty.jpg").write_bytes(b"")
    Image.new("CMYK", (40, 40)).save(root / "cmyk.tif")
    (root / "x.gif").write_bytes(b"GIF89a")
    shutil.copy(root / "plain.png", os.fsencode(root) + b"/bad\xff.png")
    model = fitted_production_model(run, "guided_all")
    folder = read_folder(root)
    threshold_of(run, model, 0.9)
    before = {name: run.store.digest(name) for name in run.store.names()}
    return folder, model, judged(run, model, folder), before


def test_every_file_is_judged_or_refused_by_name(inspected):
    folder, _, found, _ = inspected
    refused = found[found["verdict"] == "refused"]
    assert set(refused.index) == {"text.png", "cut.png", "empty.jpg", "cmyk.tif", "x.gif", "bad\\udcff.png"}
    assert "CMYK" in refused.loc["cmyk.tif", "reason"]
    assert "UTF-8" in refused.loc["bad\\udcff.png", "reason"]
    assert "truncated" in refused.loc["cut.png", "reason"]
    assert set(found.index) - set(refused.index) == {
        "plain.png", "deep/er/new\nline.png", "it's, \"odd\" <b>.png", "dark.png", "flat.png", "large.png", "long.png",
        "again.png", "as.bmp",
    }  # fmt: skip
    assert "ground_truth/m.png" not in found.index and folder.masks == 3


def test_each_kind_of_picture_out_of_distribution_is_flagged(inspected):
    _, _, found, _ = inspected
    for name, why in (("dark.png", "brightness"), ("flat.png", "contrast"), ("large.png", "size"),
                      ("long.png", "width by height")):  # fmt: skip
        assert found.loc[name, "verdict"] == REVIEW
        assert found.loc[name, "reason"] == OOD
        assert why in found.loc[name, "details"]
        assert found.loc[name, "class"] == ""
    assert found.loc["plain.png", "reason"] != OOD


def test_a_labelled_image_is_known_again_whatever_its_name_and_format(inspected):
    _, _, found, _ = inspected
    seen = found.loc[["again.png", "as.bmp", "plain.png"], "seen_in_training"].tolist()
    assert seen == ["dent/0-0.png", "dent/0-0.png", ""]
    assert found.loc["as.bmp", "same_as"] == "again.png"
    assert found.loc["again.png", "distance"] < 1e-3
    assert found.loc["again.png", "nearest"] == "dent/0-0.png"


def test_labelled_pictures_get_the_labelled_images_own_columns(run):
    """From their files, by the steps for new pictures, where no map is among the columns."""
    model = fitted_production_model(run, "image")
    again = judged(run, model, read_folder(data_root(run)))
    own = model.scores(features_of_labelled(run, model.blocks))
    np.testing.assert_allclose(again.loc[index(run)["id"], "score"], own, atol=1e-4)
    assert (again["seen_in_training"] == again.index).all()


def test_inspected_images_change_no_fit_and_are_judged_alike_alone_and_among_others(run, inspected, tmp_path):
    folder, model, found, before = inspected
    shutil.copy(folder.root / "plain.png", tmp_path / "plain.png")
    again = fitted_production_model(run, "guided_all")
    np.testing.assert_array_equal(again.reference.embeddings, model.reference.embeddings)
    alone = judged(run, model, read_folder(tmp_path))
    for column in ("score", "distance"):
        assert alone.loc["plain.png", column] == pytest.approx(found.loc["plain.png", column], abs=1e-4)
    assert {name: run.store.digest(name) for name in before} == before
