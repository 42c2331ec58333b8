"""What all figures share: colours, signs and names of feature sets, fonts, captions, legends, and how they are saved.

Every figure function draws on new axes, ends with `finish`, returns the figure, and neither displays nor saves it.
matplotlib is imported when the first figure is drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lib.artifacts import atomic

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# After Okabe and Ito: distinct for colour-blind readers, and in grey by lightness, dash, marker and hatch.
PALETTE = {"image": "#0072B2", "map": "#E69F00", "image_map": "#00473A"}
LINES = PALETTE | {"guided_logistic": "#CC79A7"}  # in curves, beside the paper's three
DASHES = {"image": (4, 1.5), "map": (1, 1), "image_map": (None, None), "guided_logistic": (6, 1, 1, 1)}
MARKERS = {"image": "s", "map": "o", "image_map": "D", "guided_logistic": "^"}
HATCHES = {"image": "", "map": "..", "image_map": "//"}
DOTS: dict[str, Any] = {"ms": 5, "mec": "white", "mew": 0.5}  # how markers look
NAMES = {
    "image": "image",
    "map": "anomaly map",
    "image_map": "image + anomaly map",
    "guided_logistic": "image + map-guided, logistic",
}
MAP_COLOURS = "inferno"
OUTLINE = "#D55E00"
PHOTO_DPI = 100  # of figures with photographs: about one of their pixels per pixel of a page


def set_style() -> None:
    """Set fonts, grid and resolution for all figures of a notebook."""
    import seaborn as sns

    rc = {"figure.dpi": 110, "savefig.dpi": 160, "svg.fonttype": "path", "svg.hashsalt": "study"}
    sns.set_theme("paper", "whitegrid", font_scale=1.05, rc=rc | {"axes.titlesize": 10})


def present(features: Iterable[str], among: Iterable[str] = PALETTE) -> list[str]:
    """Return which feature sets `among` those are in `features`, in their order."""
    return [name for name in among if name in set(features)]


def filled(name: str) -> dict[str, Any]:
    """Return how a bar of the feature set looks."""
    edge = "0.75" if name == "image_map" else "0.2"  # which the hatch has, too
    return {"facecolor": PALETTE[name], "hatch": HATCHES[name], "edgecolor": edge, "linewidth": 0.5}


def lined(name: str) -> dict[str, Any]:
    """Return how a line of the feature set looks."""
    return {"color": LINES[name], "dashes": DASHES[name]}


def panels(
    count: int, columns: int, width: float, height: float, more: Sequence[float] = (0, 0), **options: Any
) -> tuple[Figure, Any]:
    """Return a figure and its axes (rows, columns) for `count` panels, `columns` beside each other.

    `width` and `height` of one in inches; `more` is added to the whole. `finish` blanks those where nothing is drawn.
    """
    import matplotlib.pyplot as plt

    rows = -(-count // columns)
    size = (width * columns + more[0], height * rows + more[1])
    return plt.subplots(rows, columns, figsize=size, squeeze=False, **options)


def draw_bars(axes: Axes, values: pd.DataFrame, kind: Literal["bar", "barh"] = "bar", **options: Any) -> None:
    """Draw a bar per feature set (column) at each place (row), which is named below or, for `barh`, beside it."""
    import matplotlib.pyplot as plt

    places = [escape_mathtext(str(name), 20) for name in values.index]
    values.set_axis(places).plot(kind=kind, ax=axes, width=0.8, legend=False, xlabel="", ylabel="", **options)
    for name, bars in zip(values, axes.containers, strict=True):
        plt.setp(bars, **filled(str(name)))
    axes.grid(False, axis="y" if kind == "barh" else "x")


def escape_mathtext(text: str, length: int | None = None) -> str:
    """Return text from the data so that matplotlib shows it as it is (a dollar sign starts no formula).

    What is longer than `length` characters is cut, and ends in an ellipsis.
    """
    cut = str(text).replace("\n", "⏎")
    if length is not None and len(cut) > length:
        cut = cut[: length - 1] + "…"
    return cut.replace("$", r"\$")


def save_figure(figure: Figure, folder: Path, name: str, alt: str) -> None:
    """Write `name.png` and `name.svg` into `folder`, atomically, free of dates, `alt` as their description.

    The PNG holds the caption as its comment. Figures with photographs are saved as PNG only.
    """
    photographs = any(axes.get_images() for axes in figure.axes)
    options: dict[str, Any] = {"bbox_inches": figure.get_tightbbox().padded(0.1), "facecolor": "white"}
    with atomic(folder / f"{name}.png") as partial:
        texts = {"Software": None, "Description": alt, "Comment": figure.get_label()}
        shrunk = {"compress_level": 3}  # as small as by the default of 6, in a third of the time
        dpi = PHOTO_DPI if photographs else None
        figure.savefig(partial, metadata=texts, dpi=dpi, pil_kwargs=shrunk, **options)
    if photographs:
        (folder / f"{name}.svg").unlink(missing_ok=True)  # of an earlier version
    else:
        with atomic(folder / f"{name}.svg") as partial:
            figure.savefig(partial, metadata={"Date": None, "Description": alt}, **options)


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


def percent_ticks(*axis: Axis, decimals: int | None = 0) -> None:
    """Write the ticks of each axis, whose values are shares in [0, 1], as percentages (decimals None: as needed)."""
    from matplotlib.ticker import PercentFormatter

    for one in axis:
        one.set_major_formatter(PercentFormatter(1.0, decimals))


def side_legend(axes: Axes, *handles_and_labels: Any, **options: Any) -> None:
    """Write the legend of the axes to their right, without a frame."""
    axes.legend(*handles_and_labels, frameon=False, loc="upper left", bbox_to_anchor=(1, 1), **options)


def finish(
    figure: Figure,
    caption: str,
    key: str = "",
    legend: Sequence[str] = (),
    *,
    bars: bool = False,
    tight: bool = True,
    **padding: Any,
) -> Figure:
    """Return the figure, laid out, with the legend of the feature sets above it and its caption below, after its key.

    The caption says data set, preset, folds, backbone; the key what signs mean that no legend names. Both, as given,
    are also the figure's label, for pages that have them as text.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    for axes in figure.axes:
        if not axes.has_data():
            axes.set_axis_off()
    if tight:
        figure.tight_layout(**padding)
    names = present(legend, PALETTE if bars else LINES)
    if names:
        line = {name: Line2D([], [], **DOTS, marker=MARKERS[name], **lined(name)) for name in names}
        handles = [Patch(**filled(name)) if bars else line[name] for name in names]
        place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.99), "borderaxespad": 0.2}
        columns = len(names) if len(names) < 4 else 2
        labels = [NAMES[name] for name in names]
        figure.legend(handles, labels, ncols=columns, frameon=False, handlelength=3, **place)
    caption = f"{key} · {caption}" if key else caption
    figure.set_label(caption)
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)  # it is laid out: saving need not do it again
    box = figure.get_tightbbox()
    lowest, middle = box.y0 / figure.get_figheight(), (box.x0 + box.x1) / 2 / figure.get_figwidth()
    text = textwrap.fill(escape_mathtext(caption), max(70, int(box.width * 17)))
    below = lowest - 0.08 / figure.get_figheight()
    figure.text(middle, below, text, ha="center", va="top", fontsize=7, color="0.35")
    return figure
