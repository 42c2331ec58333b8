"""Labels next: which of the unlabelled images a person should label first, to gain most per label.

An image is worth a label where the classifier hesitates and where nothing like it has been labelled or chosen. The way
was chosen among others on drawn stand-ins; docs/labels.md has the comparison.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.preprocessing import StandardScaler

SEED = 744
CERTAIN = 0.02  # the doubt that every image is granted: where all are certain, distance alone decides
NEAR = (
    0.15  # images closer than this are one picture, taken twice; docs/labels.md says where the value is from
)
COLUMNS = ["row", "uncertainty", "distance", "reason"]


def margin_uncertainty(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Return how much a classifier hesitates: 1 less the lead of the likeliest class over the next, (N,) in [0, 1].

    probabilities (N, C), each row a distribution. With a single class there is nothing to hesitate between: 0.
    Raises ValueError naming the rows that are no distribution.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 1:
        raise ValueError(f"probabilities must be (N, classes), not {p.shape}")
    sound = np.isfinite(p).all(1) & (p >= -1e-6).all(1) & (np.abs(p.sum(1) - 1) < 1e-3)
    _refuse(~sound, "probabilities that are not in [0, 1] with a sum of 1")
    if p.shape[1] == 1:
        return np.zeros(len(p))
    ranked = np.sort(p, axis=1)
    return np.clip(1 - (ranked[:, -1] - ranked[:, -2]), 0, 1)


def standardised(
    embeddings: ArrayLike, labelled: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale (N, d) and (M, d) by all their columns' spread, so that two random images are about 1 apart (Euclidean).

    Columns without any spread are left out. M may be 0. Raises ValueError on another shape or values not finite.
    """
    new, old = np.asarray(embeddings, dtype=np.float64), np.asarray(labelled, dtype=np.float64)
    if new.ndim != 2 or old.ndim != 2 or new.shape[1] != old.shape[1] or new.shape[1] < 1:
        raise ValueError(
            f"embeddings {new.shape} and those of labelled images {old.shape} must be (images, the same columns)"
        )
    _refuse(~np.isfinite(new).all(1), "embeddings that are not finite")
    _refuse(~np.isfinite(old).all(1), "embeddings of labelled images that are not finite")
    everything = np.concatenate([new, old])
    everything = everything[:, np.ptp(everything, axis=0) > 0] if len(everything) else everything
    if everything.shape[1] == 0:  # all images alike
        return np.zeros((len(new), 1)), np.zeros((len(old), 1))
    scaled = StandardScaler().fit_transform(everything) / np.sqrt(2 * everything.shape[1])
    return scaled[: len(new)], scaled[len(new) :]


def weighted_k_center(
    worth: NDArray[np.float64],
    new: NDArray[np.float64],
    old: NDArray[np.float64],
    count: int,
    *,
    seed: int = SEED,
    near: float = NEAR,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Choose rows one by one by the largest worth x distance to what is labelled or chosen: greedy k-centre, weighted.

    worth (N,) above 0; new (N, d) and old (M, d) as `standardised` gives them. Returns min(count, N) rows in order, no
    row twice, and each one's distance when it was chosen (NaN where nothing was there to be distant from). What
    lies closer than `near` to something labelled or chosen waits until nothing else is left. Ties fall by `seed`.
    """
    shuffled = np.random.default_rng(seed).permutation(len(new))
    worth, new = worth[shuffled], new[shuffled]
    distance = np.full(len(new), np.nan)
    if len(old):
        distance = np.asarray(pairwise_distances_argmin_min(new, old)[1])
    left, chosen, distances = np.ones(len(new), bool), [], []
    for _ in range(min(count, len(new))):
        known = np.nan_to_num(distance, nan=1.0)  # with nothing to be distant from, worth alone decides
        gain = worth * np.where(known < near, 1e-6 * known, known)
        best = int(np.argmax(np.where(left, gain, -1)))
        chosen.append(best)
        distances.append(distance[best])
        left[best] = False
        distance = np.fmin(distance, np.linalg.norm(new - new[best], axis=1))
    return shuffled[np.array(chosen, dtype=np.intp)], np.array(distances, dtype=np.float64)


def suggest_labels(
    probabilities: ArrayLike, embeddings: ArrayLike, labelled: ArrayLike, count: int, *, seed: int = SEED
) -> pd.DataFrame:
    """Return which unlabelled images to label, the most telling first: rank (the index, from 1) and `COLUMNS`.

    probabilities (N, C) of a classifier fitted on the labelled images; embeddings (N, d) and labelled (M, d) of the
    same backbone, M may be 0. `row` counts from 0 in the arrays; `uncertainty` in [0, 1] as `doubt` gives it;
    `distance` to the nearest image labelled or chosen before, where two random images are about 1 apart (empty for
    the very first of all); `reason` in words that do not say which class is suspected. All N rows where count is
    larger. Where a picture comes twice, its double comes last. Raises ValueError on a count below 1, other shapes,
    no images, or values that are not finite, naming the rows.
    """
    hesitation = margin_uncertainty(probabilities)
    new, old = standardised(embeddings, labelled)
    if count < 1:
        raise ValueError(f"count={count}: at least 1 image to label")
    if len(new) == 0 or len(new) != len(hesitation):
        raise ValueError(
            f"{len(hesitation)} rows of probabilities and {len(new)} of embeddings: one each per image, at least one"
        )
    rows, distances = weighted_k_center(CERTAIN + hesitation, new, old, count, seed=seed)
    found = pd.DataFrame({"row": rows, "uncertainty": hesitation[rows], "distance": distances})
    found["reason"] = [_reason(*pair) for pair in zip(found["uncertainty"], found["distance"], strict=True)]
    return found.set_index(pd.RangeIndex(1, len(found) + 1, name="rank"))


def _reason(uncertainty: float, distance: float) -> str:
    """Say why, without a word on the class: a suggestion would be believed, and confirmed."""
    hesitates = "the classifier hesitates" if uncertainty >= 0.5 else "the classifier is rather sure"
    if np.isnan(distance):
        return f"{hesitates}, nothing labelled yet"
    if distance < NEAR:
        return f"{hesitates}, all but the same picture as one labelled or chosen"
    unlike = "unlike what is labelled" if distance >= 1 else "not far from what is labelled"
    return f"{hesitates}, {unlike}"


def _refuse(faulty: ArrayLike, issue: str) -> None:
    rows = np.flatnonzero(faulty)
    if len(rows):
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        raise ValueError(
            f"row(s) {', '.join(map(str, rows[:5].tolist()))}{more} hold {issue}: leave these images out"
        )
