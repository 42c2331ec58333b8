from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from lib.classification import classifiers, cross_validation
from lib.classification.cross_validation import FoldResult, evaluate_fold, subsample_defects
from lib.classification.feature_sets import FEATURE_SETS, MAIN
from lib.features.mutual_information import estimate_mutual_information

CLASSES = ["good", "big", "stripe"]
N, D = 180, 24
SEED = 7


@pytest.fixture(autouse=True)
def short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "MAX_ITERATIONS", 100)


def case(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Image features that tell `big`, map features that tell any defect; two thirds of the rows train."""
    generator = np.random.default_rng(seed)
    kind = np.arange(N) // 4 % 3  # whole classes in both parts
    images = generator.normal(size=(N, D)).astype(np.float32)
    maps = generator.normal(size=(N, D)).astype(np.float32)
    images[:, :4] += 3 * (kind == 1)[:, None]
    maps[:, 5:9] += 2 * (kind > 0)[:, None]
    return images, maps, np.array(CLASSES)[kind], np.arange(N) % 3 > 0


def summed_up(maps: np.ndarray) -> dict[str, object]:
    """Numbers of the maps, and the scores, that the baselines want beside the features; all sets are asked for."""
    stats = np.column_stack([maps.max(axis=1), maps.mean(axis=1), maps[:, 5]])
    score, guided = maps[:, 5:9].mean(axis=1)[:, None], maps[:, 3:9]
    more = {"stats": stats, "score": score, "patch": maps[:, 9:11], "guided": guided}
    return {"more": more, "feature_sets": tuple(FEATURE_SETS)}


def fold(
    images: np.ndarray, maps: np.ndarray | None, labels: np.ndarray, train: np.ndarray, **settings: object
) -> FoldResult:
    sources = {"image": images} | ({} if maps is None else {"map": maps}) | settings.pop("more", {})
    return evaluate_fold(sources, labels, train, **({"classes": CLASSES, "mlp": (32,), "seed": SEED} | settings))


def multiclass(result: FoldResult, features: str) -> pd.DataFrame:
    table = result.predictions
    return table[(table["features"] == features) & (table["task"] == "multiclass")].set_index("row")


def probabilities(result: FoldResult, features: str) -> np.ndarray:
    return multiclass(result, features)[[f"p:{name}" for name in CLASSES]].to_numpy()


def selected(result: FoldResult) -> dict[str, dict[str, list[int]]]:
    return {task: {name: used.tolist() for name, (used, _) in models.items()} for task, models in result.models.items()}


def test_one_row_per_test_image_feature_set_and_task() -> None:
    images, maps, labels, train = case()
    result = fold(images, maps, labels, train, keep=0.5)
    table = result.predictions
    assert list(table.columns) == [
        "row", "features", "task", "keep", "label", "predicted", "p:good", "p:big", "p:stripe", "p:defective",
    ]  # fmt: skip
    cells = table.groupby(["features", "task"])["row"].apply(list)
    assert set(cells.index) == {(f, t) for f in ("image", "map", "image_map") for t in ("multiclass", "binary")}
    assert all(rows == np.flatnonzero(~train).tolist() for rows in cells)
    assert (table["keep"] == 0.5).all()
    rows = multiclass(result, "image_map")
    assert (rows["label"] == labels[~train]).all()
    np.testing.assert_allclose(probabilities(result, "image_map").sum(axis=1), 1, atol=1e-9)
    assert (rows["predicted"] == np.array(CLASSES)[probabilities(result, "image_map").argmax(axis=1)]).all()
    assert rows["p:defective"].isna().all()


def test_collapsed_binary_is_the_multiclass_argmax() -> None:
    images, maps, labels, train = case()
    table = fold(images, maps, labels, train, mlp=(4,)).predictions
    many = table[table["task"] == "multiclass"].set_index(["features", "row"])
    two = table[table["task"] == "binary"].set_index(["features", "row"]).loc[many.index]
    assert ((two["predicted"] == "defective") == (many["predicted"] != "good")).all()
    assert ((two["label"] == "defective") == (many["label"] != "good")).all()
    np.testing.assert_array_equal(two["p:good"], many["p:good"])
    np.testing.assert_allclose(two["p:defective"], many["p:big"] + many["p:stripe"], atol=1e-9)
    assert two[["p:big", "p:stripe"]].isna().all().all()


def test_separate_binary_is_a_network_of_its_own() -> None:
    images, maps, labels, train = case()
    result = fold(images, maps, labels, train, binary="separate", feature_sets=("map",))
    collapsed = fold(images, maps, labels, train, feature_sets=("map",))
    assert result.diagnostics["task"].tolist() == ["multiclass", "binary"]
    assert collapsed.diagnostics["task"].tolist() == ["multiclass"]
    np.testing.assert_array_equal(probabilities(result, "map"), probabilities(collapsed, "map"))
    own, derived = (r.predictions.query("task == 'binary'") for r in (result, collapsed))
    assert set(own["label"]) == set(own["predicted"]) == {"good", "defective"}
    assert np.abs(own["p:good"].to_numpy() - derived["p:good"].to_numpy()).max() > 1e-3
    np.testing.assert_allclose(own["p:good"] + own["p:defective"], 1, atol=1e-9)
    expected = estimate_mutual_information(maps[train], np.where(labels == "good", "good", "bad")[train], seed=SEED)
    assert selected(result)["binary"]["map"] == sorted((np.argsort(-expected)[:10] + D).tolist())


def test_the_sets_see_what_their_names_say() -> None:
    images, maps, labels, train = case()
    result = fold(images, maps, labels, train)
    accuracy = {
        name: (multiclass(result, name)["predicted"] == labels[~train]).mean() for name in ("image", "map", "image_map")
    }
    assert accuracy["image_map"] > accuracy["image"] + 0.05
    assert accuracy["image_map"] > accuracy["map"] + 0.05
    for one, other in (("image", "map"), ("image", "image_map"), ("map", "image_map")):
        assert np.abs(probabilities(result, one) - probabilities(result, other)).max() > 0.05
    chosen = selected(result)["multiclass"]
    assert set(range(4)) <= set(chosen["image"]) <= set(range(D))
    assert set(range(D + 5, D + 9)) <= set(chosen["map"]) <= set(range(D, 2 * D))
    assert set(range(4)) | set(range(D + 5, D + 9)) <= set(chosen["image_map"])
    alone = fold(images, np.zeros_like(maps), labels, train)
    np.testing.assert_allclose(probabilities(alone, "image"), probabilities(result, "image"), atol=1e-6)


def test_columns_are_the_best_of_the_thinned_training_rows() -> None:
    images, maps, labels, train = case()
    result = fold(images, maps, labels, train, keep=0.25)
    fitted = subsample_defects(labels, train, good="good", keep=0.25, seed=SEED)
    scores = estimate_mutual_information(np.hstack([images, maps])[fitted], labels[fitted], seed=SEED)
    k = int(fitted.sum() ** 0.5)
    assert k < int(train.sum() ** 0.5)
    for name, offered in (("image", np.arange(D)), ("map", np.arange(D, 2 * D)), ("image_map", np.arange(2 * D))):
        best = offered[np.argsort(-scores[offered], kind="stable")[:k]]
        assert selected(result)["multiclass"][name] == sorted(best.tolist())
    diagnostics = result.diagnostics.set_index("features")
    assert (diagnostics["n_train"] == fitted.sum()).all()
    assert (diagnostics["k"] == k).all()
    assert (diagnostics["k_image"] + diagnostics["k_map"] == k).all()
    assert diagnostics.loc["map", "k_image"] == diagnostics.loc["image", "k_map"] == 0
    assert 0 < diagnostics.loc["image_map", "k_map"] < k
    chosen = np.array(selected(result)["multiclass"]["image_map"])
    for source, of in (("image", chosen < D), ("map", chosen >= D)):
        assert of.sum() == diagnostics.loc["image_map", f"k_{source}"]


def test_columns_are_scored_once_per_task(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    def counted(X: np.ndarray, y: np.ndarray, *, seed: int) -> np.ndarray:
        calls.append(X.shape)
        return estimate_mutual_information(X, y, seed=seed)

    monkeypatch.setattr(cross_validation, "estimate_mutual_information", counted)
    images, maps, labels, train = case()
    fold(images, maps, labels, train)
    assert calls == [(120, 2 * D)]
    fold(images, maps, labels, train, binary="separate", feature_sets=("map",))
    assert calls[1:] == [(120, D)] * 2
    fold(images, maps, labels, train, selection="none")
    assert len(calls) == 3


@pytest.mark.parametrize(("selection", "k", "k_both"), [("sqrt_n", 10, 10), ("per_source", 10, 20), ("none", D, 2 * D)])
def test_selection_decides_how_many_columns(selection: str, k: int, k_both: int) -> None:
    images, maps, labels, train = case()
    diagnostics = fold(images, maps, labels, train, selection=selection).diagnostics
    assert diagnostics["k"].tolist() == [k, k, k_both]


def test_network_and_scale_are_passed_on() -> None:
    images, _, labels, train = case()
    images *= 5
    first = fold(images, None, labels, train)
    for settings in ({"mlp": (16, 8)}, {"scale": "none"}, {"seed": SEED + 1}):
        other = fold(images, None, labels, train, **settings)
        assert np.abs(probabilities(other, "image") - probabilities(first, "image")).max() > 1e-3
    again = fold(images, None, labels, train)
    pd.testing.assert_frame_equal(first.predictions, again.predictions)


def test_nothing_of_the_test_rows_reaches_the_fit() -> None:
    images, maps, labels, train = case()
    result = fold(images, maps, labels, train, keep=0.5, **summed_up(maps))
    untouched = np.flatnonzero(~train)[:10]
    spoiled = np.flatnonzero(~train)[10:]
    images[spoiled] = 1e3 * images[spoiled] + 7
    maps[spoiled] = -50
    labels[~train] = np.roll(labels[~train], 11)
    labels[spoiled] = "stripe"
    other = fold(images, maps, labels, train, keep=0.5, **summed_up(maps))
    assert selected(other) == selected(result)
    for name in FEATURE_SETS:
        now, then = multiclass(other, name), multiclass(result, name)
        columns = [f"p:{kind}" for kind in CLASSES]
        np.testing.assert_allclose(now.loc[untouched, columns], then.loc[untouched, columns], rtol=0, atol=1e-6)
    fit = ["n_train", "k_image", "k_map", "iterations"]
    pd.testing.assert_frame_equal(other.diagnostics[fit], result.diagnostics[fit])


def test_baselines_use_the_columns_that_their_names_say() -> None:
    images, maps, labels, train = case()
    result = fold(images, maps, labels, train, **summed_up(maps))
    used = {name: set(columns) for name, columns in selected(result)["multiclass"].items()}
    both, stats = set(range(2 * D)), {2 * D, 2 * D + 1, 2 * D + 2}
    guided = set(range(2 * D + 6, 2 * D + 12))
    assert used["guided"] == guided
    assert used["guided_all"] == set(range(D)) | stats | guided
    assert used["score"] == {2 * D + 3}
    assert used["patch"] == {2 * D + 4, 2 * D + 5}
    assert used["combined"] == used["guided_logistic"] | used["score"] | used["patch"]
    assert used["stats"] == stats
    assert used["image_map_stats"] == used["image_map"] | stats
    assert used["image_map_all"] == used["image_map_logistic"] == both != used["image_map"]
    diagnostics = result.diagnostics.set_index("features")
    assert diagnostics["k"].to_dict() == {name: len(columns) for name, columns in used.items()}
    assert diagnostics.loc["stats", ["k_image", "k_map"]].tolist() == [0, 0]
    network = fold(images, maps, labels, train, feature_sets=("image_map_all",), selection="none")
    np.testing.assert_array_equal(probabilities(network, "image_map_all"), probabilities(result, "image_map_all"))
    columns = np.hstack([images, maps])
    line = classifiers.fit(columns[train], labels[train], CLASSES, hidden=())
    np.testing.assert_array_equal(probabilities(result, "image_map_logistic"), line.probabilities(columns[~train]))


def test_baselines_change_nothing_of_the_three_and_need_their_sources() -> None:
    images, maps, labels, train = case()
    alone = fold(images, maps, labels, train).predictions
    beside = fold(images, maps, labels, train, **summed_up(maps)).predictions
    assert set(beside["features"]) == set(FEATURE_SETS)
    mine = beside[beside["features"].isin(MAIN)].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, alone)
    without = fold(images, maps, labels, train, feature_sets=tuple(FEATURE_SETS))
    assert set(without.predictions["features"]) == {*MAIN, "image_logistic", "image_map_all", "image_map_logistic"}


def test_perfect_separation_is_learnt_and_finite() -> None:
    images, maps, labels, train = case()
    own = 100 * (labels[:, None] == np.array(CLASSES))  # a column per class, on for its images alone
    images[:, :12] = maps[:, 5:17] = np.tile(own, 4)
    more = {"stats": own, "score": 100.0 * (labels == "big")[:, None], "patch": own, "guided": own}
    numbers = {"more": more, "feature_sets": tuple(FEATURE_SETS)}
    result = fold(images, maps, labels, train, **numbers)
    for name in FEATURE_SETS:
        rows = multiclass(result, name)
        assert np.isfinite(probabilities(result, name)).all()
        found = rows["predicted"] == rows["label"]
        assert found[rows["label"] == "big"].all(), name
        assert found.all() or name == "score", name  # which tells one class from the rest only


def test_without_maps_only_the_image_is_evaluated() -> None:
    images, _, labels, train = case()
    result = fold(images, None, labels, train)
    assert set(result.predictions["features"]) == {"image"}
    assert set(selected(result)["multiclass"]) == {"image"}


def test_a_defect_class_may_be_called_defective() -> None:
    images, maps, labels, train = case()
    two = np.where(labels == "good", "good", "defective")
    table = fold(images, maps, two, train, classes=["good", "defective"]).predictions
    assert list(table.columns[-2:]) == ["p:good", "p:defective"]
    assert table.notna().all().all()


def test_thinning_counts_per_class_and_rounds_half_up() -> None:
    labels = np.repeat(["good", "big", "dent", "stripe"], [40, 10, 1, 6])
    train = np.ones(57, dtype=bool)
    counts = {}
    for keep in (0.25, 0.5, 0.75, 1.0):
        kept = labels[subsample_defects(labels, train, good="good", keep=keep, seed=0)]
        counts[keep] = [int((kept == name).sum()) for name in ("good", "big", "dent", "stripe")]
    # 2.5 becomes 3, 1.5 becomes 2; one stays, though a quarter of one rounds to none
    assert counts == {
        0.25: [40, 3, 1, 2], 0.5: [40, 5, 1, 3], 0.75: [40, 8, 1, 5], 1.0: [40, 10, 1, 6]
    }  # fmt: skip


def test_thinning_never_touches_test_rows_or_goods_and_is_nested() -> None:
    _, _, labels, train = case()
    levels = [subsample_defects(labels, train, good="good", keep=keep, seed=3) for keep in (0.25, 0.5, 0.75, 1.0)]
    for fewer, more in pairwise(levels):
        assert not (fewer & ~more).any()
        assert fewer.sum() < more.sum()
    for kept in levels:
        assert not kept[~train].any()
        assert kept[train & (labels == "good")].all()
    assert (levels[-1] == train).all()


def test_thinning_follows_its_seed_and_nothing_else() -> None:
    _, _, labels, train = case()
    before = train.copy()
    kept = subsample_defects(labels, train, good="good", keep=0.5, seed=3)
    assert (kept == subsample_defects(labels, train, good="good", keep=0.5, seed=3)).all()
    assert (kept != subsample_defects(labels, train, good="good", keep=0.5, seed=4)).any()
    assert (train == before).all()
    other = np.where(labels == "big", "a new name", labels)  # sorts before the rest
    stripes = labels == "stripe"
    assert (kept[stripes] == subsample_defects(other, train, good="good", keep=0.5, seed=3)[stripes]).all()
