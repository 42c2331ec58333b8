"""Tables of map sources: each source's rows are its own, what both use says so."""

import pandas as pd
import pytest

from lib.evaluation.metrics import binary_predictions
from lib.pipeline.dataset import in_test_fold, index, splits
from lib.pipeline.maps import maps, scores
from lib.pipeline.quality import map_quality
from lib.pipeline.run import open_run
from lib.reporting.result_tables import map_quality_table, map_source_table
from tests.evaluation.made_up import study

SETTINGS = {"weights": "random-init", "leak_check": "none", "compare_map_source": True, "guided": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run("deco_cap", "smoke", "", str(tmp_path_factory.mktemp("study")), SETTINGS)


def test_rows_are_the_sources_own(run):
    main = study({"image": 1.0, "map": 1.0, "image_map": 1.5})
    other = study({"map": 3.0, "image_map": 3.5, "image_two_maps": 4.0, "guided_two_maps": 3.0})
    table = map_source_table(main, other, run.study, {"toy": "good"}, "ctx")
    keys = table.numbers[[("Features", ""), ("Maps", "")]].apply(tuple, axis=1).tolist()
    assert keys == [
        ("Image", "–"),
        ("Anom. map", "DRAEM"),
        ("Anom. map", "PatchCore"),
        ("Image + Anom. map", "DRAEM"),
        ("Image + Anom. map", "PatchCore"),
        ("Image + both map sources", "both"),
        ("The same with both map sources, logistic", "both"),
    ]
    recalls = table.numbers[("Defect recall (Binary)", "")].tolist()
    for place, frame, name in (
        (1, main, "map"),
        (2, other, "map"),
        (5, other, "image_two_maps"),
        (6, other, "guided_two_maps"),
    ):
        rows = binary_predictions(frame[frame["features"] == name])
        defects = rows[rows["label"] != "good"]
        assert recalls[place] == pytest.approx((defects["predicted"] != "good").mean())
    assert map_source_table(main, pd.DataFrame(), run.study, {"toy": "good"}) is None


def test_the_quality_of_maps_is_that_of_each_sources_test_maps(run):
    found, table = map_quality(run), index(run)
    assert found.index.unique("map_method").tolist() == ["in_sample", "patchcore"]
    for map_method in found.index.unique("map_method"):
        names = splits(run, with_maps=True)
        told = pd.concat(
            [
                pd.Series(scores(run, s, map_method)[in_test_fold(run, s)], table.index[in_test_fold(run, s)])
                for s in names
            ]
        ).sort_index()
        bad = (table["label"] != "good").to_numpy()
        pairs = told[bad].to_numpy()[:, None] - told[~bad].to_numpy()[None]
        auroc = (pairs > 0).mean() + (pairs == 0).mean() / 2
        assert found.loc[(map_method, "overall"), "image_auroc"] == pytest.approx(auroc)
    assert {"pixel_auroc", "pixel_ap", "aupro"} <= set(found.columns)
    assert maps(run, names[0], "patchcore").shape == maps(run, names[0]).shape
    shown = map_quality_table([run], "ctx")
    assert shown.numbers[("Maps", "")].unique().tolist() == ["DRAEM", "PatchCore"]
    assert "synthetic" in " ".join(shown.notes) or "stand-in" in " ".join(shown.notes)
