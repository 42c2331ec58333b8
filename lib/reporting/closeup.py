"""One image close up: as it is, under its anomaly map, and what each feature set makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from lib.datasets.image_io import load_masks, load_stack
from lib.pipeline.dataset import index
from lib.pipeline.maps import maps
from lib.pipeline.run import Run
from lib.reporting.style import MAP_COLOURS, NAMES, PALETTE, add_caption, escape_mathtext

THUMBNAIL, CLOSEUP = 96, 256  # pixels
OUTLINE = (86, 180, 233)  # of the true defect: sky blue, which the map's colours lack
HATCHES = {"image": "", "map": "..", "image_map": "//"}


@dataclass(frozen=True)
class Pictures:
    """Reads single images, their masks and their out-of-fold maps; nothing is read before it is asked for."""

    run: Run
    scheme: str
    table: pd.DataFrame
    rows: dict[str, int]
    maps: dict[int, np.ndarray] = field(default_factory=dict)  # memory-mapped, by the fold that tests

    @classmethod
    def of(cls, run: Run, scheme: str) -> Pictures:
        """Return the pictures of a run whose maps come from that scheme's folds."""
        table = index(run)
        return cls(run, scheme, table, {name: row for row, name in enumerate(table["id"])})

    def thumbnail(self, name: str) -> np.ndarray:
        """Return an image, uint8 (96, 96, 3)."""
        return self._read(name, THUMBNAIL)

    def closeup(self, name: str, fold: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return an image, uint8 (256, 256, 3), its map of the fold that tests it, float32, and its mask, if any."""
        if fold not in self.maps:
            self.maps[fold] = maps(self.run, f"{self.scheme}-{fold}")
        anomaly = self.maps[fold][self.rows[name]].astype(np.float32)
        grown = Image.fromarray(anomaly).resize((CLOSEUP, CLOSEUP), Image.Resampling.BILINEAR)
        part = self._row(name)
        mask = next(load_masks(Path(self.table.attrs["root"]), part, CLOSEUP, self.run.study.resize))
        return self._read(name, CLOSEUP), np.asarray(grown), mask

    def _row(self, name: str) -> pd.DataFrame:
        return self.table.iloc[[self.rows[name]]]

    def _read(self, name: str, side: int) -> np.ndarray:
        out = np.empty((1, side, side, 3), np.uint8)
        root = Path(self.table.attrs["root"])
        return load_stack(root, self._row(name), side, self.run.study.resize, out)[0]


def overlay(rgb: np.ndarray, anomaly: np.ndarray, mask: np.ndarray | None, opacity: float) -> np.ndarray:
    """Return uint8 (H, W, 3): the image under its map (H, W) in [0, 1], in colours, the mask outlined.

    `opacity` in [0, 1]: 0 shows the image alone, 1 the map alone.
    """
    colours = mpl.colormaps[MAP_COLOURS](np.clip(anomaly, 0, 1))[..., :3] * 255
    mixed = np.rint((1 - opacity) * rgb + opacity * colours).astype(np.uint8)
    if mask is not None and mask.any() and not mask.all():
        mixed[ndimage.binary_dilation(mask, iterations=2) & ~mask] = OUTLINE
    return mixed


def probability_bars(axes: Axes, rows: pd.DataFrame, classes: list[str]) -> None:
    """Draw what each feature set gives each class for one image, its rows of `scored_images`."""
    sets = [name for name in PALETTE if name in set(rows["features"])]
    height = 0.8 / len(sets)
    for place, name in enumerate(sets):
        row = rows[rows["features"] == name].iloc[0]
        values = [row.get(f"p:{label}", np.nan) for label in classes]
        axes.barh(
            np.arange(len(classes)) + (place - (len(sets) - 1) / 2) * height, values, height, label=NAMES[name],
            color=PALETTE[name], hatch=HATCHES[name], edgecolor="0.2", linewidth=0.5,
        )  # fmt: skip
    axes.set_yticks(range(len(classes)), [escape_mathtext(label) for label in classes])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set(xlim=(0, 1), xlabel="probability")
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(sets))


def panel(pictures: Pictures, images: pd.DataFrame, name: str, note: str) -> Figure:
    """Draw one image, its map over it, and the probabilities of the feature sets (`images`: `scored_images`)."""
    rows = images[images["id"] == name]
    rgb, anomaly, mask = pictures.closeup(name, int(rows["fold"].iloc[0]))
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.1), width_ratios=(1, 1, 1.3))
    left.imshow(overlay(rgb, anomaly, mask, 0))
    middle.imshow(overlay(rgb, anomaly, mask, 0.5))
    for axes, title in ((left, f"{name} ({rows['label'].iloc[0]})"), (middle, "its out-of-fold anomaly map")):
        axes.set_title(escape_mathtext(title), fontsize=8)
        axes.set_axis_off()
    probability_bars(right, rows, pictures.table.attrs["classes"])
    figure.tight_layout()
    add_caption(figure, note)
    return figure
