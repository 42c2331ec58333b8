"""Shortcuts: facts of files, such as size or JPEG quality, by which good and defective images differ.

Names and times do not count: no classifier sees them, and most people sort both by class.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from lib.datasets.image_io import FORMATS

SYMPTOMS = ("file size", "mean tone", "contrast")  # facts that a defect may change by itself
BOUND = 0.7  # of the AUC's lower end: drawings and tiles differ by chance in less
CHANCE = 0.001  # that a variant holds no good image, if good ones were as frequent in it as elsewhere
FOLDS, DEPTH, LEAF = 5, 3, 5
STANDARD = 57.625  # mean of the luminance table at JPEG quality 50


class Told(NamedTuple):
    """A fact that tells good from defective, with the AUC of a small tree and its 95 % CI."""

    fact: str
    auc: float
    low: float
    high: float


def file_facts(root: Path, index: pd.DataFrame, pictures: NDArray[np.float32]) -> pd.DataFrame:
    """Return the facts of each image of `index`, in its order; `pictures` are its `small_pictures`.

    Columns: width, height in pixels; file size in bytes; colour mode, file type; JPEG quality, about 1 to 100, by the
    table of quantisation, 0 where there is none; mean tone and contrast from 0 to 255. Only headers are read.
    """
    rows = []
    for path in (root / name for name in index["path"]):
        with Image.open(path, formats=FORMATS) as image:
            tables = getattr(image, "quantization", None) or {}
            scale = 100 * float(np.mean(tables[min(tables)])) / STANDARD if tables else 200
            quality = round(5000 / scale if scale > 100 else (200 - scale) / 2, 1) * bool(tables)
            rows.append((path.stat().st_size, image.mode, str(image.format), quality))
    facts = pd.DataFrame(rows, columns=["file size", "colour mode", "file type", "JPEG quality"])
    sizes = {"width": index["width"].to_numpy(), "height": index["height"].to_numpy()}
    return facts.assign(**sizes, **{"mean tone": pictures.mean(axis=1), "contrast": pictures.std(axis=1)})


def telling_facts(facts: pd.DataFrame, bad: NDArray[np.bool_], groups: NDArray[np.int64]) -> Iterator[Told]:
    """Yield the facts by which a tree tells images it has not seen, good from `bad` (N,), the lower end above `BOUND`.

    No group of images is split between its training and test parts.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    counts = [len(np.unique(groups[bad == kind])) for kind in (False, True)]
    if min(counts) < FOLDS:
        return
    cv = list(StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(bad, bad, groups))
    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=LEAF, random_state=0)
    for fact in facts.columns[facts.nunique() > 1]:
        inputs = pd.factorize(facts[fact], sort=True)[0][:, None]
        score = cross_val_predict(tree, inputs, bad, cv=cv, method="predict_proba")[:, 1]
        auc = float(roc_auc_score(bad, score))
        half = 1.96 * math.sqrt(auc * (1 - auc) / min(counts))  # wide: the most that an AUC can vary
        if auc - half > BOUND:
            yield Told(fact, auc, auc - half, min(1.0, auc + half))


def without_good(facts: pd.DataFrame, bad: NDArray[np.bool_], groups: NDArray[np.int64]) -> dict[str, int]:
    """Return the variants, of one size and colour mode, in which good images are missing though chance would give some.

    By name, such as "640 x 480 L", with the number of their images. `bad` (N,); objects count, not their images.
    """
    kinds = facts[["width", "height", "colour mode"]].to_numpy()
    names = [f"{width} x {height} {mode}" for width, height, mode in kinds]
    table = pd.DataFrame({"name": names, "bad": bad, "group": groups})
    objects = table.drop_duplicates(["name", "group", "bad"])
    share, variants = objects["bad"].mean(), objects.groupby("name")["bad"].agg(["all", "size"])
    few = share ** variants["size"] < CHANCE / len(variants)
    found = variants.index[variants["all"] & few]
    return {str(name): int((table["name"] == name).sum()) for name in found}
