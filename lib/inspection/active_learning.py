"""Active learning: which unlabelled images a person should label first, to gain most per label.

An image is worth a label where the classifier hesitates and where nothing like it has been labelled or chosen. This
strategy was chosen among others on drawn products; docs/labels.md has the comparison.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

CERTAIN = 0.02  # the uncertainty that every image is granted: where all are certain, distance alone decides
NEAR = 0.15  # images closer than this count as one, taken twice (docs/labels.md says where the value is from)


def margin_uncertainty(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Return 1 less the lead of the likeliest class over the next, (n,) in [0, 1], of probabilities (n, classes)."""
    ranked = np.sort(np.asarray(probabilities, dtype=np.float64), axis=1)
    return np.clip(1 - (ranked[:, -1] - ranked[:, -2]), 0, 1)


def standardised(embeddings: ArrayLike, labelled: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (n, d) and (m, d) scaled by the spread of their columns, so that two random images are about 1 apart."""
    from sklearn.preprocessing import StandardScaler

    new = np.asarray(embeddings)
    both = np.concatenate([new, labelled], dtype=np.float64)
    both = both[:, np.ptp(both, axis=0) > 0]
    both = StandardScaler().fit_transform(both) / np.sqrt(2 * both.shape[1])
    return both[: len(new)], both[len(new) :]


def weighted_k_center(
    weights: NDArray, new: NDArray, labelled: NDArray, count: int, seed: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return rows by the largest weight times distance to what is labelled or chosen, one by one: greedy k-centre.

    weights (n,) above 0; new (n, d) and labelled (m, d) as `standardised` gives them. Returns min(count, n) rows in
    order, no row twice, and each one's distance when it was chosen. What lies closer than `NEAR` to something labelled
    or chosen waits until nothing else is left. Ties fall by `seed`.
    """
    from sklearn.metrics import pairwise_distances_argmin_min

    shuffled = np.random.default_rng(seed).permutation(len(new))
    weights, new = weights[shuffled], new[shuffled]
    distance = np.asarray(pairwise_distances_argmin_min(new, labelled)[1])
    chosen: list[int] = []
    distances: list[float] = []
    for _ in range(min(count, len(new))):
        gain = weights * np.where(distance < NEAR, 1e-6 * distance, distance)
        gain[chosen] = -1
        chosen.append(int(np.argmax(gain)))
        distances.append(distance[chosen[-1]])
        distance = np.minimum(distance, np.linalg.norm(new - new[chosen[-1]], axis=1))
    return shuffled[chosen], np.array(distances)


def suggest_labels(
    probabilities: ArrayLike, embeddings: ArrayLike, labelled: ArrayLike, count: int, *, seed: int = 0
) -> pd.DataFrame:
    """Return which unlabelled images to label by rank (the index, from 1): row, uncertainty, distance, reason.

    probabilities (n, classes) of a classifier fitted on the labelled images; embeddings (n, d) and labelled (m, d) of
    the same backbone. `row` counts from 0 in the arrays; `uncertainty` as `margin_uncertainty`; `distance` to the
    nearest image labelled or chosen before, where two random images are about 1 apart; `reason` in words that do not
    say which class is suspected: it would be believed, and confirmed. All n rows where count is larger. Where an image
    comes twice, its double comes last.
    """
    uncertainty = margin_uncertainty(probabilities)
    scaled, weights = standardised(embeddings, labelled), CERTAIN + uncertainty
    rows, distance = weighted_k_center(weights, *scaled, count, seed)
    hesitates = np.where(uncertainty[rows] >= 0.5, "hesitates", "is rather sure")
    place = np.where(distance >= 1, "unlike what is labelled", "not far from what is labelled")
    place = np.where(distance < NEAR, "nearly the same as one that is labelled or chosen", place)
    reason = [f"the classifier {how}, {where}" for how, where in zip(hesitates, place, strict=True)]
    found = {"row": rows, "uncertainty": uncertainty[rows], "distance": distance, "reason": reason}
    return pd.DataFrame(found, index=pd.RangeIndex(1, len(rows) + 1, name="rank"))
