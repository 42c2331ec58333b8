"""Figures of images under their anomaly maps: samples, DRAEM's simulation, what a method catches and misses."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from lib.evaluation.metrics import defect_scores
from lib.pipeline.dataset import folds, in_test_fold, index, load_images, primary_splits
from lib.pipeline.maps import maps
from lib.pipeline.run import Run
from lib.reporting import style
from lib.reporting.style import MAP_COLOURS, OUTLINE, draw_image, escape_mathtext, finish, panels

Masks = Sequence[np.ndarray | None]  # each bool (H, W)
WIDEST = 6  # images beside each other
KINDS = dict(caught="Caught", missed="Missed", rejected="False reject")
MAP_LINE = "#00E5FF"  # contour of a map
ORDINARY = 0.999  # share of the pixels of good test images that lie below a data set's map level


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


def map_level(run: Run) -> float:
    """Return what 99.9 % of the pixels of good test images reach in their maps at most, above 0: mid-way in colours."""
    table, names = index(run), primary_splits(run)
    good = (table["label"] == table.attrs["good"]).to_numpy()
    pixels = [maps(run, name)[good & in_test_fold(run, name)].ravel() for name in names]
    return max(float(np.quantile(np.concatenate(pixels).astype(np.float32), ORDINARY)), 1e-6)


def overlay(image: np.ndarray, anomaly_map: np.ndarray, level: float) -> np.ndarray:
    """Return the image (H, W, 3) in grey under its map, half opaque and mid-way in colours at `level`: uint8."""
    height = np.clip(_enlarged(anomaly_map, image) / level, 0, 2)
    grey, opacity = image.mean(axis=2, keepdims=True), np.minimum(height**2 / 2, 1)[..., None]
    colours = 255 * colormaps[MAP_COLOURS](height / 2)[..., :3]
    return (grey + opacity * (colours - grey)).round().astype(np.uint8)


def draw_overlay(axes: Axes, thumbnail: Thumbnail, level: float) -> None:
    """Draw the image under its map, with the contours of the map at `level`, solid, and of the true defect, dashed."""
    draw_image(axes, overlay(thumbnail.image, thumbnail.anomaly_map, level), thumbnail.mask, line="dashed")
    fine = _enlarged(thumbnail.anomaly_map, thumbnail.image)
    if fine.min() < level < fine.max():
        axes.contour(fine, levels=[level], colors=[MAP_LINE], linewidths=1.2)


def describe_overlays(level: float) -> str:
    """Say what the signs of overlays mean, at a `map_level`."""
    return (
        f"Colour: the anomaly map. Solid line: where it exceeds {level:.2g}, as in 0.1 % of pixels of good test "
        "images. Dashed line: the true defect."
    )


def _enlarged(anomaly_map: np.ndarray, image: np.ndarray) -> np.ndarray:
    fine = Image.fromarray(anomaly_map.astype(np.float32))
    return np.asarray(fine.resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR))


def samples(images: Mapping[str, np.ndarray], masks: Mapping[str, Masks]) -> Figure:
    """Draw samples per class, one row each, defect masks outlined: images per class uint8 (n, H, W, 3)."""
    return finish(_rows_of_images(images, masks), "Outlined: the defect, where there is a mask.")


def image_and_map(
    images: np.ndarray, anomaly_maps: np.ndarray, labels: Sequence[str], masks: Masks, level: float
) -> Figure:
    """Draw each image above itself under its map (the paper's Figure 4); more than six come in several bands.

    `anomaly_maps`: (n, H, W), of this `map_level`.
    """
    bands = -(-len(images) // WIDEST)
    columns = -(-len(images) // bands)
    figure, grid = _cells(2 * bands * columns, columns)
    cells = grid.reshape(bands, 2, columns).swapaxes(1, 2).reshape(-1, 2)  # an image over its map
    for k, (above, below) in enumerate(cells[: len(images)]):
        draw_image(above, images[k])
        above.set_title(escape_mathtext(labels[k], 18))
        draw_overlay(below, Thumbnail(images[k], anomaly_maps[k], masks[k]), level)
    return finish(figure, describe_overlays(level))


def simulation_panel(panel: Mapping[str, np.ndarray]) -> Figure:
    """Draw DRAEM's input and output, one column per image: image, simulated, mask, reconstruction, map."""
    rows = ("image", "simulated", "mask", "reconstruction", "map")
    figure = _rows_of_images({name: np.clip(panel[name], 0, 1) for name in rows}, {})
    shown = figure.axes[0].get_images()[0]
    figure.colorbar(shown, ax=figure.axes, label="mask, map (0 to 1)", aspect=30, fraction=0.02)
    return finish(figure)


def _rows_of_images(rows: Mapping[str, np.ndarray], masks: Mapping[str, Masks]) -> Figure:
    """Draw rows of images, each named at its left, their defects outlined where masks are given for the row."""
    columns = max(len(stack) for stack in rows.values())
    height = 0.93 * style.PAGE / max(columns, 4)
    figure, grid = panels(columns * len(rows), columns, height, layout="compressed")
    for cells, (name, stack) in zip(grid, rows.items(), strict=True):
        for axes, image, mask in zip(cells, stack, masks.get(name, [None] * len(stack)), strict=False):
            draw_image(axes, image, mask, OUTLINE)
        cells[0].set_ylabel(escape_mathtext(name, 18))
    return figure


def examples(predictions: pd.DataFrame, rejected: pd.Series, good: str, each: int = 4) -> pd.DataFrame:
    """Choose typical caught defects, and the surest missed ones and false rejects, the classes in turn.

    Of one feature set's rows that decide good or defective, in the first repeat, `rejected` bool by their index. One
    row per image: kind (of KINDS), id, label, score (1 - p(good)), and for the kind `found` images `among` all of it.
    """
    rows = predictions[predictions["repeat"] == predictions["repeat"].min()]
    out, defective = rejected[rows.index], rows["label"] != good
    kinds = np.select([defective & out, defective, out], list(KINDS), "")
    among = np.where(defective, defective.sum(), (~defective).sum())
    rows = rows.assign(kind=kinds, score=defect_scores(rows, good), among=among)[kinds != ""]
    found, score = rows.groupby("kind")["id"].transform("size"), rows["score"]
    typical = (score - rows.groupby(["kind", "label"])["score"].transform("median")).abs()
    order = np.select([rows["kind"] == "caught", rows["kind"] == "missed"], [typical, score], -score)
    rows = rows.assign(found=found, order=order).sort_values(["order", "id"])
    turn = rows.groupby(["kind", "label"]).cumcount()
    chosen = rows.assign(turn=turn).sort_values(["kind", "turn"], kind="stable").groupby("kind").head(each)
    return chosen[["kind", "id", "label", "score", "found", "among"]]


def gallery(chosen: pd.DataFrame, thumbnails: Mapping[str, Thumbnail], level: float) -> Figure:
    """Draw `examples`, a row per kind that there is: each image (of `thumbnails` by id) as `draw_overlay` does.

    Above each its true class and score; `level` as `map_level` gives it.
    """
    found = dict(list(chosen.groupby("kind", sort=False)))
    each = max(3, *map(len, found.values()))
    figure, grid = _cells(len(found) * each, each)
    for cells, (kind, part) in zip(grid, found.items(), strict=True):
        cells[0].set_ylabel(f"{KINDS[str(kind)]}\n{part['found'].iloc[0]} of {part['among'].iloc[0]}")
        for axes, result in zip(cells, part.to_dict("records"), strict=False):
            draw_overlay(axes, thumbnails[str(result["id"])], level)
            axes.set_title(f"{escape_mathtext(result['label'], 14)}, {result['score']:.2f}")
    return finish(figure, f"Above each image: its class and score. {describe_overlays(level)}")


def _cells(count: int, columns: int) -> tuple[Figure, np.ndarray]:
    """Return a figure of `count` images, `columns` beside each other, with room for a title above each."""
    return panels(count, columns, 0.94 * style.PAGE / max(columns, 3) + 0.2, layout="compressed")
