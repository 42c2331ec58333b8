"""How well anomaly maps find defective images, and defective pixels."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

OVERALL = "overall"
PRO_LIMIT = 0.3  # share of good pixels marked, up to which AUPRO goes, as MVTec AD's authors have it
_BINS = 0x7C00  # finite non-negative float16 values; their bit patterns ascend with them


def image_auroc(scores: np.ndarray, labels: Sequence[str] | np.ndarray, good: str) -> pd.Series:
    """Return the image AUROC in [0,1], indexed by "overall" (all defects) and each defect class against good.

    `scores` (N,) higher for more anomalous, `labels` (N,) class names. ValueError where a class is called "overall",
    or unless there are both good and defective images.
    """
    from sklearn.metrics import roc_auc_score

    scores, names = np.asarray(scores), np.asarray(labels)
    is_good = names == good
    chosen = {OVERALL: np.full(len(names), True)}
    chosen |= {name: is_good | (names == name) for name in _defect_classes(names, good)}
    aurocs = {name: roc_auc_score(~is_good[rows], scores[rows]) for name, rows in chosen.items()}
    return pd.Series(aurocs, name="image_auroc", dtype=float)


def train_test_auroc(scores: pd.DataFrame, good: str) -> pd.Series:
    """Return how well image scores separate good test images from good training images: an AUROC in [0,1] per fold.

    `scores` has the columns split, label, tested, score; the result is by split, in the order given. 0.5: not at
    all; above: training images look cleaner, as where the detector was fitted on them; below: test images do. NaN where
    a split lacks good images on either side.
    """
    from sklearn.metrics import roc_auc_score

    goods = scores[scores["label"] == good]
    aurocs = {
        key: roc_auc_score(part["tested"], part["score"]) if part["tested"].nunique() == 2 else float("nan")
        for key, part in goods.groupby("split", sort=False)
    }
    return pd.Series(aurocs, dtype=float).rename_axis("split")


def pixel_quality(
    maps: Iterable[np.ndarray], masks: Iterable[np.ndarray | None], labels: Sequence[str], good: str
) -> pd.DataFrame:
    """Return pixel AUROC, average precision and AUPRO, in [0,1], overall and for each defect class.

    AUPRO is the area under the curve of the mean overlap with each connected defect over the share of good pixels
    marked, up to `PRO_LIMIT` and divided by it (Bergmann et al., CVPR 2020): small defects count as much as large ones.

    One map (H,W), non-negative, one mask (H,W), non-zero on the defect, and one label per image, read once and in step,
    so memory does not grow with N. Pixels are counted per float16 value, to which other maps are rounded. A class is
    measured on its own images and all good ones. Good images may have None for a mask; defective images with None or an
    empty mask are left out.

    Index "overall" and the classes; columns `pixel_auroc`, `pixel_ap`, `aupro` (NaN where no image has a mask),
    `images` (defective ones measured), `left_out`. ValueError for good images with a mask that is not empty, or unless
    there are both good and defective images.
    """
    from scipy import ndimage

    names = [str(label) for label in labels]
    classes = _defect_classes(np.asarray(names), good)
    pixels = {name: np.zeros((2, _BINS), np.int64) for name in (good, *classes)}  # good and defective ones
    overlaps = {name: np.zeros(_BINS) for name in classes}  # each connected defect's share of pixels per bin
    tally = {name: np.zeros(3, int) for name in classes}  # images measured, left out, connected defects
    for position, (image_map, mask, name) in enumerate(zip(maps, masks, names, strict=True)):
        bins = (np.asarray(image_map, np.float16).ravel() + np.float16(0)).view(np.uint16)  # -0 becomes 0
        is_defect = np.zeros(bins.size, bool) if mask is None else np.ravel(mask) > 0
        if name == good and is_defect.any():
            raise ValueError(f"image {position}: labelled {good!r} (good), but its mask is not empty")
        if name != good and not is_defect.any():
            tally[name] += (0, 1, 0)
            continue
        if name != good:
            regions, count = ndimage.label(np.asarray(mask) > 0, structure=np.ones((3, 3)))
            found = regions.ravel()[is_defect]
            weights = 1 / np.bincount(found)[found]
            overlaps[name] += np.bincount(bins[is_defect], weights=weights, minlength=_BINS)
            tally[name] += (1, 0, count)
        pixels[name][1] += np.bincount(bins[is_defect], minlength=_BINS)
        pixels[name][0] += np.bincount(bins[~is_defect], minlength=_BINS)
    rows = {}
    for row, of in {OVERALL: classes, **{name: [name] for name in classes}}.items():
        counts = np.sum([pixels[name] for name in (good, *of)], axis=0)
        images, left_out, regions = np.sum([tally[name] for name in of], axis=0).tolist()
        auroc, precision = _auroc_and_precision(counts)
        aupro = _aupro(counts[0], np.sum([overlaps[name] for name in of], axis=0), regions)
        rows[row] = dict(pixel_auroc=auroc, pixel_ap=precision, aupro=aupro, images=images, left_out=left_out)
    return pd.DataFrame.from_dict(rows, orient="index")


def _aupro(good_pixels: np.ndarray, overlaps: np.ndarray, regions: int) -> float:
    """Return AUPRO from good pixels and summed overlaps per bin (bins,), NaN where there is no defect."""
    if not regions or not good_pixels.any():
        return float("nan")
    used = (good_pixels > 0) | (overlaps > 0)
    marked = np.concatenate([[0.0], np.cumsum(good_pixels[used][::-1]) / good_pixels.sum()])
    overlap = np.concatenate([[0.0], np.cumsum(overlaps[used][::-1]) / regions])
    at_limit = np.interp(PRO_LIMIT, marked, overlap)
    below = marked < PRO_LIMIT
    area = np.trapezoid([*overlap[below], at_limit], [*marked[below], PRO_LIMIT])
    return float(area / PRO_LIMIT)


def _auroc_and_precision(counts: np.ndarray) -> tuple[float, float]:
    """Return AUROC and average precision of good and defective pixels per bin (2, bins); NaN where there are none."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not counts.any(axis=1).all():
        return float("nan"), float("nan")
    used = counts.any(axis=0)
    values, truth = np.tile(np.flatnonzero(used), 2), np.repeat([0, 1], used.sum())
    weights = counts[:, used].ravel()
    auroc = roc_auc_score(truth, values, sample_weight=weights)
    return float(auroc), float(average_precision_score(truth, values, sample_weight=weights))


def _defect_classes(names: np.ndarray, good: str) -> list[str]:
    found = set(names.tolist())
    classes = sorted(str(name) for name in found - {good})
    if not classes or good not in found:
        raise ValueError(f"need good ({good!r}) and defective images, got classes {sorted(found)}")
    if OVERALL in classes:
        raise ValueError(f"a class is called {OVERALL!r}: rename it")
    return classes
