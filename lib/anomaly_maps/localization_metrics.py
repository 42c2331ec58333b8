"""How well anomaly maps find defective images, and defective pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.integrate import trapezoid
from sklearn.metrics import average_precision_score, roc_auc_score

OVERALL = "overall"
PRO_LIMIT = 0.3  # share of good pixels marked, up to which AUPRO goes, as MVTec AD's authors have it
_BINS = 0x7C00  # finite non-negative float16 values; their bit patterns ascend with them


def image_auroc(scores: np.ndarray, labels: Sequence[str] | np.ndarray, good: str) -> pd.Series:
    """Return the image AUROC in [0,1], indexed by "overall" (all defects) and each defect class against good.

    `scores` (N,) higher for more anomalous, `labels` (N,) class names. ValueError where lengths differ, where
    a class is called "overall", or unless there are both good and defective images.
    """
    scores, names = np.asarray(scores), np.asarray(labels)
    classes = _defect_classes(names, good)
    if len(scores) != len(names):
        raise ValueError(f"{len(scores)} scores for {len(names)} labels: pass one score per image")
    is_good = names == good
    aurocs = {OVERALL: roc_auc_score(~is_good, scores)}
    for name in classes:
        chosen = is_good | (names == name)
        aurocs[name] = roc_auc_score(~is_good[chosen], scores[chosen])
    return pd.Series(aurocs, name="image_auroc", dtype=float)


def train_test_auroc(scores: pd.DataFrame, good: str) -> pd.DataFrame:
    """Return how well image scores tell good test images from good training images: an AUROC in [0,1] per fold.

    `scores` has the columns map_method, split, label, tested, score; rows of the result are splits, columns readings,
    both in the order given. 0.5: not at all; above: training images look cleaner, as where the map source was
    fitted on them; below: test images do. NaN where a split lacks good images on either side.
    """
    goods = scores[scores["label"] == good]
    told = {
        key: roc_auc_score(part["tested"], part["score"]) if part["tested"].nunique() == 2 else float("nan")
        for key, part in goods.groupby(["map_method", "split"], sort=False)
    }
    index = pd.MultiIndex.from_tuples(told, names=["map_method", "split"])
    table = pd.Series(told.values(), index, dtype=float).unstack("map_method")
    return table.reindex(index=goods["split"].unique(), columns=goods["map_method"].unique())


def pixel_quality(
    maps: Iterable[np.ndarray], masks: Iterable[np.ndarray | None], labels: Sequence[str], good: str
) -> pd.DataFrame:
    """Return pixel AUROC, average precision and AUPRO, in [0,1], overall and for each defect class.

    AUPRO is the area under the curve of the mean overlap with each connected defect over the share of good pixels
    marked, up to `PRO_LIMIT` and divided by it (Bergmann et al., CVPR 2020): small defects count as much as large ones.

    One map (H,W), non-negative, one mask (H,W), non-zero on the defect, and one label per image, read once and
    in step, so memory does not grow with N. Pixels are counted per float16 value: exact for float16 maps, other
    maps are rounded to float16 first. A class is measured on its own images and all good ones. Good images
    may have None for a mask; defective images with None or an empty mask have no known defect pixels and are
    left out.

    Index "overall" and the classes; columns `pixel_auroc`, `pixel_ap`, `aupro` (NaN where no image has a mask),
    `images` (defective ones measured), `left_out`. ValueError for shapes or lengths that do not fit, negative
    or non-finite maps, or unless there are both good and defective images.
    """
    names = [str(label) for label in labels]
    classes = _defect_classes(np.asarray(names), good)
    counts = {name: np.zeros((2, _BINS), np.int64) for name in (good, *classes)}
    measured, left_out = dict.fromkeys(classes, 0), dict.fromkeys(classes, 0)
    overlaps = {name: np.zeros(_BINS) for name in classes}
    regions = dict.fromkeys(classes, 0)
    for position, (image_map, mask, name) in enumerate(zip(maps, masks, names, strict=True)):
        bins = _bins(image_map, position)
        if mask is not None and mask.shape != image_map.shape:
            raise ValueError(f"image {position}: mask {mask.shape}, map {image_map.shape}: resize the mask")
        is_defect = np.zeros(bins.size, bool) if mask is None else np.ravel(mask) > 0
        if name != good and not is_defect.any():
            left_out[name] += 1
            continue
        if name == good and is_defect.any():
            raise ValueError(f"image {position}: labelled {good!r} (good), but its mask is not empty")
        if name != good and mask is not None:
            measured[name] += 1
            regions[name] += _add_overlaps(overlaps[name], bins, mask)
        counts[name][1] += np.bincount(bins[is_defect], minlength=_BINS)
        counts[name][0] += np.bincount(bins[~is_defect], minlength=_BINS)
    whole, every = (
        sum(counts.values(), np.zeros((2, _BINS), np.int64)),
        sum(overlaps.values(), np.zeros(_BINS)),
    )
    rows = {
        OVERALL: _row(whole, measured, left_out) | {"aupro": _aupro(whole[0], every, sum(regions.values()))}
    }
    for name in classes:
        mine = counts[good] + counts[name]
        rows[name] = _row(mine, {name: measured[name]}, {name: left_out[name]})
        rows[name]["aupro"] = _aupro(mine[0], overlaps[name], regions[name])
    columns = ["pixel_auroc", "pixel_ap", "aupro", "images", "left_out"]
    return pd.DataFrame.from_dict(rows, orient="index")[columns]


def _add_overlaps(total: np.ndarray, bins: np.ndarray, mask: np.ndarray) -> int:
    """Add to `total` (bins,) each connected defect's share of pixels per bin; returns how many defects there are."""
    regions, count = ndimage.label(np.asarray(mask) > 0, structure=np.ones((3, 3)))
    found = regions.ravel()
    sizes = np.bincount(found)
    inside = found > 0
    total += np.bincount(bins[inside], weights=1 / sizes[found[inside]], minlength=_BINS)
    return int(count)


def _aupro(good_pixels: np.ndarray, overlaps: np.ndarray, regions: int) -> float:
    """Return AUPRO from good pixels and summed overlaps per bin (bins,), NaN where there is no defect."""
    if not regions or not good_pixels.any():
        return float("nan")
    used = (good_pixels > 0) | (overlaps > 0)
    marked = np.concatenate([[0.0], np.cumsum(good_pixels[used][::-1]) / good_pixels.sum()])
    overlap = np.concatenate([[0.0], np.cumsum(overlaps[used][::-1]) / regions])
    at_limit = np.interp(PRO_LIMIT, marked, overlap)
    below = marked < PRO_LIMIT
    area = trapezoid([*overlap[below], at_limit], [*marked[below], PRO_LIMIT])
    return float(area / PRO_LIMIT)


def _row(counts: np.ndarray, measured: dict[str, int], left_out: dict[str, int]) -> dict[str, float | int]:
    auroc = precision = float("nan")
    if counts[1].any() and counts[0].any():
        used = counts.any(axis=0)
        weights = counts[:, used].ravel()
        values = np.tile(np.flatnonzero(used), 2)
        truth = np.repeat([0, 1], used.sum())
        auroc = float(roc_auc_score(truth, values, sample_weight=weights))
        precision = float(average_precision_score(truth, values, sample_weight=weights))
    return {
        "pixel_auroc": auroc,
        "pixel_ap": precision,
        "images": sum(measured.values()),
        "left_out": sum(left_out.values()),
    }


def _bins(image_map: np.ndarray, position: int) -> np.ndarray:
    values = np.asarray(image_map, dtype=np.float16).ravel() + np.float16(0)  # -0 becomes 0
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"image {position}: the map has negative or non-finite values (or over 65,504)")
    return values.view(np.uint16)


def _defect_classes(names: np.ndarray, good: str) -> list[str]:
    classes = sorted(str(name) for name in set(names.tolist()) - {good})
    if not classes or good not in names:
        raise ValueError(
            f"need good ({good!r}) and defective images, got classes {sorted(set(names.tolist()))}"
        )
    if OVERALL in classes:
        raise ValueError(f"a class is called {OVERALL!r}: rename it")
    return classes
