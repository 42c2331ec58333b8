"""A production model, a threshold and images with chosen figures, so that verdicts are known beforehand."""

import numpy as np

from lib.classification.classifiers import Fitted
from lib.datasets.errors import as_table
from lib.inspection.decisions import training_reference
from lib.inspection.new_images import Folder, ImageFeatures
from lib.inspection.production_model import ProductionModel
from lib.inspection.threshold import OutOfFoldScores, Threshold

CLASSES = ("good", "dent", "hole")


def model(n=200, side=50):
    """A model of one block, log-probabilities of the classes; labelled images lie about the origin."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(n, 3)).astype(np.float32)
    exposure = np.column_stack([rng.uniform(0.4, 0.6, n), rng.uniform(0.1, 0.2, n)])
    reference = training_reference(embeddings, np.arange(n), np.full((n, 2), side), exposure)
    fitted = Fitted(CLASSES, (0, 1, 2), np.zeros(3), np.ones(3), (np.eye(3, dtype=np.float32),),
                    (np.zeros(3, np.float32),), 1, True)  # fmt: skip
    known = OutOfFoldScores(rng.uniform(size=n), np.arange(n) % 2 == 0, np.arange(n), False)
    models = {"multiclass": (np.arange(3), fitted)}
    return ProductionModel("stats", "as asked for", CLASSES, models, reference, known)


def threshold(low=0.4, value=0.5, high=0.6):
    return Threshold(0.9, True, value, low, high, 0.9, 0.8, 0.95, 0.1, 0.05, 0.2, 100, 100, 100, "exact")


def features(probabilities, embeddings=None, digests=None):
    n = len(probabilities)
    blocks = {
        "image": np.zeros((n, 3), np.float32) if embeddings is None else np.asarray(embeddings, np.float32),
        "stats": np.log(np.asarray(probabilities, np.float32)),
        "score": np.zeros((n, 1), np.float32),
    }
    digests = np.array(list(digests) if digests else [f"image {number}" for number in range(n)])
    return ImageFeatures(blocks, np.tile([0.5, 0.15], (n, 1)), digests)


def folder(names):
    return Folder("nowhere", tuple(names), np.full((len(names), 2), 50), as_table([]))
