"""The exportable parts against the study's own functions, where maps are empty, saturated or alike everywhere too."""

from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from lib.anomaly_maps.detectors import FitTask
from lib.anomaly_maps.map_statistics import map_statistics
from lib.anomaly_maps.patchcore import fit as fit_patchcore
from lib.classification.classifiers import fit
from lib.config import Study
from lib.deployment.onnx_export import OPSET
from lib.deployment.onnx_model import OnnxPipeline, classifier, nearest_distance, statistics
from lib.features.backbone import load_backbone
from lib.features.embeddings import jet, jet_colours
from lib.features.map_guided_pooling import pool
from lib.inspection.decisions import training_reference
from lib.torch_utils import Resize

RNG = np.random.default_rng(0)
PLACES = 12
MAPS = (RNG.random((6, 64, 64)) ** 3).astype(np.float16)
MAPS[1], MAPS[2], MAPS[3] = 0, 0.25, 0  # no two patches differ; of 4, a saturated block and nothing else
MAPS[3, 8:40, 8:56] = 1
PATCHES = RNG.normal(size=(6, PLACES, PLACES, 384)).astype(np.float16)


def floats(array):
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def channels_first(patches):
    return floats(patches).permute(0, 3, 1, 2)


def pipeline(good_mean=None, **settings):
    """Return what is exported, for maps of 64 px and patches of 12 x 12 places."""
    study = Study.of("quick", {"image_size": 64, "feature_size": 96} | settings)
    none = dict.fromkeys(("source", "distance", "multiclass"))
    return OnnxPipeline(
        study,
        load_backbone("resnet18", "random-init", study.feature_size),
        blocks=("image",),
        **none,
        good_mean=good_mean,
    )


def test_statistics_are_the_studys():
    np.testing.assert_allclose(statistics(floats(MAPS)).numpy(), map_statistics(MAPS), atol=1e-6)


@pytest.mark.parametrize("new", [96, 40, 64])
@pytest.mark.parametrize("encoding", ["raw", "jet"])
def test_images_of_maps_are_the_studys(encoding, new):
    maps = floats(MAPS)
    shown = maps[:, None].expand(-1, 3, -1, -1) if encoding == "raw" else jet(maps, jet_colours())
    wanted = F.interpolate(shown, (new, new), mode="bilinear", antialias=True, align_corners=False)
    found = pipeline(feature_size=new, map_encoding=encoding).shown(maps)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_resizing_differs_with_and_without_antialiasing_where_it_shrinks():
    picture = floats(RNG.random((1, 1, 64, 64)))
    smooth, sharp = (Resize(64, 16, antialias=antialias)(picture) for antialias in (True, False))
    assert (smooth - sharp).abs().max() > 0.1


def test_maps_of_a_memory_are_the_studys():
    study = SimpleNamespace(coreset_size=100, map_side=64)
    task = FitTask(study, PATCHES, np.array([0, 1, 2]), np.array([3]), sharing=2, seed=1)
    memory, _ = fit_patchcore(task)
    wanted = memory.maps(PATCHES).astype(np.float32)
    assert wanted.std() > 0.05
    found = memory.exported(PLACES)(channels_first(PATCHES)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-3)  # one step of half precision


def test_pooling_is_the_studys_wherever_the_map_does_not_tell_patches_apart():
    counts = (3, 12, 48, 999)
    usual = floats(PATCHES).mean(dim=0)
    wanted = pool(floats(PATCHES), floats(MAPS), usual, counts)
    exported = pipeline(usual, guided_patches=counts)
    found = exported.pooled(channels_first(PATCHES), floats(MAPS))
    assert torch.isfinite(wanted).all()
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=0)


def test_of_patches_alike_the_first_count():
    found = pool(floats(PATCHES), floats(MAPS), torch.zeros(PLACES, PLACES, 384), (12,))
    first = floats(PATCHES).reshape(6, -1, 384)[:, :12].mean(dim=1)
    torch.testing.assert_close(found[1:3], first[1:3])


@pytest.mark.parametrize("hidden", [(16, 8), ()])
@pytest.mark.parametrize("classes", [("a", "b", "c", "never"), ("b", "a")])
def test_classifiers_are_the_studys(classes, hidden):
    columns = RNG.normal(size=(90, 30)).astype(np.float32)
    learnt = [name for name in classes if name != "never"]
    labels = np.array(learnt)[columns[:, : len(learnt)].argmax(axis=1)]
    fitted = fit(columns[:, [0, 1, 9]], labels, classes, hidden=hidden)
    found = classifier([0, 1, 9], fitted)(torch.from_numpy(columns)).numpy()
    np.testing.assert_allclose(found, fitted.probabilities(columns[:, [0, 1, 9]]), atol=1e-5)
    assert found.std() > 0.1


def test_distances_are_the_studys_and_a_labelled_image_has_none():
    known = RNG.normal(3, 1, (20, 512)).astype(np.float32)
    reference = training_reference(known, np.arange(20), np.full((20, 2), 64), np.full((20, 2), 0.5))
    new = np.concatenate([known[:3], RNG.normal(3, 1, (5, 512)).astype(np.float32)])
    found = nearest_distance(reference)(torch.from_numpy(new)).numpy()
    wanted, _ = reference.nearest(new)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert wanted[:3].max() < 1e-5 < wanted[3:].min()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["efficientnet_lite0", "resnet18", "wide_resnet50_2", "convnext_nano", "vit_small_patch14_dinov2"]
)
def test_every_kind_of_backbone_can_be_exported(name, tmp_path):
    net = load_backbone(name, "random-init", 96)
    file, images = tmp_path / "net.onnx", floats(RNG.random((3, 3, 96, 96)))
    free = {0: torch.export.Dim("n", min=1)}
    torch.onnx.export(
        net,
        (images[:2],),
        file,
        dynamo=True,
        opset_version=OPSET,
        dynamic_shapes=(free,),
        input_names=["x"],
        verbose=False,
    )
    found = onnxruntime.InferenceSession(file).run(None, {"x": images.numpy()})
    with torch.inference_mode():
        for part, wanted in zip(found, net(images), strict=True):
            np.testing.assert_allclose(part, wanted, atol=1e-5 * max(1, float(wanted.abs().max())))
