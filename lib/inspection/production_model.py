"""The fitted line: a feature set's classifier fitted on all labelled images, as one artefact of plain arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
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
from lib.classification.feature_sets import FEATURE_SETS
from lib.classification.operating_threshold import recall_at_fpr
from lib.config import nearest
from lib.datasets.groups import groups_of_rows
from lib.execution.source_code import code_digest
from lib.inspection.new_images import ImageFeatures, features_of_labelled, in_order
from lib.inspection.out_of_distribution import TrainingReference, reference_of
from lib.inspection.threshold import Evidence, Threshold, choose_threshold
from lib.pipeline.classification import calibration, predictions
from lib.pipeline.dataset import FINAL, index
from lib.pipeline.run import Run

RATE = 0.05  # false rejects at which feature sets are compared


class ProductionModelError(ValueError):
    """The study cannot give the line that was asked for; the message says why and what to do."""


@dataclass(frozen=True)
class Model:
    """A task's classifier and the columns that it uses, counted in the line's sources one after the other."""

    columns: NDArray[np.int64]
    fitted: Fitted


@dataclass(frozen=True)
class ProductionModel:
    """Everything that judges a new picture once its columns are known.

    `sources` and `widths` say what the columns are; `classes` the good one first; `models` by task, of which `binary`
    says which one decides; `reference` what labelled images look like; `results` their out-of-fold scores. `why` says
    how the feature set was chosen.
    """

    features: str
    why: str
    sources: tuple[str, ...]
    widths: tuple[int, ...]
    classes: tuple[str, ...]
    binary: str
    models: Mapping[str, Model]
    reference: TrainingReference
    results: Evidence

    @property
    def good(self) -> str:
        """The good class."""
        return self.classes[0]

    def probabilities(self, columns: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return every class's probability (n, classes) of columns (n, sum of widths)."""
        return self._of(MULTICLASS, columns)

    def scores(self, columns: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return 1 - p(good) (n,) by the model that decides, in [0, 1]."""
        return 1 - self._of(MULTICLASS if self.binary == "collapsed" else BINARY, columns)[:, 0]

    def _of(self, task: str, columns: NDArray[np.float32]) -> NDArray[np.float64]:
        model = self.models[task]
        if columns.ndim != 2 or columns.shape[1] != sum(self.widths):
            raise ValueError(f"columns {columns.shape} must be (n, {sum(self.widths)})")
        return model.fitted.probabilities(columns[:, model.columns])


def fitted_production_model(run: Run, features: str = "") -> ProductionModel:
    """Return the line of a finished study for a feature set, the one that the study favours by default.

    Fits on all labelled images, where that is not done. Raises `LineError` for a set that the study did not evaluate.
    """
    found, _ = predictions(run, "classification")
    known = deciding(run, found)
    features, why = chosen_features(run, known, features)
    measured = features_of_labelled(run, in_order(FEATURE_SETS[features].blocks))
    name = model_name(features)
    table = index(run)
    inputs = {
        "code": code_digest("lib.inspection.production_model"),
        "columns": hashlib.sha256(np.ascontiguousarray(measured.columns).tobytes()).hexdigest(),
        "embeddings": hashlib.sha256(np.ascontiguousarray(measured.embeddings).tobytes()).hexdigest(),
        "index": run.store.digest("index.parquet"),
        "predictions": run.store.digest("predictions/classification.parquet"),
        "features": features,
        "why": why,
        "seed": run.seed("classify", FINAL, 0),
        **run.study.values(("selection", "mlp", "scale", "binary")),
    }

    def write(path: Path) -> dict[str, Any]:
        line = fit_production_model(run, table, features, why, measured, known[known["features"] == features])
        save_production_model(path, line)
        return {
            task: {
                "columns": len(model.columns),
                "loss": model.fitted.loss,
                "converged": model.fitted.converged,
            }
            for task, model in line.models.items()
        }

    run.store.make(name, inputs, write)
    return load_production_model(run.store.path(name))


def model_name(features: str) -> str:
    """Return the artefact of a feature set's line."""
    return f"production_model/{features}.safetensors"


def threshold_of(run: Run, line: ProductionModel, required: float) -> Threshold:
    """Return the line's threshold for a defect recall in (0, 1], written beside it as JSON with its evidence."""
    name = f"production_model/{line.features}-at-{100 * required:g}.json"
    seed = run.seed("threshold", line.features)
    inputs = {
        "code": code_digest("lib.inspection.threshold"),
        "line": run.store.digest(model_name(line.features)),
        "required": required,
        "seed": seed,
    }

    def write(path: Path) -> None:
        found = vars(choose_threshold(line.results, required, seed))
        known = {key: None if value == float("inf") else value for key, value in found.items()}
        write_text(path, json.dumps(known, indent=1) + "\n")

    run.store.make(name, inputs, write)
    known = json.loads(run.store.path(name).read_text(encoding="utf-8"))
    return Threshold(**known | {"needed": float("inf") if known["needed"] is None else known["needed"]})


def deciding(run: Run, found: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of predictions that decide good or defective: scheme to believe, all defects, first repeat."""
    task = MULTICLASS if run.study.binary == "collapsed" else BINARY
    good = index(run).attrs["good"]
    rows = found[
        (found["scheme"] == found["scheme"].iloc[0])
        & (found["keep"] == 1.0)
        & (found["repeat"] == found["repeat"].min())
        & (found["task"] == task)
    ]
    return rows.assign(score=1 - rows[f"p:{good}"], defective=rows["label"] != good)


def chosen_features(run: Run, known: pd.DataFrame, wanted: str = "") -> tuple[str, str]:
    """Return the feature set of the line and how it was chosen; `known` are the deciding test-fold predictions.

    By default the one of the highest defect recall at 5 % false rejects: on training images' out-of-fold scores where
    maps are cross-fitted, else on the test folds', as maps of a source that saw the training images flatter there.
    Training images are scored for the sets that a threshold is chosen for (`lib.pipeline.classification.calibration`);
    there the others do not compete, and are named.
    Raises `LineError` for one that the study did not evaluate.
    """
    evaluated = [name for name in FEATURE_SETS if name in set(known["features"])]
    if wanted and wanted not in evaluated:
        near = nearest(wanted, evaluated)
        raise ProductionModelError(
            f"no feature set {wanted!r} in this study{near}; there are: {', '.join(evaluated)}"
        )
    if wanted:
        return wanted, "as asked for"
    place = "on the test folds' scores, of which the threshold comes too, so that its false rejects flatter a little"
    if run.study.map_method != "in_sample":
        known, place = deciding(run, calibration(run)), "on training images' out-of-fold scores"
    recalls = {
        name: recall_at_fpr(rows["score"].to_numpy(), rows["defective"].to_numpy(), RATE)
        for name in evaluated
        if len(rows := known[known["features"] == name])
    }
    absent = [name for name in evaluated if name not in recalls]
    if absent:
        place += f" (not scored there, so only if asked for: {', '.join(absent)})"
    best = max(recalls, key=lambda name: recalls[name])  # of equals the first
    return best, (
        f"of {len(recalls)} feature sets the highest defect recall at {RATE:.0%} false rejects {place}, "
        f"{recalls[best]:.1%}"
    )


def fit_production_model(
    run: Run, table: pd.DataFrame, features: str, why: str, measured: ImageFeatures, known: pd.DataFrame
) -> ProductionModel:
    """Select columns, fit and gather the evidence; `table` is the index, `known` the set's deciding predictions."""
    sources, study = in_order(FEATURE_SETS[features].blocks), run.study
    classes, labels = tuple(table.attrs["classes"]), table["label"].to_numpy(dtype=str)
    feature_set, rows, seed = FEATURE_SETS[features], np.arange(len(table)), run.seed("classify", FINAL, 0)
    widths = measured.widths
    origin = np.repeat(sources, widths)
    contested = np.flatnonzero(np.isin(origin, feature_set.selected_columns))
    models = {}
    for task in (MULTICLASS, BINARY) if study.binary == "separate" else (MULTICLASS,):
        names = classes if task == MULTICLASS else (classes[0], DEFECTIVE)
        target = labels if task == MULTICLASS else np.where(labels == classes[0], *names)
        scores = score_columns(measured.columns, contested, rows, target, study.selection, seed)
        used, _ = used_columns(feature_set, scores, origin, len(rows), study.selection)
        hidden = LOGISTIC_REGRESSION if feature_set.model == "logistic" else study.mlp
        fitted = fit(measured.columns[:, used], target, names, hidden=hidden, seed=seed, scale=study.scale)
        models[task] = Model(used, fitted)
    groups = groups_of_rows(table)
    sizes = table[["width", "height"]].to_numpy()
    out_of_fold = known.set_index("id").loc[table["id"]]
    return ProductionModel(
        features=features,
        why=why,
        sources=sources,
        widths=widths,
        classes=classes,
        binary=study.binary,
        models=models,
        reference=reference_of(measured.embeddings, groups, sizes, measured.brightness, measured.contrast),
        results=Evidence(
            scores=out_of_fold["score"].to_numpy(float),
            defective=out_of_fold["defective"].to_numpy(bool),
            groups=groups,
            grouped=bool(table.attrs["grouped"]),
        ),
    )


def save_production_model(path: Path, line: ProductionModel) -> None:
    """Write a line as safetensors: its arrays by name, the rest as JSON in the metadata's entry `line`."""
    arrays: dict[str, np.ndarray] = {}
    tasks = {}
    for task, model in line.models.items():
        fitted = model.fitted
        arrays[f"{task}.columns"] = model.columns.astype(np.int64)
        if fitted.mean is not None and fitted.scale is not None:
            arrays |= {f"{task}.mean": fitted.mean, f"{task}.scale": fitted.scale}
        for layer, (weights, bias) in enumerate(zip(fitted.weights, fitted.biases, strict=True)):
            arrays |= {f"{task}.weights.{layer}": weights, f"{task}.biases.{layer}": bias}
        tasks[task] = {
            "classes": fitted.classes,
            "learnt": fitted.learnt,
            "layers": len(fitted.weights),
            "iterations": fitted.iterations,
            "loss": fitted.loss,
            "converged": fitted.converged,
        }
    reference, results = line.reference, line.results
    for name in ("embeddings", "centre", "spread", "distances"):
        arrays[f"reference.{name}"] = getattr(reference, name)
    for name in ("scores", "defective", "groups"):
        arrays[f"evidence.{name}"] = getattr(results, name)
    about = {
        **{
            name: getattr(line, name)
            for name in ("features", "why", "sources", "widths", "classes", "binary")
        },
        "tasks": tasks,
        "limit": reference.limit,
        "ranges": reference.ranges,
        "grouped": results.grouped,
    }
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(plain, path, metadata={"line": json.dumps(about, sort_keys=True)})


def load_production_model(path: Path) -> ProductionModel:
    """Read what `save_line` wrote; nothing in the file is run. Raises LineError for another file."""
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["line"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ProductionModelError(f"{path}: no fitted line ({error}); make it anew") from error
    models = {task: _model(task, told, arrays) for task, told in about["tasks"].items()}
    reference = {
        name: arrays[f"reference.{name}"] for name in ("embeddings", "centre", "spread", "distances")
    }
    ranges = {kind: (low, high) for kind, (low, high) in about["ranges"].items()}
    results = {name: arrays[f"evidence.{name}"] for name in ("scores", "defective", "groups")}
    return ProductionModel(
        features=about["features"],
        why=about["why"],
        sources=tuple(about["sources"]),
        widths=tuple(about["widths"]),
        classes=tuple(about["classes"]),
        binary=about["binary"],
        models=models,
        reference=TrainingReference(**reference, limit=about["limit"], ranges=ranges),
        results=Evidence(**results, grouped=about["grouped"]),
    )


def _model(task: str, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Model:
    layers = range(told["layers"])
    weights = tuple(arrays[f"{task}.weights.{layer}"] for layer in layers)
    if (
        len(weights) == 1
    ):  # a logistic regression's product was taken in this order of memory, hence its last bits
        weights = (np.asfortranarray(weights[0]),)
    fitted = Fitted(
        classes=tuple(told["classes"]),
        learnt=tuple(told["learnt"]),
        mean=arrays.get(f"{task}.mean"),
        scale=arrays.get(f"{task}.scale"),
        weights=weights,
        biases=tuple(arrays[f"{task}.biases.{layer}"] for layer in layers),
        iterations=told["iterations"],
        loss=told["loss"],
        converged=told["converged"],
    )
    return Model(arrays[f"{task}.columns"], fitted)
