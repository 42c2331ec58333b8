"""Every option of the study: the artefacts that change with it change, and no others do.

Training and classifiers are replaced by something quick that depends on all that they are given, to the byte.
"""

import dataclasses
import shutil
import zlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image

from lib.classification import cross_validation
from lib.config import Study
from lib.draem import training
from lib.draem.inference import Draem
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.pipeline.classification import calibration, predictions
from lib.pipeline.run import open_run
from tests.draem.official import export_official
from tests.pipeline.plates import draw_plates

SETTINGS = {"weights": "random-init", "leak_check": "none", "keep": (0.5, 1.0), "folds": 2, "mlp": (4,)}
BASES = {"plates": {}, "leaking": {"leak_check": "image"}, "patchcore": {"map_source": "patchcore"}, "deco_cap": {}}
# What an option may name, made by `outside`.
SOME = {"folder": "textures", "checkpoint": "official", "file": "pairs.csv", "weights": "weights.pth",
        "draem": "draem.safetensors"}  # fmt: skip

OF_MAPS = ("maps/", "features/map", "features/guided", "features/patch", "predictions/")
OF_DRAEM = ("draem/", *OF_MAPS)
OF_FOLDS = ("folds", *OF_DRAEM)
OF_IMAGES = ("index", "folds", "images/", "features/", *OF_DRAEM)
# An option, another value, and the artefacts that must change; all others must stay as they are, to the byte.
CHANGES = [
    ("seed", 1, ("folds", *OF_DRAEM)),
    ("device", "cpu", ()),
    ("threads", 2, ()),  # how it is computed, as the device: other last bits for what is not there yet
    ("good", "dent", ("index", "folds", *OF_DRAEM)),
    ("groups", "file", ("index", *OF_FOLDS)),
    ("group_regex", r"/(\d)", ("index", *OF_FOLDS)),
    ("skip_bad", True, ("index",)),  # nothing is bad here
    ("invert_masks", True, ("folds", "features/patch", "predictions/", "index")),  # no masks here
    ("resize", "crop", ("images/", "draem/", "maps/", "features/", "predictions/")),
    ("folds", 3, OF_FOLDS),
    ("cv", "stratified", OF_FOLDS),
    ("leak_check", "image", ("folds", "predictions/")),
    ("leak_check", "all", ("folds", *OF_DRAEM)),
    ("region", "0.1,0,0.9,0.8", ("images/", "draem/", "maps/", "features/", "predictions/")),
    ("tiles", 2, ("images/", "features/", *OF_DRAEM)),
    ("image_size", 64, ("images/64", *OF_DRAEM)),
    ("reconstructive_width", 5, OF_DRAEM),
    ("discriminative_width", 5, OF_DRAEM),
    ("draem_epochs", 1, OF_DRAEM),
    ("draem_steps", 5, OF_DRAEM),
    ("draem_batch", 4, OF_DRAEM),
    ("draem_lr", 1e-3, OF_DRAEM),
    ("draem_precision", "float32", ("draem/",)),  # on a CPU the same as auto, to the byte
    ("textures", "folder", OF_DRAEM),
    ("draem_start", "scratch", ()),  # no carried weights are as narrow as this study's
    ("draem_weights", "draem", OF_DRAEM),
    ("draem_simulation", "paper", OF_DRAEM),
    ("draem_checkpoint", "checkpoint", OF_DRAEM),
    ("map_encoding", "jet", ("features/map", "predictions/")),
    ("map_fit", "cross_fitted", OF_DRAEM),
    ("map_source", "patchcore", ("patchcore/", *OF_MAPS)),
    ("backbone", "resnet18", ("features/", "predictions/")),
    ("weights", "weights", ("features/", "predictions/")),
    ("feature_size", 64, ("images/64", "features/", "predictions/")),
    ("guided", False, ("predictions/",)),
    ("guided_patches", (3,), ("features/guided", "predictions/")),
    ("selection", "none", ("predictions/",)),
    ("mlp", (7,), ("predictions/",)),
    ("scale", "none", ("predictions/",)),
    ("binary", "separate", ("predictions/",)),
    ("keep", (0.25, 1.0), ("features/patch/imbalance", "predictions/imbalance")),
    ("repeats", 2, OF_DRAEM),
    ("baselines", False, ("predictions/",)),
    ("inner_folds", 3, ("features/patch", "predictions/")),
    ("alpha", 0.05, ()),  # read by tables and pages only, as those that follow
    ("prevalence", 0.5, ()),
    ("required", (0.5,), ()),
    ("price_ratio", 3.0, ()),
    ("target_recall", 0.8, ()),
    ("usable_rejects", 0.2, ()),
    ("presort_rejects", 0.4, ()),
    ("least_good", 5, ()),
    ("verdict_per", "object", ()),
]
OTHERS = [
    ("patchcore", "coreset_size", 20, ("patchcore/", *OF_MAPS)),
    # the leaking folds have image features only, which know no labels
    ("leaking", "good", "dent", ("index", "folds", *OF_DRAEM, "predictions/classification/stratified-0")),
    ("deco_cap", "synthetic_scale", 0.05, ("synthetic", *OF_IMAGES)),
    ("deco_cap", "synthetic_side", 96, ("synthetic", *OF_IMAGES)),
]
SAME_BYTES = {"skip_bad", "draem_precision"}  # proven anew, but equal here; see above


def digest(*given):
    arrays = (np.asarray(one).tobytes() if isinstance(one, (np.ndarray, torch.Tensor)) else repr(one) for one in given)
    return zlib.crc32(b"".join(one if isinstance(one, bytes) else one.encode() for one in arrays))


def quick_train(images, textures, settings, *_, **__):
    settings_but_precision = replace(settings, precision="auto")
    seed = digest(images, textures, settings_but_precision)
    networks = (
        ReconstructiveNetwork(settings.reconstructive_width, seed=seed),
        DiscriminativeNetwork(settings.discriminative_width, seed=seed),
    )
    with torch.no_grad():  # maps by the level that the seed sets: untrained networks find the same nothing
        networks[1].decoder_segment.fin_out[0].bias[1] += 4 * seed / 2**32 - 2
    history = pd.DataFrame({"step": [1], "loss": [float(seed)]})
    return Draem(*networks).eval(), history


def quick_evaluation(blocks, labels, train, **settings):
    seen = digest(*blocks, *blocks.values(), *labels, train, settings)
    rows = pd.DataFrame({"row": np.flatnonzero(~train), "seen": seen, "keep": settings["keep"]})
    return cross_validation.FoldResult(rows, rows, {})


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", quick_train)
        patch.setattr(cross_validation, "evaluate_fold", quick_evaluation)
        yield


def all_stages(run):
    predictions(run, "imbalance")
    calibration(run)


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """Make what options may name: a folder of textures, official checkpoints, a table of groups, weights."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "textures" / "banded").mkdir(parents=True)
    for grey in (40, 200):
        Image.new("RGB", (32, 32), (grey, 90, 90)).save(folder / "textures" / "banded" / f"{grey}.png")
    (folder / "official").mkdir()
    networks = ReconstructiveNetwork(4, seed=8), DiscriminativeNetwork(4, seed=9)
    export_official(folder / "official", "model_", *networks)
    Draem(*networks).save(folder / "draem.safetensors", {})
    torch.manual_seed(0)
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), folder / "weights.pth")
    pairs = pd.read_csv(draw_plates(folder / "plates") / "groups.csv")
    pairs["group"] = pairs["id"].str.removesuffix(".png").str[:-2]  # a defective plate no longer joins a good one
    pairs.to_csv(folder / "pairs.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def finished(outside, tmp_path_factory):
    """A function from the name of a base to its finished study, made once."""
    made = {}

    def of(base):
        if base not in made:
            data = "" if base == "deco_cap" else str(outside / "plates")
            name = base if base == "deco_cap" else "plates"
            study = tmp_path_factory.mktemp(base)
            made[base] = open_run(name, "smoke", data, str(study), SETTINGS | BASES[base])
            all_stages(made[base])
        return made[base]

    return of


@pytest.mark.parametrize(
    ("base", "option", "value", "expected"),
    [("plates", *change) for change in CHANGES] + OTHERS,
    ids=lambda value: None if isinstance(value, tuple) else str(value),
)
def test_an_option_changes_what_it_should_and_nothing_else(finished, outside, base, option, value, expected, tmp_path):
    run, given = finished(base), str(outside / SOME[value]) if value in SOME else value
    shutil.copytree(run.study_dir, tmp_path / "study")
    study = Study.of("smoke", SETTINGS | BASES[base] | {option: given})
    other = replace(run, study=study, study_dir=str(tmp_path / "study"))
    all_stages(other)
    before = {name: run.store.manifest(name) for name in run.store.names()}
    after = {name: other.store.manifest(name) for name in other.store.names()}
    anew = {name for name in after if before.get(name, {}).get("fingerprint") != after[name]["fingerprint"]}
    assert not {name for name in anew if not name.startswith(expected)}, "changed without need"
    for prefix in expected:
        assert any(name.startswith(prefix) for name in anew), f"{prefix} did not change"
    if option not in SAME_BYTES and expected:
        changed = {name for name in anew if before.get(name, {}).get("sha256") != after[name]["sha256"]}
        assert any(name.startswith(expected[-1]) for name in changed), "an option that changes nothing is a bug"


def test_every_option_of_the_study_is_here():
    named = {option for option, *_ in CHANGES} | {option for _, option, *_ in OTHERS}
    assert named == {item.name for item in dataclasses.fields(Study)} - {"preset"}  # which sets the others
