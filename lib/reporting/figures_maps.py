"""Figures of images and their anomaly maps: samples, maps beside images, DRAEM's simulation, the surest errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from lib.classification.feature_sets import FEATURE_SETS
from lib.pipeline.dataset import folds, index, load_images
from lib.pipeline.maps import maps
from lib.pipeline.run import Run
from lib.reporting import style
from lib.reporting.style import (
    MAP_COLOURS,
    PALETTE,
    draw_image,
    escape_mathtext,
    finish,
    panels,
    present,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Masks = Sequence[np.ndarray | None]  # each bool (H, W)
WIDEST = 9  # images beside each other
PER_KIND = 5  # images of each kind of result: with five defect classes, one of each
KINDS = dict(
    missed="missed defects", rejected="false rejects", confused="wrong defect class", hit="surest hits"
)


class Thumbnail(NamedTuple):
    """An image uint8 (H, W, 3), its anomaly map in [0, 1] of any size, and its defect mask bool (H, W), if known."""

    image: np.ndarray
    anomaly_map: np.ndarray
    mask: np.ndarray | None


def read_thumbnails(run: Run, scheme: str, ids: Iterable[str], side: int = 128) -> dict[str, Thumbnail]:
    """Return images by id at `side` pixels, masks, and maps (repeat 0) of the fold of `scheme` that tests each."""
    table, layout = index(run), folds(run)
    rows = np.flatnonzero(table["id"].isin(set(ids)))
    images, masks = load_images(run, rows.tolist(), side)
    names = table["id"].iloc[rows].to_numpy()
    of_fold = layout[layout["scheme"] == scheme].set_index("id")["fold"]
    stacks = {fold: maps(run, f"{scheme}-{fold}") for fold in set(of_fold[names])}
    return {
        name: Thumbnail(image, np.array(stacks[of_fold[name]][row]), mask)
        for name, row, image, mask in zip(names, rows, images, masks, strict=True)
    }


def colour_map(anomaly_map: np.ndarray) -> np.ndarray:
    """Return an anomaly map (H, W) in [0, 1] in colours, float64 (H, W, 3) in [0, 255]."""
    from matplotlib import colormaps

    return 255 * colormaps[MAP_COLOURS](np.clip(anomaly_map, 0, 1).astype(np.float32))[..., :3]


def overlay(image: np.ndarray, anomaly_map: np.ndarray) -> np.ndarray:
    """Return the image (H, W, 3) in grey under its anomaly map, the more opaque the higher: uint8 (H, W, 3)."""
    size = (image.shape[1], image.shape[0])
    fine = Image.fromarray(anomaly_map.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    heat = np.clip(np.asarray(fine), 0, 1)
    grey = image.mean(axis=2, keepdims=True)
    return (grey + heat[..., None] * (colour_map(heat) - grey)).round().astype(np.uint8)


def samples(images: Mapping[str, np.ndarray], masks: Mapping[str, Masks]) -> Figure:
    """Draw samples per class, one row each, defect masks outlined: images per class uint8 (n, H, W, 3)."""
    figure = _rows_of_images(images, masks)
    return finish(figure, "outlined: the defect, where there is a mask")


def image_and_map(
    images: np.ndarray,
    anomaly_maps: Mapping[str, np.ndarray],
    labels: Sequence[str],
    masks: Masks,
) -> Figure:
    """Draw image over anomaly map (Figure 4), all maps on one scale from 0 to 1, true outlines dashed.

    `anomaly_maps`: (n, H, W) by the name of their source, a row each. More than nine images come in several bands.
    """
    bands = -(-len(images) // WIDEST)
    columns, rows = -(-len(images) // bands), 1 + len(anomaly_maps)
    height = 0.93 * style.PAGE / max(columns, 4) + 0.15
    figure, grid = panels(rows * bands * columns, columns, height, layout="compressed")
    cells = grid.reshape(bands, rows, columns).swapaxes(1, 2).reshape(-1, rows)  # an image over its maps
    for k, (first, *others) in enumerate(cells[: len(images)]):
        draw_image(first, images[k])
        first.set_title(escape_mathtext(labels[k], 14))
        for axes, (name, stack) in zip(others, anomaly_maps.items(), strict=True):
            draw_image(axes, stack[k].astype(np.float32), masks[k], line="dashed")
            if k % columns == 0 and len(anomaly_maps) > 1:
                axes.set_ylabel(name)
    _map_scale(figure, "anomaly (0 to 1)")
    return finish(figure, "dashed: the true defect")


def simulation_panel(panel: Mapping[str, np.ndarray]) -> Figure:
    """Draw DRAEM's input and output, one column per image: image, simulated, mask, reconstruction, map."""
    rows = ("image", "simulated", "mask", "reconstruction", "map")
    figure = _rows_of_images({name: np.clip(panel[name], 0, 1) for name in rows}, {})
    _map_scale(figure, "mask, map (0 to 1)")
    return finish(figure)


def _rows_of_images(rows: Mapping[str, np.ndarray], masks: Mapping[str, Masks]) -> Figure:
    """Draw rows of images, each named at its left, their defects outlined where masks are given for the row."""
    columns = max(len(stack) for stack in rows.values())
    figure, grid = panels(
        columns * len(rows), columns, 0.93 * style.PAGE / max(columns, 4), layout="compressed"
    )
    for cells, (name, stack) in zip(grid, rows.items(), strict=True):
        for axes, image, mask in zip(cells, stack, masks.get(name, [None] * len(stack)), strict=False):
            draw_image(axes, image, mask, style.OUTLINE)
        cells[0].set_ylabel(escape_mathtext(name, 18))
    return figure


def _map_scale(figure: Figure, label: str) -> None:
    """Draw the colours of the maps beside the whole grid."""
    figure.colorbar(figure.axes[0].get_images()[0], ax=figure.axes, label=label, aspect=30, fraction=0.02)


def hits_and_misses(predictions: pd.DataFrame, good: str, per_kind: int = PER_KIND) -> pd.DataFrame:
    """Choose for image, map and both the surest results of each kind, the true classes in turn.

    Of one data set, scheme and keep; the first repeat's multiclass rows count. One row per image: features, kind, id,
    fold, label, predicted, its probability, and for the kind `found` images `among` those that could be of it.
    """
    rows = predictions[predictions["task"] == "multiclass"]
    rows = rows[rows["repeat"] == rows["repeat"].min()]
    truth, predicted = rows["label"].astype(str), rows["predicted"].astype(str)
    cases = [truth == predicted, predicted == good, truth == good]
    kinds = np.select(cases, ["hit", "missed", "rejected"], default="confused")
    rows = rows.assign(kind=kinds, probability=rows.filter(regex="^p:").max(axis=1))
    chosen = []
    for features in PALETTE:
        mine = rows[rows["features"] == features]
        n_good = int((mine["label"] == good).sum())
        among = {"rejected": n_good, "hit": len(mine)}
        for kind in KINDS:
            part = mine[mine["kind"] == kind].sort_values(["probability", "id"], ascending=[False, True])
            turn = part.groupby("label").cumcount()
            picked = part.assign(turn=turn).sort_values("turn", kind="stable").head(per_kind)
            chosen.append(picked.assign(found=len(part), among=among.get(kind, len(mine) - n_good)))
    wanted = ["features", "kind", "id", "fold", "label", "predicted", "probability", "found", "among"]
    return pd.concat(chosen, ignore_index=True)[wanted]


def gallery(chosen: pd.DataFrame, thumbnails: Mapping[str, Thumbnail]) -> Figure:
    """Draw `hits_and_misses`: four kinds for each feature set, every image in grey under its map, defect outlined.

    `thumbnails` by image id. Over each image: true class, predicted class with its probability, and test fold.
    """
    found = present(chosen["features"])
    each = max(1, int(chosen.groupby(["features", "kind"]).size().max()))
    spaces = {"wspace": 0.06, "hspace": 0.75, "left": 0.01, "right": 0.99, "top": 0.95, "bottom": 0.01}
    figure, grid = panels(4 * each * len(found), 2 * each, 1.475, layout="none", gridspec_kw=spaces)
    for cells, (features, kind) in zip(grid.reshape(-1, each), product(found, KINDS), strict=True):
        part = chosen[(chosen["features"] == features) & (chosen["kind"] == kind)]
        counted = f"{part['found'].iloc[0]} of {part['among'].iloc[0]}" if len(part) else "none"
        cells[0].annotate(
            f"{FEATURE_SETS[features].title} · {KINDS[kind]}: {counted}", (0, 1), (0, 27), xycoords="axes fraction",
            textcoords="offset points", fontsize=8.5, fontweight="bold", color=PALETTE[features],
        )  # fmt: skip
        for axes, result in zip(cells, part.to_dict("records"), strict=False):
            thumbnail = thumbnails[str(result["id"])]
            draw_image(axes, overlay(thumbnail.image, thumbnail.anomaly_map), thumbnail.mask)
            axes.set_title(
                f"{escape_mathtext(result['label'], 16)}\n→ {escape_mathtext(result['predicted'], 15)}\n"
                f"{result['probability']:.2f} · fold {result['fold']}",
                fontsize=6.5, pad=2, linespacing=1.0,
            )  # fmt: skip
    key = "outlined: the true defect; in colour: the map of the fold that tests the image"
    return finish(figure, key)
