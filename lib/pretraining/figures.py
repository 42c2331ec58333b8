"""Figures of the embedded backbone: what it was trained on, how it learnt, what its first layer looks for."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

_CURVES = {
    "loss": "loss",
    "recipe_accuracy": "recipe named rightly",
    "defect_accuracy": "defect named rightly",
    "cell_accuracy": "defect named in its cells",
}


def gallery(images: np.ndarray, titles: Sequence[str], columns: int) -> Figure:
    """Draw images, uint8 (n, H, W, 3), each under its title, `columns` to a row."""
    rows = -(-len(images) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(1.15 * columns, 1.35 * rows), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, title in zip(grid.flat, images, titles, strict=False):
        axes.imshow(image)
        axes.set_title(title, fontsize=8, pad=2)
    figure.tight_layout(pad=0.3)
    return figure


def learning_curves(history: pd.DataFrame) -> Figure:
    """Draw the pretraining's loss and its heads' shares of right answers over the steps; columns as `pretrain` has."""
    names = [name for name in _CURVES if name in history and history[name].notna().any()]
    figure, grid = plt.subplots(1, len(names), figsize=(2.6 * len(names), 2.5), squeeze=False)
    changes = history.loc[history["side"].diff().fillna(0) != 0, ["step", "side"]]
    for axes, name in zip(grid[0], names, strict=True):
        axes.plot(history["step"], history[name], color="0.2", linewidth=1.1)
        axes.set_title(_CURVES[name])
        axes.set_xlabel("step")
        if name != "loss":
            axes.set_ylim(0, 1)
        for step, side in changes.itertuples(index=False):
            axes.axvline(step, color="0.6", linewidth=0.8, linestyle=":")
            axes.text(step, axes.get_ylim()[1], f" {side:g} px", fontsize=7, va="top", color="0.4")
    figure.tight_layout()
    return figure


def filters(weight: np.ndarray) -> Figure:
    """Draw the first layer's kernels (out, 3, h, w), each stretched to its own range; grey is zero."""
    kernels = np.asarray(weight, dtype=np.float32).transpose(0, 2, 3, 1)
    shown = 0.5 + 0.5 * kernels / np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    columns = 16
    figure, grid = plt.subplots(
        -(-len(shown) // columns), columns, figsize=(columns * 0.5, 0.5 * -(-len(shown) // columns))
    )
    for axes in np.ravel(grid):
        axes.set_axis_off()
    for axes, kernel in zip(np.ravel(grid), shown, strict=False):
        axes.imshow(kernel)
    figure.tight_layout(pad=0.15)
    return figure
