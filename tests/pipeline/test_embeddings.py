"""Features of all images: one pass in parts that write into one file, proven together."""

import numpy as np
import pytest

from lib.features.backbone_weights import WeightsError
from lib.pipeline import embeddings
from lib.pipeline.dataset import images
from lib.pipeline.embeddings import IMAGE, PATCHES, image_feature_table, image_features_of, patches
from lib.pipeline.run import open_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "AT_ONCE", 7)  # of 24 images: a last part that is smaller
    return open_run("deco_cap", "smoke", "", str(tmp_path), {"weights": "random-init"})


def test_parts_stand_where_one_pass_would_put_them(run):
    pooled, local = image_feature_table(run), np.array(patches(run))
    whole, places = image_features_of(run, images(run, 32))
    np.testing.assert_allclose(pooled, whole, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(local, places, atol=2e-3)
    assert len(np.unique(local.reshape(len(local), -1), axis=0)) == len(local)
    assert run.store.manifest(IMAGE)["summary"]["backbone"] == "efficientnet_lite0 (random-init, seed 0)"


def test_patches_that_were_altered_are_made_again(run):
    before = np.array(patches(run))
    path = run.store.path(PATCHES)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert "features/patches.npy" in run.store.issue(IMAGE)
    assert np.array_equal(patches(run), before)


def test_a_worker_with_other_weights_is_refused(run, tmp_path):
    image_feature_table(run)
    with pytest.raises(WeightsError, match="another machine has other weights"):
        embeddings._part(run, "efficientnet_lite0 0123", run.store.path(PATCHES), 0, 1)


def test_a_part_of_an_interrupted_run_writes_into_no_later_file(run):
    image_feature_table(run)
    late = run.store.path("features/.patches.host.1.partial.npy")
    with pytest.raises(FileNotFoundError):
        embeddings._part(run, embeddings.backbone_digest(run), late, 0, 1)
