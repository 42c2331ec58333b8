"""Colours and signs tell feature sets apart; saved figures are dateless, described, and the same each time."""

import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from lib.reporting import figures_classifier, figures_maps, style
from tests.reporting.conftest import ODD

pytestmark = pytest.mark.usefixtures("figures")


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
    for names, lightness in (
        (style.PALETTE, 15),
        (style.METHODS, 9),
        ([*style.PALETTE, "guided_logistic", "combined"], 9),
    ):
        for a, b in itertools.combinations(names, 2):
            one, other = linear(style.LINES[a]), linear(style.LINES[b])
            assert abs(lab(one)[0] - lab(other)[0]) > lightness
            assert np.linalg.norm(lab(DEUTERANOPIA @ one) - lab(DEUTERANOPIA @ other)) > 25
    assert len({look[1:] for look in style.LOOKS.values()}) == len(style.LINES)


def test_a_figure_is_saved_twice_the_same_with_its_description(tmp_path, predictions):
    photograph = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    for name in ("a", "b"):
        drawn = figures_classifier.confusion(predictions, ODD)
        style.save_figure(drawn, tmp_path, name, "what it shows")
        sheet = figures_maps.samples({"ä$": photograph[None]}, {"ä$": [None]})
        style.save_figure(sheet, tmp_path, f"sheet-{name}", "ein Prüfbild, → gut")
    for name in ("{}.png", "{}.svg", "sheet-{}.png"):
        assert len({(tmp_path / name.format(one)).read_bytes() for one in "ab"}) == 1
    assert Image.open(tmp_path / "a.png").info["Description"] == "what it shows"
    assert Image.open(tmp_path / "sheet-a.png").info["Description"] == "ein Prüfbild, → gut"
    assert len(list(tmp_path.iterdir())) == 6, "no SVG of photographs"


def test_a_figure_is_drawn_once_per_file_and_nothing_of_it_is_cut_off(tmp_path, predictions, monkeypatch):
    drawn, draw = [], mpl.figure.Figure.draw
    monkeypatch.setattr(mpl.figure.Figure, "draw", lambda *to: drawn.append(to) or draw(*to))
    style.save_figure(figures_classifier.reliability(predictions, "good"), tmp_path, "a", "alt")
    assert len(drawn) == 2  # PNG and SVG; a layout needs no drawing
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    assert all((edge == 255).all() for edge in (pixels[:5], pixels[-5:], pixels[:, :5], pixels[:, -5:]))


def test_every_figure_has_the_width_of_a_page_or_half_of_one(tmp_path, predictions):
    photographs = np.zeros((3, 40, 40, 3), np.uint8)
    drawn = {
        "line": figures_classifier.confusion(predictions, ODD),
        "sheet": figures_maps.samples({"good": photographs, "a class of a long name": photographs[:1]}, {}),
    }
    for name, figure in drawn.items():
        style.save_figure(figure, tmp_path, name, "alt")
        pixels = Image.open(tmp_path / f"{name}.png").width
        assert pixels == {"line": 1920, "sheet": 960}[name]
    assert {text.get_fontsize() for one in drawn.values() for text in one.findobj(plt.Text)} == {style.FONT}


def test_panels_without_anything_in_them_are_blank():
    figure, grid = style.panels(3, 2, 2)
    for axes in grid.flat[:3]:
        axes.plot([0, 1])
    style.finish(figure)
    assert [axes.axison for axes in grid.flat] == [True, True, True, False]


def test_the_note_is_the_figures_label_as_it_was_given(tmp_path):
    long, figure = "$x_1$ <b> & more · " * 20, plt.figure()
    assert style.finish(figure, long).get_label() == long
    style.save_figure(figure, tmp_path, "a", "alt", "made of ä")
    info = Image.open(tmp_path / "a.png").info
    assert (info["Comment"], info["Source"]) == (long, "made of ä")


def test_odd_and_long_names_are_shown_as_they_are(predictions):
    figure = figures_classifier.confusion(predictions, ODD)
    names = [style.escape_mathtext(name) for name in ODD]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == names
    assert style.escape_mathtext("a$b") == r"a\$b"
    assert style.escape_mathtext("a" * 30, 10) == "a" * 9 + "…"
    assert style.escape_mathtext("aaaa$aaaa", 5) == "aaaa…"  # cut before it is escaped
    assert style.escape_mathtext("$" * 9, 9) == r"\$" * 9
