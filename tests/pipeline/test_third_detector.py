"""A third map source is one module and one entry in a registry: with that the whole study runs on its maps."""

import numpy as np
import pytest

from lib.anomaly_maps.detectors import detector
from lib.config import MAP_SOURCES, MapSource, Study, UsageError, choices, map_method_title
from lib.pipeline.classification import predictions
from lib.pipeline.dataset import images, in_test_fold, index, splits
from lib.pipeline.detectors import fit_models, good_rows
from lib.pipeline.maps import map_all, map_quality, maps
from lib.pipeline.run import open_run
from tests.pipeline.plates import draw_plates

SETTINGS = {"map_source": "difference", "weights": "random-init", "leak_check": "none", "mlp": (4,), "baselines": False}


@pytest.fixture
def run(tmp_path, monkeypatch):
    source = MapSource("Mean difference", "differences to the mean good image", "tests.pipeline.mean_difference")
    monkeypatch.setitem(MAP_SOURCES, "difference", source)
    return open_run("plates", "smoke", str(draw_plates(tmp_path / "plates")), str(tmp_path / "study"), SETTINGS)


def test_a_study_runs_on_the_maps_of_a_registered_source(run):
    assert choices("map_source") == ("draem", "patchcore", "difference")
    assert map_method_title(run.study.map_method) == "Mean difference"
    assert detector("difference").caption(run.study) == "maps: Mean difference, cross-fitted"
    table = index(run)
    assert set(map_all(run)["split"]) == set(splits(run))
    split = splits(run)[0]
    means = [images(run, 32)[good_rows(run, f"{split}-inner-{half}")].astype(float).mean(axis=0) for half in (0, 1)]
    tested = np.flatnonzero(in_test_fold(run, split))[0]
    expected = [np.abs(images(run, 32)[tested] - mean).mean(axis=-1) / 255 for mean in means]
    assert sum(np.allclose(maps(run, split)[tested], one, atol=1e-3) for one in expected) == 1
    assert fit_models(run)["images"].sum() == (table["label"] == "good").sum()  # two halves of either fold
    assert map_quality(run).loc["overall", "image_auroc"] > 0.9
    assert {"map", "image_map", "guided"} <= set(predictions(run, "classification")[0]["features"])


def test_a_source_that_is_not_registered_is_refused():
    with pytest.raises(UsageError, match="map_source='difference': expected one of draem, patchcore"):
        Study.of("smoke", {"map_source": "difference"})
