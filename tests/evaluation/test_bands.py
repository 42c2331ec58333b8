"""Bands are the paired bootstrap's quantiles of the pooled measures."""

import numpy as np
import pytest

from lib.evaluation.bands import bands
from lib.evaluation.bootstrap import samples
from lib.evaluation.metrics import ALL, POOLED, summary
from tests.evaluation.made_up import study


def test_bands_are_the_bootstraps_quantiles_of_the_pooled_measures():
    frame = study({"image": 1.0, "map": 0.5, "image_map": 2.0}, n=120, keep=(0.5, 1.0))
    frame["group"] = frame["id"].str[:3]
    metrics = ("defect_recall", "weighted_auc", "binary_auc")
    found = bands(frame, "good", metrics, seed=3, n=200).set_index(["keep", "features", "metric"])
    pooled = summary(frame, "good")
    pooled = pooled[(pooled["fold"] == POOLED) & (pooled["class"] == ALL)]
    pooled = pooled.set_index(["keep", "features", "metric"])
    assert len(found) == 2 * 3 * 3
    np.testing.assert_allclose(found["value"], pooled.loc[found.index, "value"], atol=1e-9)
    whole = samples(frame[frame["keep"] == 1.0], "defect_recall", ["map"], "good", 3, 200)["map"]
    assert found.loc[(1.0, "map", "defect_recall"), ["low", "high"]].tolist() == pytest.approx(
        np.quantile(whole[1:], [0.025, 0.975])
    )
    single = bands(frame.assign(group=None), "good", ("defect_recall",), seed=3, n=200)
    assert not np.allclose(single["low"], found.xs("defect_recall", level="metric")["low"])
    classes = bands(frame, "good", ("defect_recall",), seed=3, by_class=True, n=50)
    assert set(classes["class"]) == {"a", "b"}
    assert (classes["low"] <= classes["value"]).all() and (classes["value"] <= classes["high"]).all()
    alone = bands(frame[frame["features"] == "image"], "good", metrics, seed=0, n=9)
    assert set(alone["features"]) == {"image"}
