"""Sheets of pictures: samples per class, image beside anomaly map, what was simulated and repaired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from lib.reporting.style import MAP_COLOURS, OUTLINE, add_caption, escape_mathtext, hide_ticks

WIDEST = 9  # pictures beside each other


def samples(
    images: Mapping[str, np.ndarray], masks: Mapping[str, Sequence[np.ndarray | None]], caption: str
) -> Figure:
    """Draw samples per class, one row each, defect masks outlined: images per class uint8 (n, H, W, 3)."""
    columns = max(len(stack) for stack in images.values())
    figure, grid = plt.subplots(
        len(images), columns, figsize=(1.3 * columns + 0.3, 1.32 * len(images)), squeeze=False
    )
    for row, (label, stack) in zip(grid, images.items(), strict=True):
        for axes in row[len(stack) :]:
            axes.set_axis_off()
        for axes, image, mask in zip(row, stack, masks[label], strict=False):
            axes.imshow(image)
            hide_ticks(axes)
            outline(axes, mask, OUTLINE)
        row[0].set_ylabel(escape_mathtext(label, 18), fontsize=9)
    figure.tight_layout(pad=0.3)
    add_caption(figure, caption, "outlined: the defect, where there is a mask")
    return figure


def image_and_map(
    images: np.ndarray,
    maps: Mapping[str, np.ndarray],
    labels: Sequence[str],
    masks: Sequence[np.ndarray | None],
    caption: str,
) -> Figure:
    """Draw image over anomaly map (Figure 4), all maps on one scale from 0 to 1, true outlines dashed.

    `maps` holds the maps (n, H, W) of each way of making them, by name: a row each. More than nine images are drawn in
    several bands, image over maps in each.
    """
    bands = -(-len(images) // WIDEST)
    columns, rows = -(-len(images) // bands), 1 + len(maps)
    side = 1.2 if columns > 6 else 1.5
    figure = plt.figure(figsize=(side * columns, (rows * side + 0.3) * bands))
    layout = figure.add_gridspec(
        (rows + 1) * bands, columns, height_ratios=([side] * rows + [0.3]) * bands, hspace=0.04, wspace=0.04,
        left=0, right=1, top=1, bottom=0,
    )  # fmt: skip
    for k, (image, label, mask) in enumerate(zip(images, labels, masks, strict=True)):
        top, column = (rows + 1) * (k // columns), k % columns
        axes = [figure.add_subplot(layout[top + row, column]) for row in range(rows)]
        axes[0].imshow(image)
        axes[0].set_title(escape_mathtext(label, 18), fontsize=8.5)
        for below, (name, made) in zip(axes[1:], maps.items(), strict=True):
            below.imshow(made[k].astype(np.float32), cmap=MAP_COLOURS, vmin=0, vmax=1)
            outline(below, mask, "white", "dashed")
            if column == 0 and len(maps) > 1:
                below.set_ylabel(name, fontsize=8)
        for one in axes:
            hide_ticks(one)
    _map_scale(figure, "anomaly (0 to 1)")
    add_caption(figure, caption, "dashed: the true defect")
    return figure


def simulation_panel(panel: Mapping[str, np.ndarray], caption: str) -> Figure:
    """Draw what DRAEM was shown and answered: image, simulated, mask, reconstruction, map; one column each."""
    rows = ("image", "simulated", "mask", "reconstruction", "map")
    count = len(panel["image"])
    figure, grid = plt.subplots(
        len(rows), count, figsize=(1.25 * count + 0.3, 1.27 * len(rows)), squeeze=False
    )
    for row, name in zip(grid, rows, strict=True):
        for axes, picture in zip(row, panel[name], strict=True):
            if picture.ndim == 3:
                axes.imshow(np.clip(picture, 0, 1))
            else:
                axes.imshow(picture, cmap=MAP_COLOURS, vmin=0, vmax=1)
            hide_ticks(axes)
        row[0].set_ylabel(name, fontsize=9)
    figure.tight_layout(pad=0.3)
    _map_scale(figure, "mask, map (0 to 1)")
    add_caption(figure, caption)
    return figure


def outline(axes: Axes, mask: np.ndarray | None, colour: str, style: str = "solid") -> None:
    """Outline a defect mask (H, W) bool on the axes; one that is missing, empty or everywhere has no outline."""
    if mask is None or not mask.any() or mask.all():
        return
    height, width = mask.shape
    drawn = axes.contour(mask, levels=[0.5], colors=[colour], linewidths=0.9, linestyles=style)
    if colour == "white":
        drawn.set(path_effects=[withStroke(linewidth=2, foreground="0.1")])
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _map_scale(figure: Figure, label: str) -> None:
    """Draw the colours of the maps beside the whole grid, in inches that do not depend on its size."""
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 1), MAP_COLOURS)
    height = min(0.9, 2.6 / figure.get_figheight())
    bar = figure.add_axes(
        (1 + 0.08 / figure.get_figwidth(), 0.5 - height / 2, 0.13 / figure.get_figwidth(), height)
    )
    figure.colorbar(scale, cax=bar, label=label)
