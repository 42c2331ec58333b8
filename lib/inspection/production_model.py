"""The production model: a feature set's classifier fitted on all labelled images, as one artefact of plain arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lib.artifacts import write_text
from lib.classification.classifiers import LOGISTIC_REGRESSION, Fitted, fit
from lib.classification.cross_validation import BINARY, DEFECTIVE, MULTICLASS, score_columns, used_columns
from lib.classification.feature_sets import COLUMN_BLOCKS, FEATURE_SETS
from lib.classification.operating_threshold import recall_at_fpr
from lib.config import nearest
from lib.datasets.groups import groups_of_rows
from lib.evaluation.metrics import FPR_LIMIT
from lib.execution.source_code import code_digest
from lib.inspection.new_images import ImageFeatures, features_of_labelled
from lib.inspection.out_of_distribution import TrainingReference, training_reference
from lib.inspection.threshold import OutOfFoldScores, Threshold, choose_threshold
from lib.pipeline.classification import calibration, predictions
from lib.pipeline.dataset import FINAL, index
from lib.pipeline.run import Run


class ProductionModelError(ValueError):
    """The study cannot give the model that was asked for; the message says why and what to do."""


@dataclass(frozen=True)
class TaskModel:
    """A task's classifier and the columns that it uses, counted in the model's blocks one after the other."""

    columns: NDArray[np.int64]
    fitted: Fitted


@dataclass(frozen=True)
class ProductionModel:
    """Everything that judges a new image once its features are known.

    `why` says how the feature set was chosen; `classes` the good one first; `models` by task, of which `binary` says
    which one decides; `reference` what labelled images look like; `out_of_fold` their scores.
    """

    features: str
    why: str
    classes: tuple[str, ...]
    binary: str
    models: Mapping[str, TaskModel]
    reference: TrainingReference
    out_of_fold: OutOfFoldScores

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks of columns that it takes, in their order."""
        return column_blocks(self.features)

    def probabilities(self, features: ImageFeatures) -> NDArray[np.float64]:
        """Return every class's probability (n, classes)."""
        return self._of(MULTICLASS, features)

    def scores(self, features: ImageFeatures) -> NDArray[np.float64]:
        """Return 1 - p(good) (n,) by the model that decides, in [0, 1]."""
        return 1 - self._of(MULTICLASS if self.binary == "collapsed" else BINARY, features)[:, 0]

    def _of(self, task: str, features: ImageFeatures) -> NDArray[np.float64]:
        model = self.models[task]
        return model.fitted.probabilities(features.columns(self.blocks)[:, model.columns])


def column_blocks(features: str) -> tuple[str, ...]:
    """Return the blocks of columns of a feature set in their order."""
    return tuple(name for name in COLUMN_BLOCKS if name in FEATURE_SETS[features].blocks)


def fitted_production_model(run: Run, features: str = "") -> ProductionModel:
    """Return the model of a finished study for a feature set, by default for the one that `choose_features` prefers.

    Fits on all labelled images, where that is not done. Raises ProductionModelError for a set that the study did not
    evaluate.
    """
    found, _ = predictions(run, "classification")
    tested = deciding(run, found)
    features, why = choose_features(run, tested, features)
    known = features_of_labelled(run, column_blocks(features))
    columns = known.columns(("image", *column_blocks(features)))
    inputs = {
        "code": code_digest("lib.inspection.production_model"),
        "columns": hashlib.sha256(columns.tobytes()).hexdigest(),
        "index": run.store.digest("index.parquet"),
        "predictions": run.store.digest("predictions/classification.parquet"),
        "features": features,
        "why": why,
        "seed": run.seed("classify", FINAL, 0),
        **run.study.values(("selection", "mlp", "scale", "binary")),
    }

    def write(path: Path) -> dict[str, Any]:
        model = fit_production_model(run, features, why, known, tested[tested["features"] == features])
        save_production_model(path, model)
        names = ("iterations", "loss", "converged")
        return {task: {name: vars(one.fitted)[name] for name in names} for task, one in model.models.items()}

    run.store.make(model_name(features), inputs, write)
    return load_production_model(run.store.path(model_name(features)))


def model_name(features: str) -> str:
    """Return the artefact of a feature set's model."""
    return f"production_model/{features}.safetensors"


def threshold_of(run: Run, model: ProductionModel, required: float) -> Threshold:
    """Return the model's threshold for a defect recall in (0, 1], written beside it as JSON with its evidence."""
    name = f"production_model/{model.features}-at-{100 * required:g}.json"
    seed, digest = run.seed("threshold", model.features), run.store.digest(model_name(model.features))
    code = code_digest("lib.inspection.threshold")
    inputs = {"code": code, "model": digest, "required": required, "seed": seed}

    def write(path: Path) -> None:
        found = choose_threshold(model.out_of_fold, required, seed)
        write_text(path, json.dumps(vars(found), indent=1) + "\n")

    run.store.make(name, inputs, write)
    return Threshold(**json.loads(run.store.path(name).read_text(encoding="utf-8")))


def deciding(run: Run, found: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of predictions that decide good or defective: scheme to believe, all defects, first repeat."""
    good = index(run).attrs["good"]
    rows = found[
        (found["scheme"] == found["scheme"].iloc[0])
        & (found["keep"] == 1.0)
        & (found["repeat"] == found["repeat"].min())
        & (found["task"] == (MULTICLASS if run.study.binary == "collapsed" else BINARY))
    ]
    return rows.assign(score=1 - rows[f"p:{good}"], defective=rows["label"] != good)


def choose_features(run: Run, tested: pd.DataFrame, wanted: str = "") -> tuple[str, str]:
    """Return the feature set of the model and how it was chosen; `tested` are the deciding test-fold predictions.

    By default the one of the highest defect recall at 5 % false rejects: on training images' out-of-fold scores
    (`calibration`) where maps are cross-fitted, else on the test folds', as maps of a detector that saw the training
    images flatter there. Sets without scores there do not compete, and are named. Raises ProductionModelError for one
    that the study did not evaluate.
    """
    evaluated = [name for name in FEATURE_SETS if name in set(tested["features"])]
    if wanted in evaluated:
        return wanted, "as asked for"
    if wanted:
        there = f"{nearest(wanted, evaluated)}; there are: {', '.join(evaluated)}"
        raise ProductionModelError(f"no feature set {wanted!r} in this study{there}")
    place = "on the test folds' scores, of which the threshold comes too, so that its false rejects flatter a little"
    if run.study.map_method != "in_sample":
        tested, place = deciding(run, calibration(run)), "on training images' out-of-fold scores"
    recalls = {
        name: recall_at_fpr(rows["score"].to_numpy(), rows["defective"].to_numpy(), FPR_LIMIT)
        for name in evaluated
        if len(rows := tested[tested["features"] == name])
    }
    if absent := [name for name in evaluated if name not in recalls]:
        place += f" (not scored there, so only if asked for: {', '.join(absent)})"
    best = max(recalls, key=lambda name: recalls[name])  # of equals the first
    return best, (
        f"of {len(recalls)} feature sets the highest defect recall at {FPR_LIMIT:.0%} false rejects {place}, "
        f"{recalls[best]:.1%}"
    )


def fit_production_model(
    run: Run, features: str, why: str, known: ImageFeatures, tested: pd.DataFrame
) -> ProductionModel:
    """Select columns and fit on the labelled images' features; `tested` are the set's deciding predictions."""
    table, study, feature_set = index(run), run.study, FEATURE_SETS[features]
    classes, labels = tuple(table.attrs["classes"]), table["label"].to_numpy(dtype=str)
    blocks = column_blocks(features)
    rows, seed, columns = np.arange(len(table)), run.seed("classify", FINAL, 0), known.columns(blocks)
    origin = np.repeat(blocks, [known.blocks[name].shape[1] for name in blocks])
    candidates = np.flatnonzero(np.isin(origin, feature_set.selected_columns))
    models = {}
    for task in (MULTICLASS, BINARY) if study.binary == "separate" else (MULTICLASS,):
        names = classes if task == MULTICLASS else (classes[0], DEFECTIVE)
        target = labels if task == MULTICLASS else np.where(labels == classes[0], *names)
        scores = score_columns(columns, candidates, rows, target, study.selection, seed)
        used, _ = used_columns(feature_set, scores, origin, len(rows), study.selection)
        hidden = LOGISTIC_REGRESSION if feature_set.model == "logistic" else study.mlp
        fitted = fit(columns[:, used], target, names, hidden=hidden, seed=seed, scale=study.scale)
        models[task] = TaskModel(used, fitted)
    groups, sizes = groups_of_rows(table), table[["width", "height"]].to_numpy()
    reference = training_reference(known.blocks["image"], groups, sizes, known.exposure)
    scored, grouped = tested.set_index("id").loc[table["id"]], bool(table.attrs["grouped"])
    scores, defective = scored["score"].to_numpy(float), scored["defective"].to_numpy(bool)
    out_of_fold = OutOfFoldScores(scores, defective, groups, grouped)
    return ProductionModel(features, why, classes, study.binary, models, reference, out_of_fold)


def save_production_model(path: Path, model: ProductionModel) -> None:
    """Write a model as safetensors: the rest as JSON in the metadata's entry `model`, with each array's name in it.

    The order of an array in memory is kept, since the last bits of a matrix product depend on it.
    """
    arrays: dict[str, NDArray] = {}

    def keep(array: NDArray) -> dict[str, str]:
        name = f"{len(arrays):02d}"
        arrays[name] = np.ascontiguousarray(array)
        return {"array": name, "order": "C" if array.flags.c_contiguous else "F"}

    about = json.dumps(asdict(model), default=keep, sort_keys=True)
    save_file(arrays, path, metadata={"model": about})


def load_production_model(path: Path) -> ProductionModel:
    """Return what `save_production_model` wrote; nothing in the file is executed.

    Raises ProductionModelError for another file.
    """
    try:
        with safe_open(path, framework="numpy") as file:

            def restore(found: dict[str, Any]) -> Any:
                named = "array" in found
                return np.asarray(file.get_tensor(found["array"]), order=found["order"]) if named else found

            about = json.loads((file.metadata() or {})["model"], object_hook=restore)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ProductionModelError(
            f"{path}: no production model ({error}); delete it and fit again"
        ) from error
    models = {
        task: TaskModel(part["columns"], Fitted(**part["fitted"])) for task, part in about["models"].items()
    }
    about |= {"classes": tuple(about["classes"]), "models": models}
    about["reference"] = TrainingReference(**about["reference"])
    about["out_of_fold"] = OutOfFoldScores(**about["out_of_fold"])
    return ProductionModel(**about)
