"""What all figures share: width, font, colours and signs of feature sets, legends, and how they are saved.

Every figure function draws on new axes, ends with `finish`, returns the figure, and neither displays nor saves it.
Every figure is as wide as a page or half of one, in one font size. matplotlib is imported when the first is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.artifacts import atomic
from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.headlines import METHODS as METHODS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from pandas import DataFrame

PAGE, HALF = 9.6, 4.8  # inches: widths of figures, of a hundred pixels of a page each
FONT = 10  # points, of everything that is written: fourteen pixels of a page
# After Okabe and Ito: distinct for colour-blind readers, and in grey by lightness, dash and marker.
PALETTE = {"image": "#0072B2", "map": "#E69F00", "image_map": "#00473A"}
LINES = PALETTE | {"image_logistic": "#5BB8EC", "guided_logistic": "#CC79A7", "combined": "#9A3300"}
OTHER = "#D55E00"  # of the one feature set that a figure may show beside those
DASHES: dict[str, tuple[Any, ...]] = {
    "image": (4, 1.5), "map": (1, 1), "image_map": (None, None), "image_logistic": (2, 1),
    "guided_logistic": (6, 1, 1, 1), "combined": (3, 1, 1, 1, 1, 1),
}  # fmt: skip
MARKERS = {
    "image": "s",
    "map": "o",
    "image_map": "D",
    "image_logistic": "P",
    "guided_logistic": "^",
    "combined": "X",
}
DOTS: dict[str, Any] = {"ms": 6, "mec": "white", "mew": 0.5}  # how markers look
MAP_COLOURS = "inferno"
OUTLINE = "#D55E00"
DPI, PHOTO_DPI = 200, 100  # two pixels per pixel of a page; one, of a page of photographs


def set_style() -> None:
    """Set fonts, grid and resolution for all figures of a notebook."""
    import seaborn as sns

    sizes = ("font.size", "axes.titlesize", "axes.labelsize", "legend.fontsize", "legend.title_fontsize",
             "xtick.labelsize", "ytick.labelsize")  # fmt: skip
    rc = {"figure.dpi": 100, "savefig.dpi": DPI, "svg.fonttype": "path", "svg.hashsalt": "study"}
    sns.set_theme("paper", "whitegrid", rc=rc | dict.fromkeys(sizes, FONT))


def present(features: Iterable[str], among: Iterable[str] = PALETTE) -> list[str]:
    """Return which feature sets `among` those are in `features`, in their order."""
    return [name for name in among if name in set(features)]


def by_method(rows: DataFrame, among: Iterable[str] = FEATURE_SETS) -> list[tuple[str, DataFrame]]:
    """Return the rows of each feature set `among` those, in their order."""
    return [(name, rows[rows["features"] == name]) for name in present(rows["features"], among)]


def lined(name: str) -> dict[str, Any]:
    """Return how a line of the feature set looks; the solid one lies below the others, which it would hide."""
    dashes = DASHES.get(name, (3, 1, 1, 1, 1, 1))
    return {"color": LINES.get(name, OTHER), "dashes": dashes, "zorder": 2.0 if dashes[0] is None else 2.5}


def marked(name: str) -> dict[str, Any]:
    """Return how a marker of the feature set looks."""
    return DOTS | {"marker": MARKERS.get(name, "v"), "color": LINES.get(name, OTHER)}


def panels(count: int, columns: int, height: float, width: float = PAGE, **look: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes (rows, columns) for `count` panels, `columns` beside each other.

    `height` of a row and `width` of the whole in inches. `finish` blanks panels where nothing is drawn.
    """
    import matplotlib.pyplot as plt

    rows = -(-count // columns)
    look = {"layout": "constrained", "figsize": (width, height * rows)} | look
    return plt.subplots(rows, columns, squeeze=False, **look)


def escape_mathtext(text: str, length: int | None = None) -> str:
    """Return text from the data so that matplotlib shows it as it is (a dollar sign starts no formula).

    What is longer than `length` characters is cut, and ends in an ellipsis.
    """
    cut = str(text).replace("\n", "⏎")
    if length is not None and len(cut) > length:
        cut = cut[: length - 1] + "…"
    return cut.replace("$", r"\$")


def save_figure(figure: Figure, folder: Path, name: str, alt: str, provenance: str = "") -> None:
    """Write `name.png` and `name.svg` into `folder`, atomically, free of dates, `alt` as their description.

    The PNG holds the note as its comment, and the provenance as its source. Photographs are saved as PNG only.
    """
    photographs = any(axes.get_images() for axes in figure.axes)
    with atomic(folder / f"{name}.png") as partial:
        texts = {"Software": None, "Description": alt, "Comment": figure.get_label(), "Source": provenance}
        shrunk = {"compress_level": 3}  # as small as by the default of 6, in a third of the time
        dpi = PHOTO_DPI * PAGE / figure.get_figwidth() if photographs else DPI
        figure.savefig(partial, metadata=texts, dpi=dpi, pil_kwargs=shrunk, facecolor="white")
    if photographs:
        (folder / f"{name}.svg").unlink(missing_ok=True)  # of an earlier version
    else:
        with atomic(folder / f"{name}.svg") as partial:
            figure.savefig(partial, metadata={"Date": None, "Description": alt}, facecolor="white")


def draw_image(
    axes: Axes, image: np.ndarray, mask: np.ndarray | None = None, colour: str = "white", line: str = "solid"
) -> None:
    """Draw an image (H, W, 3), or a map (H, W) in [0, 1] in its colours, without ticks, its defect outlined.

    A mask (H, W) bool that is missing, empty or everywhere has no outline.
    """
    from matplotlib.patheffects import withStroke

    axes.imshow(image, cmap=MAP_COLOURS, vmin=0, vmax=1)  # colours and range count for maps only
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    if mask is None or not mask.any() or mask.all():
        return
    drawn = axes.contour(mask, levels=[0.5], colors=[colour], linewidths=0.9, linestyles=line)
    if colour == "white":
        drawn.set(path_effects=[withStroke(linewidth=2, foreground="0.1")])
    axes.set(xlim=(-0.5, mask.shape[1] - 0.5), ylim=(mask.shape[0] - 0.5, -0.5))


def percent_ticks(*axis: Axis) -> None:
    """Write the ticks of each axis, whose values are shares in [0, 1], as percentages."""
    from matplotlib.ticker import PercentFormatter

    for one in axis:
        one.set_major_formatter(PercentFormatter(1.0, 0, " %"))


def legend_above(axes: Axes, columns: int, *handles_and_labels: Any, **options: Any) -> None:
    """Write the legend of the axes above them, without a frame."""
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "frameon": False}
    axes.legend(*handles_and_labels, ncols=columns, **place | options)


def legend_outside(figure: Figure, columns: int, *handles_and_labels: Any, **options: Any) -> None:
    """Write a legend above all axes (or where `loc` says), without a frame."""
    place: dict[str, Any] = {"loc": "outside upper center", "frameon": False}
    figure.legend(*handles_and_labels, ncols=columns, **place | options)


def finish(figure: Figure, note: str = "", legend: Iterable[str] = ()) -> Figure:
    """Return the figure, laid out, with the legend of the feature sets above it.

    The note says what signs mean that no legend names; pages show it below the figure, whose label it is.
    """
    from matplotlib.lines import Line2D

    for axes in figure.axes:
        if not axes.has_data():
            axes.set_axis_off()
    if names := present(legend, FEATURE_SETS):
        handles = [Line2D([], [], **marked(name) | lined(name)) for name in names]
        rows = 1 + (len(names) > 4) if figure.get_figwidth() > HALF else len(names)
        columns = -(-len(names) // rows)
        labels = [FEATURE_SETS[name].title for name in names]
        legend_outside(figure, columns, handles, labels, handlelength=3)
    figure.set_label(note)
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)  # it is laid out: saving need not do it again
    return figure
