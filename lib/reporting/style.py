"""What all figures share: width, font, colours and signs of feature sets, legends, and how they are saved.

Every figure function draws on new axes, ends with `finish`, returns the figure, and neither displays nor saves it.
Every figure is as wide as a page or half of one, in one font size.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter
from pandas import DataFrame

from lib.artifacts import atomic
from lib.classification.feature_sets import FEATURE_SETS, MAIN
from lib.evaluation.headlines import METHODS as METHODS

PAGE, HALF = 9.6, 4.8  # inches: widths of figures, of a hundred pixels of a page each
FONT = 10  # points, of everything that is written: fourteen pixels of a page
# Colour (after Okabe and Ito), dashes and marker: distinct for colour-blind readers, and in grey.
LOOKS: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "image": ("#0072B2", (4, 1.5), "s"),
    "map": ("#E69F00", (1, 1), "o"),
    "image_map": ("#00473A", (None, None), "D"),
    "image_logistic": ("#5BB8EC", (2, 1), "P"),
    "guided_logistic": ("#CC79A7", (6, 1, 1, 1), "^"),
    "combined": ("#9A3300", (3, 1, 1, 1, 1, 1), "X"),
}
OTHER = ("#D55E00", (3, 1, 1, 1, 1, 1), "v")  # of the one feature set that a figure may show beside those
LINES = {name: colour for name, (colour, _, _) in LOOKS.items()}
PALETTE = {name: LINES[name] for name in MAIN}
MAP_COLOURS, OUTLINE = "inferno", "#D55E00"
DPI, PHOTO_DPI = 200, 100  # two pixels per pixel of a page; one, of a page of photographs


def set_style() -> None:
    """Set fonts, grid and resolution for all figures of a notebook."""
    sizes = ("font.size", "axes.titlesize", "axes.labelsize", "legend.fontsize", "legend.title_fontsize",
             "xtick.labelsize", "ytick.labelsize")  # fmt: skip
    rc = {"figure.dpi": 100, "savefig.dpi": DPI, "svg.fonttype": "path", "svg.hashsalt": "study"}
    sns.set_theme("paper", "whitegrid", rc=rc | dict.fromkeys(sizes, FONT))


def present(features: Iterable[str], among: Iterable[str] = MAIN) -> list[str]:
    """Return which feature sets `among` those are in `features`, in their order."""
    return [name for name in among if name in set(features)]


def by_method(rows: DataFrame, among: Iterable[str] = FEATURE_SETS) -> list[tuple[str, DataFrame]]:
    """Return the rows of each feature set `among` those, in their order."""
    return [(name, rows[rows["features"] == name]) for name in present(rows["features"], among)]


def lined(name: str) -> dict[str, Any]:
    """Return how a line of the feature set looks; the solid one lies below the others, which it would hide."""
    colour, dashes, _ = LOOKS.get(name, OTHER)
    return {"color": colour, "dashes": dashes, "zorder": 2.0 if dashes[0] is None else 2.5}


def marked(name: str) -> dict[str, Any]:
    """Return how a marker of the feature set looks."""
    colour, _, marker = LOOKS.get(name, OTHER)
    return {"ms": 6, "mec": "white", "mew": 0.5, "marker": marker, "color": colour}


def panels(count: int, columns: int, height: float, width: float = PAGE, **look: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes (rows, columns) for `count` panels, `columns` beside each other.

    `height` of a row and `width` of the whole in inches. `finish` blanks panels where nothing is drawn.
    """
    rows = -(-count // columns)
    look = {"layout": "constrained", "figsize": (width, height * rows)} | look
    return plt.subplots(rows, columns, squeeze=False, **look)


def panel(height: float, width: float = PAGE) -> tuple[Figure, Any]:
    """Return a figure with one panel, both sides in inches."""
    return plt.subplots(layout="constrained", figsize=(width, height))


def escape_mathtext(text: str, length: int | None = None) -> str:
    """Return text from the data so that matplotlib shows it as it is (a dollar sign starts no formula).

    What is longer than `length` characters is cut, and ends in an ellipsis.
    """
    cut = str(text).replace("\n", "⏎")
    if length is not None and len(cut) > length:
        cut = cut[: length - 1] + "…"
    return cut.replace("$", r"\$")


def has_photographs(figure: Figure) -> bool:
    """Return whether any panel shows images."""
    return any(axes.get_images() for axes in figure.axes)


def save_figure(figure: Figure, folder: Path, name: str, alt: str, provenance: str = "") -> None:
    """Write `name.png` and `name.svg` into `folder`, atomically, free of dates, `alt` as their description.

    The PNG holds the note as its comment, and the provenance as its source. Photographs are saved as PNG only.
    """
    texts = {"Software": None, "Description": alt, "Comment": figure.get_label(), "Source": provenance}
    shrunk = {"compress_level": 3}  # as small as by the default of 6, in a third of the time
    png: dict[str, Any] = {"metadata": texts, "dpi": DPI, "pil_kwargs": shrunk}
    looks = {"png": png, "svg": {"metadata": {"Date": None, "Description": alt}}}
    if has_photographs(figure):
        png["dpi"] = PHOTO_DPI * PAGE / figure.get_figwidth()
        del looks["svg"]
        (folder / f"{name}.svg").unlink(missing_ok=True)  # of an earlier version
    for kind, look in looks.items():
        with atomic(folder / f"{name}.{kind}") as partial:
            figure.savefig(partial, facecolor="white", **look)


def draw_image(
    axes: Axes, image: np.ndarray, mask: np.ndarray | None = None, colour: str = "white", line: str = "solid"
) -> None:
    """Draw an image (H, W, 3), or a map (H, W) in [0, 1] in its colours, without ticks, its defect outlined.

    A mask (H, W) bool that is missing, empty or everywhere has no outline.
    """
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
    for one in axis:
        one.set_major_formatter(PercentFormatter(1.0, 0, " %"))


def legend_above(over: Axes | Figure, columns: int, *handles_and_labels: Any, **options: Any) -> None:
    """Write a legend without a frame above the axes, or above all of a figure (or where `loc` says)."""
    above: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
    place = {"loc": "outside upper center"} if isinstance(over, Figure) else above
    over.legend(*handles_and_labels, ncols=columns, frameon=False, **place | options)


def finish(figure: Figure, note: str = "", legend: Iterable[str] = ()) -> Figure:
    """Return the figure, laid out, with the legend of the feature sets above it.

    The note says what signs mean that no legend names; pages show it below the figure, whose label it is.
    """
    for axes in figure.axes:
        if not axes.has_data():
            axes.set_axis_off()
    if names := present(legend, FEATURE_SETS):
        handles = [Line2D([], [], **marked(name) | lined(name)) for name in names]
        rows = 1 + (len(names) > 4) if figure.get_figwidth() > HALF else len(names)
        labels = [FEATURE_SETS[name].title for name in names]
        legend_above(figure, -(-len(names) // rows), handles, labels, handlelength=3)
    figure.set_label(note)
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)  # it is laid out: saving need not do it again
    return figure
