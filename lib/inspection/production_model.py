"""The production model: a feature set's classifier fitted on all labelled images, as one artefact of plain arrays."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from lib.classification.classifiers import Fitted
from lib.classification.cross_validation import BINARY, MULTICLASS, evaluate_fold
from lib.classification.feature_sets import FEATURE_SETS
from lib.config import nearest
from lib.datasets.groups import groups_of_rows
from lib.evaluation.metrics import percent
from lib.evaluation.recommendation import RULE, recommend
from lib.execution.source_code import code_digest
from lib.inspection.decisions import TrainingReference, training_reference
from lib.inspection.new_images import ImageFeatures, features_of_labelled
from lib.inspection.threshold import OutOfFoldScores, Threshold, choose_threshold
from lib.pipeline.classification import calibration, predictions
from lib.pipeline.dataset import FINAL, index
from lib.pipeline.run import Run


class ProductionModelError(ValueError):
    """The study cannot give the model that was asked for; the message says why and what to do."""


@dataclass(frozen=True)
class ProductionModel:
    """Everything that judges a new image once its features are known.

    `why` says how the feature set was chosen; `classes` the good one first; `models` by task, each the columns that it
    uses, counted in the blocks one after the other, and the classifier; where there is one for the binary task, it
    decides. `reference` is what labelled images look like; `out_of_fold` their scores.
    """

    features: str
    why: str
    classes: tuple[str, ...]
    models: Mapping[str, tuple[NDArray[np.intp], Fitted]]
    reference: TrainingReference
    out_of_fold: OutOfFoldScores

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks of columns that it takes, in their order."""
        return FEATURE_SETS[self.features].blocks

    def probabilities(self, features: ImageFeatures, task: str = MULTICLASS) -> NDArray[np.float64]:
        """Return the probability of every class of the task (n, classes)."""
        columns, fitted = self.models[task]
        return fitted.probabilities(features.columns(self.blocks)[:, columns])

    def scores(self, features: ImageFeatures) -> NDArray[np.float64]:
        """Return 1 - p(good) (n,) by the model that decides, in [0, 1]."""
        return 1 - self.probabilities(features, BINARY if BINARY in self.models else MULTICLASS)[:, 0]


def fitted_production_model(run: Run, features: str = "") -> ProductionModel:
    """Return the model of a finished study for a feature set, by default for the one that `choose_features` prefers.

    Fits on all labelled images, where that is not done. Raises ProductionModelError for a set that the study did not
    evaluate.
    """
    found, _ = predictions(run, "classification")
    tested = deciding(run, found)
    features, why = choose_features(run, tested, features)
    known, name = features_of_labelled(run, FEATURE_SETS[features].blocks), model_name(features)
    settings = ("selection", "mlp", "scale", "binary", "inner_folds")
    inputs = {
        "code": code_digest("lib.inspection.production_model"),
        "columns": hashlib.sha256(known.columns(tuple(known.blocks)).tobytes()).hexdigest(),
        "index": run.store.digest("index.parquet"),
        "predictions": run.store.digest("predictions/classification.parquet"),
        "features": features,
        "why": why,
        "seed": run.seed("classify", FINAL, 0),
        **run.study.values(settings),
    }

    def write(path: Path) -> dict[str, Any]:
        table, classes = index(run), tuple(index(run).attrs["classes"])
        result = evaluate_fold(
            {name: known.blocks[name] for name in FEATURE_SETS[features].blocks},
            table["label"].to_numpy(dtype=str),
            np.ones(len(table), bool),  # none is left to test
            classes=classes,
            feature_sets=[features],
            groups=table["group"].to_numpy(dtype=str) if table.attrs["grouped"] else None,
            seed=inputs["seed"],
            **{name: getattr(run.study, name) for name in settings},
        )
        models = {task: fitted[features] for task, fitted in result.models.items()}
        groups, sizes = groups_of_rows(table), table[["width", "height"]].to_numpy()
        reference = training_reference(known.blocks["image"], groups, sizes, known.exposure)
        rows = tested[tested["features"] == features].set_index("id").loc[table["id"]]
        scores, defective = rows["score"].to_numpy(float), rows["defective"].to_numpy(bool)
        out_of_fold = OutOfFoldScores(scores, defective, groups, bool(table.attrs["grouped"]))
        save_production_model(path, ProductionModel(features, why, classes, models, reference, out_of_fold))
        return {task: {"converged": fitted.converged} for task, (_, fitted) in models.items()}

    run.store.make(name, inputs, write)
    return load_production_model(run.store.path(name))


def model_name(features: str) -> str:
    """Return the artefact of a feature set's model."""
    return f"production_model/{features}.safetensors"


def threshold_of(run: Run, model: ProductionModel, required: float) -> Threshold:
    """Return the model's threshold for a defect recall in (0, 1], written beside it as JSON with its evidence."""
    name = f"production_model/{model.features}-at-{100 * required:g}.json"
    seed = run.seed("threshold", model.features)
    inputs = {"code": code_digest("lib.inspection.production_model"), "required": required, "seed": seed}
    inputs["model"] = run.store.digest(model_name(model.features))
    inputs |= run.study.values(("verdict_per",))
    known = model.out_of_fold.per_object() if run.study.verdict_per == "object" else model.out_of_fold

    def write(path: Path) -> None:
        found = choose_threshold(known, required, seed)
        path.write_text(json.dumps(vars(found), indent=1) + "\n", encoding="utf-8")

    run.store.make(name, inputs, write)
    return Threshold(**json.loads(run.store.path(name).read_text(encoding="utf-8")))


def deciding(run: Run, found: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of predictions that decide good or defective: scheme to believe, all defects, first repeat."""
    good, task = index(run).attrs["good"], MULTICLASS if run.study.binary == "collapsed" else BINARY
    wanted = {"scheme": found["scheme"].iloc[0], "keep": 1.0, "repeat": found["repeat"].min(), "task": task}
    rows = found[(found[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    return rows.assign(score=1 - rows[f"p:{good}"], defective=rows["label"] != good)


def choose_features(run: Run, tested: pd.DataFrame, wanted: str = "") -> tuple[str, str]:
    """Return the feature set of the model and how it was chosen; `tested` are the deciding test-fold predictions.

    By default the study's recommended one (`recommend`), which test folds do not choose. Raises ProductionModelError
    for one that the study did not evaluate.
    """
    evaluated = [name for name in FEATURE_SETS if name in set(tested["features"])]
    if wanted in evaluated:
        return wanted, "as asked for"
    if wanted:
        there = f"{nearest(wanted, evaluated)}; there are: {', '.join(evaluated)}"
        raise ProductionModelError(f"no feature set {wanted!r} in this study{there}")
    table = recommend(tested, calibration(run), str(index(run).attrs["good"]), run.study.binary)
    if not table["recommended"].any():
        raise ProductionModelError("training lacks scores, so nothing is recommended: give --features NAME")
    row = table[table["recommended"]].iloc[0]
    return row["features"], (
        f"recommended for {RULE}: {percent(row['training'])}. The expected recall is from the same images, so it is "
        "slightly too optimistic"
    )


def save_production_model(path: Path, model: ProductionModel) -> None:
    """Write a model as safetensors: the rest as JSON in the metadata's entry `model`, with each array's name in it."""
    arrays: dict[str, NDArray] = {}

    def keep(array: NDArray) -> dict[str, str]:
        name = f"{len(arrays):02d}"
        arrays[name] = np.ascontiguousarray(array)
        return {"array": name}

    about = json.dumps(asdict(model), default=keep, sort_keys=True)
    save_file(arrays, path, metadata={"model": about})


def load_production_model(path: Path) -> ProductionModel:
    """Return what `save_production_model` wrote; nothing in the file is executed."""
    with safe_open(path, framework="numpy") as file:

        def restore(found: dict[str, Any]) -> Any:
            return file.get_tensor(found["array"]) if "array" in found else found

        about = json.loads(file.metadata()["model"], object_hook=restore)
    about["classes"] = tuple(about["classes"])
    about["models"] = {task: (columns, Fitted(**one)) for task, (columns, one) in about["models"].items()}
    about["reference"] = TrainingReference(**about["reference"])
    about["out_of_fold"] = OutOfFoldScores(**about["out_of_fold"])
    return ProductionModel(**about)
