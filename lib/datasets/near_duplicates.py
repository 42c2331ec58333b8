"""Near-duplicates: images that show the same object again, found by small grey pictures; and the groups they make.

A picture's *signature* is its principal components, scaled to equal variance: what all images of the set have in common
does not count, and common differences count little. Two signatures are compared by their correlation.
"""

import math

import numpy as np
from numpy.typing import NDArray

SIDE = 16  # pixels of a small picture
COMPONENTS, ALIKE = 96, 0.8  # at most, of a signature; correlation of two above which they are alike
AT_ONCE = 512  # images: memory does not grow with all pairs


def small_pictures(stack: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images (N, side, side, 3) as grey (N, SIDE * SIDE), 0 to 255; sides are cut to a multiple of `SIDE`."""
    step = stack.shape[1] // SIDE
    out = np.empty((len(stack), SIDE * SIDE), np.float32)
    for start in range(0, len(stack), AT_ONCE):
        part = np.asarray(stack[start : start + AT_ONCE, : SIDE * step, : SIDE * step])
        cells = part.reshape(len(part), SIDE, step, SIDE, step * 3)
        out[start : start + AT_ONCE] = cells.mean(axis=(2, 4), dtype=np.float32).reshape(len(part), -1)
    return out


def signatures(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a signature of length 1 for each small picture, (N, K) with K up to `COMPONENTS`, at least 1.

    Brightness and contrast of a picture do not change it.
    """
    flat = pictures - pictures.mean(axis=1, keepdims=True)
    flat = _unit(flat)
    flat -= flat.mean(axis=0)
    values, vectors = np.linalg.eigh(flat.T.astype(np.float64) @ flat / len(flat))
    k = max(1, min(COMPONENTS, len(flat) // 3))
    scaled = vectors[:, -k:] / np.sqrt(np.maximum(values[-k:], 1e-12))
    return _unit(flat @ scaled.astype(np.float32))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def least_alike(n: int, k: int) -> float:
    """Return the correlation above which two of n signatures of k components are alike, from `ALIKE` to 1.

    By chance alone, the two most alike are more so with fewer components, and among more images.
    """
    return 1 - max(0.05, 1 - ALIKE - 0.025 * max(0.0, math.log2(n / 1000))) * k / COMPONENTS


def alike_groups(pictures: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return for each small picture (N, pixels) the first one of its group: those alike, and what is alike to these."""
    found = signatures(pictures)
    least, groups = least_alike(*found.shape), np.arange(len(found))
    for start in range(0, len(found), AT_ONCE):
        part = found[start : start + AT_ONCE]
        rows, others = np.nonzero(part @ found[: start + len(part)].T > least)
        groups = joined(groups, rows + start, others)
    return groups


def joined(groups: NDArray[np.int64], rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return groups (N,), each named by its first row, with the groups of `rows` and of `others` made one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    shape = (len(groups), len(groups))
    links = coo_array((np.ones(len(rows), bool), (groups[rows], groups[others])), shape=shape)
    parts = connected_components(links, directed=False)[1][groups]
    _, first, names = np.unique(parts, return_index=True, return_inverse=True)
    return first[names]
