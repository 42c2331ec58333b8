"""Every option of the study: the artefacts that change with it change, and no others do."""

import dataclasses
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.models import resnet18

from lib.classification import classifiers
from lib.config import Study
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.pipeline.classification import CHECKS, calibration, classify_fold, predictions
from lib.pipeline.features import image_feature_table
from lib.pipeline.run import open_run
from tests.draem.official import export_official
from tests.pipeline.plates import draw_plates

SETTINGS = {"weights": "random-init", "leak_check": "none", "keep": (0.5, 1.0), "folds": 2, "mlp": (4,)}
# What an option may name, made by `outside`.
SOME = {
    "folder": "textures",
    "checkpoint": "official",
    "file": "pairs.csv",
    "resnet": "resnet18.pth",
}

OF_DRAEM = ("draem/", "maps/", "features/map", "features/guided", "predictions/")
OF_FOLDS = ("folds", *OF_DRAEM)
# An option, another value, and the artefacts that must change; all others must stay as they are, to the byte.
CHANGES = [
    ("seed", 1, ("folds", *OF_DRAEM)),
    ("device", "cpu", ()),
    ("threads", 2, ()),  # how it is computed, as the device: other last bits for what is not there yet
    ("good", "dent", ("index", "folds", *OF_DRAEM)),
    ("groups", "file", ("index", *OF_FOLDS)),
    ("group_regex", r"/(\d)", ("index", *OF_FOLDS)),
    ("skip_bad", True, ("index",)),  # nothing is bad here
    ("resize", "crop", ("images/", "draem/", "maps/", "patches/", "features/", "predictions/")),
    ("synthetic_scale", 0.02, ()),
    ("synthetic_side", 96, ()),
    ("folds", 3, OF_FOLDS),
    ("cv", "stratified", OF_FOLDS),
    ("leak_check", "image", ("folds", "predictions/")),
    ("leak_check", "all", ("folds", *OF_DRAEM)),
    ("image_size", 64, ("images/64", *OF_DRAEM)),
    ("reconstructive_width", 5, OF_DRAEM),
    ("discriminative_width", 5, OF_DRAEM),
    ("draem_epochs", 1, OF_DRAEM),
    ("draem_steps", 5, OF_DRAEM),
    ("draem_batch", 4, OF_DRAEM),
    ("draem_lr", 1e-3, OF_DRAEM),
    ("draem_warmup", 2, OF_DRAEM),
    ("draem_precision", "float32", ("draem/", "maps/")),  # on a CPU the same as auto, to the byte
    ("textures", "folder", OF_DRAEM),
    ("draem_checkpoint", "checkpoint", OF_DRAEM),
    ("map_encoding", "jet", ("features/map", "predictions/")),
    ("map_fit", "cross_fitted", OF_DRAEM),
    (
        "compare_map_fit",
        True,
        ("draem/", "maps/", "features/map", "features/guided", "predictions/compare_map_fit"),
    ),
    ("map_source", "patchcore", ("patchcore/", "maps/", "features/map", "features/guided", "predictions/")),
    ("compare_map_source", True, ("patchcore/", "maps/", "features/", "predictions/compare_map_source")),
    ("coreset_size", 20, ()),  # there is no memory in these settings; see below
    ("patch_size", 48, ("images/48", "patches/", "features/guided", "predictions/")),
    ("weights", "resnet", ("patches/", "features/", "predictions/")),
    ("offline", True, ()),
    ("feature_size", 64, ("images/64", "features/", "predictions/")),
    ("guided", False, ("predictions/",)),
    ("guided_patches", (3,), ("features/guided", "predictions/")),
    ("guided_baseline", "none", ("features/guided", "predictions/")),
    ("selection", "none", ("predictions/",)),
    ("mlp", (7,), ("predictions/",)),
    ("scale", "none", ("predictions/",)),
    ("binary", "separate", ("predictions/",)),
    ("keep", (0.25, 1.0), ("predictions/imbalance",)),
    ("repeats", 2, ("predictions/",)),
    ("baselines", False, ("predictions/",)),
    ("inner_folds", 3, ("predictions/calibration",)),
    ("alpha", 0.05, ()),  # read by the tables only, as the next two
    ("prevalence", 0.5, ()),
    ("required", (0.5,), ()),
]
SAME_BYTES = {"skip_bad", "draem_precision"}  # proven anew, but equal here; see above
STANDIN_CHANGES = [
    ("synthetic_scale", 0.05, ("synthetic", "index", "folds", "images/", "patches/", "features/", *OF_DRAEM)),
    ("synthetic_side", 96, ("synthetic", "index", "folds", "images/", "patches/", "features/", *OF_DRAEM)),
]


@pytest.fixture(scope="module", autouse=True)
def short_fits():
    """Let the classifiers learn for a few passes only: what they are given is the question."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "MAX_ITERATIONS", 4)
        yield


def all_stages(run):
    predictions(run, "imbalance")
    calibration(run)
    for check in CHECKS:
        predictions(run, check)


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """Make what options may name: a folder of textures, official checkpoints, a table of groups, weights."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "textures" / "banded").mkdir(parents=True)
    for grey in (40, 200):
        Image.new("RGB", (32, 32), (grey, 90, 90)).save(folder / "textures" / "banded" / f"{grey}.png")
    (folder / "official").mkdir()
    export_official(
        folder / "official", "model_", ReconstructiveNetwork(4, seed=8), DiscriminativeNetwork(4, seed=9)
    )
    torch.manual_seed(0)
    torch.save(resnet18(weights=None).state_dict(), folder / "resnet18.pth")
    data = draw_plates(folder / "plates")
    pairs = pd.read_csv(data / "groups.csv")
    pairs["group"] = (
        pairs["id"].str.removesuffix(".png").str[:-2]
    )  # a defective plate no longer joins a good one
    pairs.to_csv(folder / "pairs.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def plates(outside, tmp_path_factory):
    study = tmp_path_factory.mktemp("plates")
    run = open_run("plates", "smoke", str(outside / "plates"), str(study), SETTINGS)
    all_stages(run)
    return run


@pytest.fixture(scope="module")
def standin(tmp_path_factory):
    run = open_run("deco_cap", "smoke", "", str(tmp_path_factory.mktemp("standin")), SETTINGS)
    all_stages(run)
    return run


def changed(run, settings, option, value, folder):
    """Run with the option changed; return the artefacts proven anew, and those of them with other bytes."""
    shutil.copytree(run.study_dir, folder)
    before = {name: run.store.manifest(name) for name in run.store.names()}
    other = replace(run, study=Study.of("smoke", settings | {option: value}), study_dir=str(folder))
    all_stages(other)
    after = {name: other.store.manifest(name) for name in other.store.names()}
    anew = {name for name in after if before.get(name, {}).get("fingerprint") != after[name]["fingerprint"]}
    return anew, {name for name in anew if before.get(name, {}).get("sha256") != after[name]["sha256"]}


def check(run, settings, option, value, expected, folder):
    anew, other = changed(run, settings, option, value, folder)
    assert not {name for name in anew if not name.startswith(expected)}, "changed without need"
    for prefix in expected:
        assert any(name.startswith(prefix) for name in anew), f"{prefix} did not change"
    if option not in SAME_BYTES and expected:
        assert any(name.startswith(expected[-1]) for name in other), "an option that changes nothing is a bug"


@pytest.mark.parametrize(("option", "value", "expected"), CHANGES, ids=[f"{o}-{v}" for o, v, _ in CHANGES])
def test_an_option_changes_what_it_should_and_nothing_else(
    plates, outside, option, value, expected, tmp_path
):
    given = str(outside / SOME[value]) if value in SOME else value
    check(plates, SETTINGS, option, given, expected, tmp_path / "study")


@pytest.mark.parametrize(("option", "value", "expected"), STANDIN_CHANGES, ids=lambda v: str(v)[:14])
def test_the_options_of_standins_change_the_standins(standin, option, value, expected, tmp_path):
    check(standin, SETTINGS, option, value, expected, tmp_path / "study")


def test_the_size_of_a_patchcore_changes_its_maps(plates, tmp_path):
    settings = SETTINGS | {"map_source": "patchcore"}
    run = replace(plates, study=Study.of("smoke", settings), study_dir=str(tmp_path / "memory"))
    shutil.copytree(plates.study_dir, run.study_dir)
    all_stages(run)
    of_memory = ("patchcore/", "maps/", "features/map", "features/guided", "predictions/")
    check(run, settings, "coreset_size", 20, of_memory, tmp_path / "study")


def test_predictions_without_maps_follow_the_good_class(plates, tmp_path):
    """The leaking folds have image features only, which know no labels; yet their predictions must be redone."""
    named = {}
    for good in ("good", "dent"):
        study = Study.of("smoke", SETTINGS | {"leak_check": "image", "good": good})
        run = replace(plates, study=study, study_dir=str(tmp_path / "study"))
        image_feature_table(run)
        classify_fold(run, "classification", "stratified-0")
        table = pd.read_parquet(run.store.path("predictions/classification/stratified-0.parquet"))
        named[good] = set(table.loc[table["task"] == "binary", "predicted"])
    assert named["dent"] <= {"dent", "defective"}
    assert named["good"] <= {"good", "defective"}


def test_every_option_of_the_study_is_here():
    named = {option for option, _, _ in CHANGES}
    assert named == {item.name for item in dataclasses.fields(Study)} - {"preset"}  # which sets the others
