"""The pictures behind the errors: which images each feature set gets wrong most surely, and which right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from lib.pipeline.dataset import folds, index, load_images
from lib.pipeline.maps import maps
from lib.pipeline.run import Run
from lib.reporting.figures_maps import outline
from lib.reporting.style import MAP_COLOURS, NAMES, PALETTE, add_caption, escape_mathtext, hide_ticks

PER_KIND = 5  # pictures of each kind of verdict: with five defect classes, one of each
KINDS = {
    "missed": "missed defects",
    "rejected": "false rejects",
    "confused": "wrong defect class",
    "hit": "surest hits",
}


@dataclass(frozen=True)
class Picture:
    """An image uint8 (H, W, 3), its anomaly map in [0, 1] of any size, and its defect mask bool, where known."""

    image: np.ndarray
    anomaly_map: np.ndarray | None = None
    mask: np.ndarray | None = None


def pictures_of(run: Run, scheme: str, ids: Iterable[str], side: int = 128) -> dict[str, Picture]:
    """Return images by id, at `side` pixels, each with its mask and its map of the fold of `scheme` that tests it."""
    table, layout = index(run), folds(run)
    rows = np.flatnonzero(table["id"].isin(set(ids)))
    photos, outlines = load_images(run, rows.tolist(), side)
    names = table["id"].iloc[rows].to_numpy()
    of_fold = layout[layout["scheme"] == scheme].set_index("id")["fold"]
    stacks = {fold: maps(run, f"{scheme}-{fold}") for fold in set(of_fold[names])}
    return {
        name: Picture(photo, np.array(stacks[of_fold[name]][row]), mask)
        for name, row, photo, mask in zip(names, rows, photos, outlines, strict=True)
    }


def verdict_kinds(frame: pd.DataFrame, good: str) -> pd.Series:
    """Return each row's kind of verdict: missed, rejected, confused (defect called another defect) or hit."""
    truth, said = frame["label"].astype(str), frame["predicted"].astype(str)
    kinds = np.select(
        [truth == said, said == good, truth == good], ["hit", "missed", "rejected"], default="confused"
    )
    return pd.Series(kinds, index=frame.index)


def hits_and_misses(predictions: pd.DataFrame, good: str, per_kind: int = PER_KIND) -> pd.DataFrame:
    """Choose for image, map and both the surest verdicts of each kind, the true classes in turn.

    `predictions` of one data set, scheme and keep; the first repeat's multiclass rows count. One row per picture:
    features, kind, id, fold, label, predicted, probability (of the predicted class), and for its kind `found` images
    `among` those that could be of it (defective, good, or all), in falling probability, one of each class first.
    """
    rows = predictions[
        (predictions["task"] == "multiclass") & (predictions["repeat"] == predictions["repeat"].min())
    ]
    columns = [name for name in rows.columns if name.startswith("p:")]
    rows = rows.assign(probability=rows[columns].max(axis=1), kind=verdict_kinds(rows, good))
    chosen = []
    for features in PALETTE:
        mine = rows[rows["features"] == features]
        n_good = int((mine["label"] == good).sum())
        sizes = {
            "missed": len(mine) - n_good,
            "rejected": n_good,
            "confused": len(mine) - n_good,
            "hit": len(mine),
        }
        for kind in KINDS:
            part = mine[mine["kind"] == kind].sort_values(["probability", "id"], ascending=[False, True])
            turn = part.groupby("label").cumcount()
            picked = part.assign(turn=turn).sort_values("turn", kind="stable").head(per_kind)
            chosen.append(picked.assign(found=len(part), among=sizes[kind]))
    wanted = ["features", "kind", "id", "fold", "label", "predicted", "probability", "found", "among"]
    return pd.concat(chosen, ignore_index=True)[wanted]


def errors_in_common(predictions: pd.DataFrame, good: str) -> str:
    """Say how many images any of image, map and both gets wrong, and how many of them all get wrong."""
    rows = predictions[(predictions["task"] == "multiclass") & predictions["features"].isin(PALETTE)]
    rows = rows[rows["repeat"] == rows["repeat"].min()]
    sets = [name for name in PALETTE if name in set(rows["features"])]
    wrong = (verdict_kinds(rows, good) != "hit").groupby(rows["id"]).sum()
    any_wrong, all_wrong = int((wrong > 0).sum()), int((wrong == len(sets)).sum())
    if len(sets) == 1:
        return f"{any_wrong} of {len(wrong)} images are wrong."
    return (
        f"{any_wrong} of {len(wrong)} images are wrong for at least one of {', '.join(NAMES[name] for name in sets)}; "
        f"{all_wrong} of them for all."
    )


def gallery(chosen: pd.DataFrame, pictures: Mapping[str, Picture], caption: str) -> Figure:
    """Draw `hits_and_misses`: four kinds for each feature set, every picture in grey under its map, defect outlined.

    `pictures` by image id. Over each picture its true class, the predicted one with its probability, and the fold
    whose models and map did not see it. A kind without images says so.
    """
    found = [name for name in PALETTE if name in set(chosen["features"])]
    each = max(1, int(chosen.groupby(["features", "kind"]).size().max()))
    figure = plt.figure(figsize=(2 * each + 0.6, 2.95 * len(found)))
    grid = figure.add_gridspec(
        2 * len(found), 2 * each + 1, width_ratios=[*[1] * each, 0.25, *[1] * each], wspace=0.06, hspace=0.75,
        left=0.01, right=0.99, top=0.95, bottom=0.01,
    )  # fmt: skip
    for block, features in enumerate(found):
        mine = chosen[chosen["features"] == features]
        for place, (kind, name) in enumerate(KINDS.items()):
            row, first = 2 * block + place // 2, (each + 1) * (place % 2)
            cells = [figure.add_subplot(grid[row, first + k]) for k in range(each)]
            part = mine[mine["kind"] == kind]
            counted = f"{part['found'].iloc[0]} of {part['among'].iloc[0]}" if len(part) else "none"
            cells[0].annotate(
                f"{NAMES[features]} · {name}: {counted}", (0, 1), (0, 27), xycoords="axes fraction",
                textcoords="offset points", fontsize=8.5, fontweight="bold", color=PALETTE[features],
            )  # fmt: skip
            for axes in cells[len(part) :]:
                axes.set_axis_off()
            for axes, shown in zip(cells, part.to_dict("records"), strict=False):
                _draw(axes, pictures[str(shown["id"])])
                axes.set_title(
                    f"{escape_mathtext(shown['label'], 16)}\n→ {escape_mathtext(shown['predicted'], 15)}\n"
                    f"{shown['probability']:.2f} · fold {shown['fold']}", fontsize=6.5, pad=2, linespacing=1.0,
                )  # fmt: skip
    add_caption(
        figure, caption, "outlined: the true defect; in colour: the map of the fold that tests the picture"
    )
    return figure


def overlaid(image: np.ndarray, anomaly_map: np.ndarray | None) -> np.ndarray:
    """Return the image (H, W, 3) in grey under its anomaly map, the more opaque the higher: uint8 (H, W, 3)."""
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    if anomaly_map is None:
        return grey.astype(np.uint8)
    height, width = image.shape[:2]
    fine = Image.fromarray(anomaly_map.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    heat = np.clip(np.asarray(fine), 0, 1)
    colours = 255 * mpl.colormaps[MAP_COLOURS](heat)[..., :3]
    return (grey + heat[..., None] * (colours - grey)).round().astype(np.uint8)


def _draw(axes: Axes, picture: Picture) -> None:
    axes.imshow(overlaid(picture.image, picture.anomaly_map))
    hide_ticks(axes)
    outline(axes, picture.mask, "white")
