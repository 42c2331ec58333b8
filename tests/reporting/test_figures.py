"""Figures: their content is the data's, odd names are shown, and files are small, dateless and described."""

import base64
import io
import itertools
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.calibration import calibration_curve

from lib.evaluation.bands import bands
from lib.evaluation.bootstrap import samples
from lib.evaluation.metrics import ALL, POOLED, summary
from lib.evaluation.operating_points import operating_numbers
from lib.evaluation.significance import compare
from lib.reporting import figures_classifier, figures_data, figures_maps, figures_statistics, style
from lib.reporting.differences import paired_differences
from lib.reporting.economy import label_efficiency
from tests.evaluation.made_up import by_fold, study

ODD = ("good", "$x_1$ <b>", "d'é\"faut {x}")
SKILL = {"image": 1.0, "map": 0.5, "image_map": 2.0}


@pytest.fixture(autouse=True)
def close():
    plt.switch_backend("agg")
    style.set_style()
    yield
    plt.close("all")


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    rows = []
    for features in style.PALETTE:
        for k in range(30):
            chances = rng.dirichlet(np.ones(3))
            rows.append({"features": features, "label": ODD[k % 3], "predicted": ODD[int(chances.argmax())]}
                        | {f"p:{name}": p for name, p in zip(ODD, chances, strict=True)})  # fmt: skip
    return pd.DataFrame(rows)


def lab(colour):
    """Return CIELAB (D65) of an sRGB colour, linear channels given."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ colour
    f = np.cbrt(np.maximum(xyz / (0.9505, 1, 1.089), 0.008856))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def linear(colour):
    value = np.array(mpl.colors.to_rgb(colour))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


# Machado, Oliveira and Fernandes (2009), severity 1, on linear channels
DEUTERANOPIA = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])


def test_feature_sets_are_told_apart_in_grey_and_by_the_colour_blind():
    for a, b in itertools.combinations(style.PALETTE.values(), 2):
        one, other = linear(a), linear(b)
        assert abs(lab(one)[0] - lab(other)[0]) > 15
        assert np.linalg.norm(lab(DEUTERANOPIA @ one) - lab(DEUTERANOPIA @ other)) > 25
    for a, b in itertools.combinations(style.LINES.values(), 2):
        one, other = linear(a), linear(b)
        assert abs(lab(one)[0] - lab(other)[0]) > 9
        assert np.linalg.norm(lab(DEUTERANOPIA @ one) - lab(DEUTERANOPIA @ other)) > 25
    for signs in (style.DASHES, style.MARKERS):
        assert len(set(signs.values())) == len(style.LINES)
    assert len(set(style.HATCHES.values())) == len(style.PALETTE)


def test_classes_differ_in_lightness_and_the_good_one_stands_apart():
    colours = style.class_colours(["good", "a", "b", "c", "d", "e"])
    assert max(colours["good"]) == min(colours["good"])
    lightness = [lab(linear(colours[name]))[0] for name in "abcde"]
    assert min(np.diff(lightness)) > 8
    assert style.class_colours(["good"]) == {"good": colours["good"]}


def test_a_figure_is_saved_twice_the_same_with_its_description(tmp_path, predictions):
    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    for name in ("a", "b"):
        drawn = figures_classifier.confusions(predictions, ODD, "caption $1")
        style.save_figure(drawn, tmp_path, name, "what it shows")
        sheet = figures_maps.samples({"ä$": picture[None]}, {"ä$": [None]}, "c")
        style.save_figure(sheet, tmp_path, f"sheet-{name}", "ein Prüfbild, → gut")
    for stem in ("", "sheet-"):
        for kind in ("png", "svg"):
            assert (tmp_path / f"{stem}a.{kind}").read_bytes() == (tmp_path / f"{stem}b.{kind}").read_bytes()
    assert Image.open(tmp_path / "a.png").info["Description"] == "what it shows"
    assert Image.open(tmp_path / "sheet-a.png").info["Description"] == "ein Prüfbild, → gut"
    assert len(list(tmp_path.iterdir())) == 8


def test_sheets_of_photographs_are_small_and_keep_their_colours(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.normal(128, 25, (6, 192, 192, 1)).clip(0, 255).astype(np.uint8).repeat(3, axis=-1)
    mask = np.zeros((192, 192), bool)
    mask[40:120, 40:120] = True
    sheet = figures_maps.samples({"a": noise, "b": noise}, {"a": [mask] * 6, "b": [None] * 6}, "c")
    style.save_figure(sheet, tmp_path, "sheet", "alt")
    drawn = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).reshape(-1, 3)
    assert (drawn[0] == 255).all()
    orange = drawn[:, 0].astype(int) - drawn[:, 2]  # red less blue: 213 on the outlines, 0 on grey noise
    assert (orange > 80).sum() > 500 and orange.max() > 195
    pixels = sum(axes.get_window_extent().width ** 2 for axes in sheet.axes) * (100 / 110) ** 2
    assert (tmp_path / "sheet.png").stat().st_size < pixels * 1.1  # 3 bytes per pixel of noise otherwise
    text = (tmp_path / "sheet.svg").read_text()
    embedded = re.findall(r"data:image/(\w+);base64,([A-Za-z0-9+/=]+)", text)
    assert [kind for kind, _ in embedded] == ["jpeg"] * 12
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(embedded[0][1])))).astype(float)
    assert abs(shown.mean() - noise[0].mean()) < 3
    assert len(text) < 400_000


def test_the_caption_stands_below_everything_else(predictions):
    figure = figures_statistics.recall_against_false_rejects(predictions, "good", "a caption")
    figure.canvas.draw()
    (text,) = [t for t in figure.texts if t.get_text() == "a caption"]
    label = figure.axes[0].xaxis.label.get_window_extent()
    assert text.get_window_extent().y1 <= label.y0


def test_key_and_caption_are_the_figures_label_as_they_were_given():
    long, figure = "$x_1$ <b> & more · " * 20, plt.figure()
    style.add_caption(figure, long)
    assert figure.get_label() == long
    style.add_caption(figure, long, "dashed: ä")
    assert figure.get_label() == f"dashed: ä · {long}"


def test_bands_are_explained_where_there_are_any():
    rows = [(1.0, "image", 0.5, "a")]
    frame = pd.DataFrame(rows, columns=["keep", "features", "value", "class"])
    assert figures_statistics.degradation(frame, "c").get_label() == "c"
    assert (
        figures_statistics.degradation(frame.assign(low=0.4, high=0.6), "c").get_label()
        == f"{figures_statistics.BANDS} · c"
    )


def test_odd_and_long_names_are_shown_as_they_are(predictions):
    figure = figures_classifier.confusions(predictions, ODD, "c")
    figure.canvas.draw()
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [
        style.escape_mathtext(name) for name in ODD
    ]
    assert style.escape_mathtext("a$b") == r"a\$b"
    assert style.escape_mathtext("a" * 30, 10) == "a" * 9 + "…"
    assert style.escape_mathtext("aaaa$aaaa", 5) == "aaaa…"  # cut before it is escaped
    assert style.escape_mathtext("$" * 9, 9) == r"\$" * 9


def test_counts_in_the_confusion_matrix(predictions):
    figure = figures_classifier.confusions(predictions, ODD, "c")
    written = [int(text.get_text()) for text in figure.axes[0].texts]
    image = predictions[predictions["features"] == "image"]
    counts = pd.crosstab(image["label"], image["predicted"]).loc[list(ODD), list(ODD)]
    assert written == counts.to_numpy().ravel().tolist()
    assert len(figure.axes) == 3
    many = [f"class {k}" for k in range(12)]
    tall = figures_classifier.confusions(predictions.replace(dict(zip(ODD, many, strict=False))), many, "c")
    assert tall.get_figheight() > 2 * tall.get_figwidth()  # below each other


def test_feature_sets_keep_their_colours(predictions):
    figure = figures_statistics.recall_against_false_rejects(predictions, "good", "c")
    lines = {line.get_label(): line.get_color() for line in figure.axes[0].get_lines()}
    for name, colour in style.PALETTE.items():
        assert lines[style.NAMES[name]] == colour
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [style.NAMES[name] for name in style.PALETTE]


def test_recall_bars_have_the_height_of_the_recalls():
    frame = by_fold({"image": (2, 0), "image_map": (1, 0)})
    values = summary(frame, "good")
    values = values[(values["fold"] == POOLED) & (values["class"] != ALL)]
    figure = figures_classifier.recall_bars(values, "c")
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in figure.axes[1].containers}
    assert heights == {"image": [0.9], "image_map": [0.95]}


def test_masks_are_outlined_where_there_are_any():
    stack = np.zeros((2, 16, 16, 3), np.uint8)
    mask = np.zeros((16, 16), bool)
    mask[4:8, 4:8] = True
    figure = figures_maps.samples(
        {"good": stack, "bad": stack}, {"good": [None, None], "bad": [mask, ~mask & False]}, "c"
    )
    assert [len(axes.collections) for axes in figure.axes] == [0, 0, 1, 0]


def test_maps_share_one_scale_and_stand_below_their_images():
    maps = np.linspace(0, 1, 20)[:, None, None] * np.ones((1, 8, 8))
    photos = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    both = {"DRAEM": maps, "PatchCore": maps[::-1]}
    figure = figures_maps.image_and_map(photos, both, [str(k) for k in range(20)], [None] * 20, "c")
    above, below, lowest = (figure.axes[row:60:3] for row in range(3))
    assert {axes.get_images()[0].get_clim() for axes in (*below, *lowest)} == {(0, 1)}
    for k, axes in enumerate(lowest):
        assert axes.get_images()[0].get_array()[0, 0] == pytest.approx(maps[19 - k, 0, 0])
    assert [axes.get_ylabel() for axes in (below[0], lowest[0])] == list(both)
    for k, (one, other) in enumerate(zip(above, below, strict=True)):
        assert one.get_images()[0].get_array()[0, 0, 0] == k
        assert other.get_images()[0].get_array()[0, 0] == pytest.approx(maps[k, 0, 0])
        assert one.get_position().x0 == pytest.approx(other.get_position().x0, abs=1e-6)
        assert 0 < one.get_position().y0 - other.get_position().y1 < 0.05
    assert len({round(axes.get_position().x0, 4) for axes in above}) <= figures_maps.WIDEST


def test_degradation_draws_a_panel_each_with_its_band():
    rows = [(k, s, 0.5 + k / 10, 0.4, 0.8, c) for k in (0.5, 1.0) for s in style.LINES for c in ODD]
    columns = ["keep", "features", "value", "low", "high", "class"]
    figure = figures_statistics.degradation(pd.DataFrame(rows, columns=columns), "c", measure="defect recall")
    assert [axes.get_title() for axes in figure.axes[:3]] == [style.escape_mathtext(name) for name in ODD]
    assert len(figure.legends) == 1
    for axes in figure.axes:
        (extent,) = {tuple(band.get_datalim(axes.transData).intervaly) for band in axes.collections}
        assert extent == (0.4, 0.8)
        drawn = {line.get_label(): line for line in axes.get_lines()}
        assert set(style.NAMES.values()) <= set(drawn)
        line = drawn[style.NAMES["map"]]
        assert line.get_ydata().tolist() == [0.55, 0.6]
        assert axes.get_xlabel()
    assert figure.axes[0].get_ylabel() == "defect recall"


def test_bands_are_the_bootstraps_quantiles_of_the_pooled_measures():
    frame = study(SKILL, n=120, keep=(0.5, 1.0))
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


def test_operating_points_are_marked_with_what_they_were_to_reach():
    frame, known = study(SKILL, n=300), study(SKILL, n=300, calibrated=True)
    points = operating_numbers(frame, known, "good", required=(0.9, 0.95))
    figure = figures_statistics.recall_against_false_rejects(frame, "good", "c", points)
    chosen = points[(points["method"] == "training scores") & (points["class"] == "(all)")]
    for axes in figure.axes[:2]:
        hollow = [line for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
        drawn = {point for line in hollow for point in zip(*line.get_data(), strict=True)}
        assert drawn == set(zip(chosen["false_rejects"], chosen["recall"], strict=True))
        assert len(drawn) == 6
        stems = [tuple(segment[:, 1]) for lines in axes.collections for segment in lines.get_segments()]
        assert set(stems) == set(zip(chosen["recall"], chosen["required"], strict=True))
    assert {"90 %", "95 %"} <= {text.get_text() for text in figure.axes[1].texts}
    assert "hollow" in figure.axes[0].texts[0].get_text()
    bare = figures_statistics.recall_against_false_rejects(frame, "good", "c")
    assert "hollow" not in bare.axes[0].texts[0].get_text()


def test_learning_curves_draw_a_panel_per_data_set_with_the_house_colours():
    frame = study({"image": 1.0, "image_map": 2.0, "image_map_all": 2.0}, n=90, keep=(0.5, 1.0))
    both = pd.concat([frame, frame.assign(dataset="$odd_name")])
    figure = figures_statistics.learning_curves(label_efficiency(both, "good", seed=0, n=20), "c")
    assert [axes.get_title() for axes in figure.axes] == ["toy", style.escape_mathtext("$odd_name")]
    assert {line.get_color() for line in figure.axes[0].get_lines()} == {
        style.PALETTE["image"],
        style.PALETTE["image_map"],
    }
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["image", "image + anomaly map"]


def test_paired_differences_are_those_of_the_folds_joined_fold_by_fold():
    frame = by_fold({"image": (3, 1, 0), "map": (1, 1, 4), "image_map": (0, 1, 2)})
    measures = summary(frame, "good")
    compared = compare(frame, "good", seed=0, n_bootstrap=100, measures=measures)
    figure = paired_differences(measures, compared, "c")
    axes = figure.axes[1]  # defect recall: misses of the image less those of the other, of 10 in each fold
    drawn = {tuple(dots.get_facecolor()[0][:3]): np.round(dots.get_offsets()[:, 0].data, 6).tolist()
             for dots in axes.collections if len(dots.get_offsets()) == 3}  # fmt: skip
    assert drawn[mpl.colors.to_rgb(style.PALETTE["image_map"])] == [0.3, 0.0, -0.2]
    assert drawn[mpl.colors.to_rgb(style.PALETTE["map"])] == [0.2, 0.0, -0.4]
    joined = {tuple(np.round(line.get_xdata(), 6)) for line in axes.get_lines() if line.get_color() == "0.7"}
    assert joined == {(0.3, 0.2), (0.0, 0.0), (-0.2, -0.4)}
    row = compared.query(
        "a == 'map' and b == 'image' and metric == 'defect_recall' and `class` == '(all)'"
    ).iloc[0]
    bars = [c.get_segments()[0][:, 0] for c in axes.collections if hasattr(c, "get_segments")]
    assert any(np.allclose(bar, (row["low"], row["high"])) for bar in bars)
    one_fold = by_fold({"image": (3,), "image_map": (0,)})
    single = compare(one_fold, "good", seed=0, n_bootstrap=20)
    assert len(paired_differences(summary(one_fold, "good"), single, "c").axes) == 2


def test_reliability_has_scikit_learns_bins_and_exact_intervals():
    rng = np.random.default_rng(0)
    scores = rng.random(400)
    defective = rng.random(400) < scores**2
    bins = figures_classifier.reliability_bins(scores, defective)
    share, mean = calibration_curve(defective, scores, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(bins["share"], share)
    np.testing.assert_allclose(bins["score"], mean)
    assert bins["n"].tolist() == [40] * 10
    assert ((bins["low"] < bins["share"]) & (bins["share"] < bins["high"]))[1:9].all()
    assert len(figures_classifier.reliability_bins(np.zeros(9), np.arange(9) < 3)) == 1


def test_reliability_shows_the_brier_score_and_the_bins_of_the_first_repeat():
    frame = study(SKILL, n=150)
    other = frame.assign(repeat=1, label="good")
    figure = figures_classifier.reliability(pd.concat([frame, other]), "good", "c")
    for axes, name in zip(figure.axes, SKILL, strict=False):
        part = frame[frame["features"] == name]
        scores, defective = 1 - part["p:good"].to_numpy(), (part["label"] != "good").to_numpy()
        assert f"{np.mean((scores - defective) ** 2):.3f}" in axes.get_title()
        bins = figures_classifier.reliability_bins(scores, defective)
        (line,) = [one for one in axes.get_lines() if one.get_marker() == style.MARKERS[name]]
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), bins["share"])
    assert sum(bar.get_height() for bar in figure.axes[3].patches) == 150
    told = figures_classifier.brier_scores(pd.concat([frame, other]), "good")
    assert f"image + anomaly map {np.mean((scores - defective) ** 2):.3f}; " in told
    assert told.endswith("share of defects, 66.7%, scores 0.222.")


def diagnostics(**changed):
    told = {"image": ([0.5, 0.4, 0.3], []), "map": ([], [0.35, 0.2, 0.1]), "image_map": ([0.5, 0.4], [0.35])}
    rows = [
        {"split": f"stratified-{fold}", "task": "multiclass", "keep": 1.0, "features": name, "k": 3,
         "k_image": len(image), "k_map": len(of_map), "mi_image": image, "mi_map": of_map} | changed
        for fold in range(2) for name, (image, of_map) in told.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_selected_columns_are_counted_and_weighed_by_source():
    figure = figures_classifier.selected_sources(diagnostics(), "c")
    left, right = figure.axes
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in left.containers}
    assert heights == {"image": [2, 2], "map": [1, 1]}
    assert [bar.get_y() for bar in left.containers[1]] == [2, 2]
    medians = [line.get_ydata()[0] for line in right.get_lines() if line.get_color() == "white"]
    assert medians == [0.4, 0.4, 0.2, 0.2]
    entry = [segment[0, 1] for lines in right.collections for segment in lines.get_segments()]
    assert entry == [0.35, 0.35]
    assert [text.get_text() for text in left.get_xticklabels()] == ["0", "1"]
    told = "Of 3 selected columns, from the map come 1 (33% in all); in 0 of 2 fits none does."
    assert figures_classifier.describe_selected(diagnostics()) == told
    assert "and there image + map is the image alone" in figures_classifier.describe_selected(
        diagnostics(k_map=0)
    )
    kept = figures_classifier.selected_sources(diagnostics(), "c", by="keep")
    assert [text.get_text() for text in kept.axes[0].get_xticklabels()] == ["100%"]


def test_without_selection_the_figure_says_that_nothing_was_scored():
    figure = figures_classifier.selected_sources(diagnostics(mi_image=[], mi_map=[]), "c")
    assert "nothing was scored" in figure.axes[1].texts[0].get_text()
    image = diagnostics().query("features == 'image'")
    assert not figures_classifier.selected_sources(image, "c").axes[0].patches


def test_the_plane_is_fitted_on_training_images_and_names_the_variance():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 5))
    features[:, 1] = features[:, 0]
    tested = np.arange(60) >= 40
    found = figures_data.plane(features, tested)
    spoiled = features.copy()
    spoiled[50:] = 1e3
    np.testing.assert_allclose(figures_data.plane(spoiled, tested).points[:10], found.points[:10])
    assert found.points.shape == (20, 2)
    assert found.shares[0] == pytest.approx(0.4, abs=0.1)  # two of five columns vary as one
    labels = pd.Series([ODD[k % 3] for k in range(20)])
    figure = figures_data.embedding({"image": found, "image_map": found}, labels, ODD, "c")
    good, *_ = figure.axes[0].collections
    np.testing.assert_allclose(good.get_offsets(), found.points[::3])
    assert f"{found.shares[0]:.0%}" in figure.axes[0].get_xlabel()
    names = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert names == [style.escape_mathtext(name) for name in ODD]


def test_fold_sizes_stack_the_classes_counts():
    folds = pd.DataFrame({"scheme": ["grouped"] * 6, "id": list("abcdef"), "fold": [0, 0, 0, 1, 1, 1]})
    labels = pd.Series(["good", "good", ODD[1], "good", ODD[1], ODD[1]], index=list("abcdef"))
    figure = figures_data.fold_sizes(folds, labels, ODD, "c")
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in figure.axes[0].containers}
    assert heights == {
        "good": [2, 1],
        style.escape_mathtext(ODD[1]): [1, 2],
        style.escape_mathtext(ODD[2]): [0, 0],
    }
    assert [bar.get_y() for bar in figure.axes[0].containers[1]] == [2, 1]


def test_half_trainings_are_drawn_apart():
    history = pd.DataFrame({"split": np.repeat(["s-0", "s-0-inner-0"], 20), "step": list(range(20)) * 2})
    history = history.assign(l2=np.repeat([1.0, 2.0], 20), ssim=1.0, focal=1.0)
    drawn = figures_data.loss_curves(history, "c").axes[0].get_lines()
    middle = {line.get_label(): line.get_ydata()[0] for line in drawn
              if not line.get_label().startswith("_")}  # fmt: skip
    assert middle == {"all good training images": 1.0, "half of them": 2.0}
