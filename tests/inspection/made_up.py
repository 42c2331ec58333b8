"""A line, a threshold and pictures with chosen figures, so that verdicts can be told beforehand."""

import numpy as np
import pandas as pd

from lib.classification.classifiers import Fitted
from lib.inspection.folder import Folder
from lib.inspection.new_images import ImageFeatures
from lib.inspection.out_of_distribution import reference_of
from lib.inspection.production_model import Model, ProductionModel
from lib.inspection.threshold import Evidence, Threshold

CLASSES = ("good", "dent", "hole")


def line(n=200, side=50):
    """A line whose columns are log-probabilities of the classes; labelled images lie about the origin."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(n, 4)).astype(np.float32)
    sizes = np.full((n, 2), side)
    reference = reference_of(
        embeddings, np.arange(n), sizes, rng.uniform(0.4, 0.6, n), rng.uniform(0.1, 0.2, n)
    )
    fitted = Fitted(CLASSES, (0, 1, 2), None, None, (np.eye(3, dtype=np.float32),),
                    (np.zeros(3, np.float32),), 1, 0.0, True)  # fmt: skip
    results = Evidence(rng.uniform(size=n), np.arange(n) % 2 == 0, np.arange(n), False)
    models = {"multiclass": Model(np.arange(3), fitted)}
    return ProductionModel(
        "image", "as asked for", ("image",), (3,), CLASSES, "collapsed", models, reference, results
    )


def threshold(low=0.4, value=0.5, high=0.6):
    return Threshold(0.9, True, 9, value, low, high, 0.9, 0.8, 0.95, 0.1, 0.05, 0.2, 100, 100, 100, "exact")


def measured(chances, embeddings=None, brightness=0.5, contrast=0.15):
    n = len(chances)
    return ImageFeatures(
        np.log(np.asarray(chances, np.float32)),
        (3,),
        np.zeros((n, 4), np.float32) if embeddings is None else np.asarray(embeddings, np.float32),
        np.broadcast_to(np.asarray(brightness, float), n),
        np.broadcast_to(np.asarray(contrast, float), n),
        np.zeros(n, np.float32),
        tuple(map(str, range(n))),
    )


def folder(names, sizes=None, pixels=None):
    sizes = np.full((len(names), 2), 50) if sizes is None else np.array(sizes)
    refused = pd.DataFrame({"file": [], "issue": [], "remedy": []}, dtype="string")
    return Folder("nowhere", tuple(names), sizes, tuple(pixels or names), refused, ())
