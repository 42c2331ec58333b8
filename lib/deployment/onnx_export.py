"""The production model of a study as one ONNX file, compared with the study's own verdicts before it counts."""

import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import torch
from onnxscript import opset20 as opset

import lib
from lib.artifacts import atomic
from lib.classification.cross_validation import BINARY, MULTICLASS
from lib.config import MAP_SOURCES, Study
from lib.datasets.errors import as_table
from lib.datasets.image_io import CONVERSION_RULE, RESIZE_RULES
from lib.datasets.region import read_region
from lib.deployment.onnx_model import OUTPUTS, OnnxPipeline, classifier, nearest_distance
from lib.deployment.onnx_predict import FORMAT, INPUT, LoadedPipeline, judge_files, load_pipeline
from lib.execution.source_code import library_digest
from lib.features.backbone import Backbone
from lib.features.backbone_weights import grid
from lib.inspection.decisions import DECISION_RULE, OOD_RULE
from lib.inspection.new_images import Folder, features_of_new, good_patch_mean, tabulate
from lib.inspection.production_model import ProductionModel
from lib.inspection.threshold import Threshold
from lib.pipeline.dataset import FINAL, index
from lib.pipeline.detectors import load_model, model_file, models
from lib.pipeline.embeddings import backbone
from lib.pipeline.patch_scores import final_patch_classifier
from lib.pipeline.run import Run

OPSET = 20  # of 2023: runtimes of the last years read it
COMPARED = 200  # labelled images, at most, on which the file is compared with the study's own code
TOLERANCE = 1e-4  # of a probability
DISTANCE_TOLERANCE = 1e-3  # where two random images are about 1 apart
ABOVE = 0.01  # share of them that may differ more: the last bit may choose another of two equally anomalous patches
# settings that may hold a path
FILES = ("weights", "textures", "draem_checkpoint", "draem_weights", "groups")


class ExportError(RuntimeError):
    """The model cannot be exported as it is; the message says why and what to do."""


def export_model(run: Run, model: ProductionModel, threshold: Threshold, path: Path) -> str:
    """Write a model with a threshold to `path`; returns in words how it compares with the study's own code.

    Raises ExportError, and leaves nothing behind, where more than 1 % of the images differ by more than 1e-4 or one
    gets another verdict without standing at the threshold's ends.
    """
    exported, about = export_onnx(build_pipeline(run, model)), metadata(run, model, threshold)
    with atomic(path) as partial:
        write_onnx(exported, partial, about | {"parity": None})
        parity, unlike = compare(run, model, threshold, load_pipeline(partial))
        found = (
            f"compared on {parity['images']} labelled images: probabilities differ by {parity['largest']:.1e} at most, "
            f"images that differ by more than {TOLERANCE:g}: {parity['above_tolerance']}, "
            f"in their verdict: {parity['changed_verdicts']}"
        )
        if parity["above_tolerance"] > ABOVE * parity["images"] or unlike:
            reasons = "; ".join([found, *unlike[:5]])
            raise ExportError(f"{path}: not written, as it would not say what the study says: {reasons}")
        write_onnx(exported, partial, about | {"parity": parity})
    return found


def build_pipeline(run: Run, model: ProductionModel) -> OnnxPipeline:
    """Return everything from images to probabilities as one torch module on the CPU; all models must be fitted."""
    study = run.study
    detector: Any = load_model(run, models(run, FINAL)[0])  # as in `maps_of_new`
    if not hasattr(detector, "exported"):
        raise ExportError(f"map_source={study.map_source}: there is no way yet to export it")
    parts = {task: classifier(columns.tolist(), fitted) for task, (columns, fitted) in model.models.items()}
    return OnnxPipeline(
        study,
        backbone(run),
        detector.exported(grid(study.feature_side)),
        model.blocks,
        nearest_distance(model.reference),
        parts[MULTICLASS],
        parts.get(BINARY),
        good_patch_mean(run) if "guided" in model.blocks else None,
        final_patch_classifier(run).exported if "patch" in model.blocks else None,
    ).cpu()


def metadata(run: Run, model: ProductionModel, threshold: Threshold) -> dict[str, Any]:
    """Return what the file says of itself: texts, and other values where `lib.deployment.onnx_predict.JSON` says so."""
    study, net, reference = run.study, backbone(run), model.reference
    settings = study.values([item.name for item in fields(Study)])
    for name in FILES:
        settings[name] = Path(str(settings[name])).name  # without paths of this machine
    if region := read_region(study.region):
        settings["region"] = region.as_json()
    return {
        "format": FORMAT,
        "dataset": run.dataset,
        "study": Path(run.study_dir).name,
        "preset": study.preset,
        "good": model.classes[0],
        "features": model.features,
        "map_source": MAP_SOURCES[study.map_source].title,
        "backbone": net.title,
        "backbone_sha256": net.sha256,
        "licence": licence(run, net),
        "resize": study.resize,
        "resize_rule": RESIZE_RULES[study.resize],
        "conversion_rule": CONVERSION_RULE,
        "verdict_rule": DECISION_RULE,
        "out_of_distribution_rule": OOD_RULE,
        "outputs": "; ".join(f"{name}: {meaning}" for name, meaning in OUTPUTS.items()),
        "version": lib.__version__,
        "code": library_digest(),
        "torch": torch.__version__,
        "classes": model.classes,
        "feature_size": study.feature_side,  # the side of the input that brightness is measured on
        "out_of_distribution": {"limit": reference.limit, "ranges": reference.ranges},
        "settings": settings,
        "stand_in": run.synthetic,
        "threshold": vars(threshold),
    }


def licence(run: Run, net: Backbone) -> str:
    """Say what is known of the licences of the weights inside."""
    known = f"backbone: {net.title}, weights: {net.licence}"
    if net.title.endswith("(ImageNet)"):
        known += ", trained on ImageNet, whose terms ask for research use"
    if run.study.map_source == "draem":
        file = model_file(run, models(run, FINAL)[0])
        summary = (run.store.manifest(file) or {}).get("summary", {})
        if summary.get("origin") == "trained":
            known += f"; DRAEM: trained from {summary['start']} on the product's own images with textures: "
            known += str(summary["textures"])
        else:
            known += "; DRAEM: trained elsewhere, on unknown images and terms"
    return known


def compare(
    run: Run, model: ProductionModel, threshold: Threshold, exported: LoadedPipeline
) -> tuple[dict[str, Any], list[str]]:
    """Compare a file with the study's own code on labelled images, spread over the index, taken as if they were new.

    Returns `largest`, the largest difference of a probability or score, `above_tolerance`, the images of a larger
    one, `changed_verdicts`, those of another verdict, and `map` and `distance`, the largest difference of a map's score
    and of a distance to the nearest labelled image. Then, in words, what must not be: another distance, or another
    verdict where the score does not stand within the tolerance of the threshold's ends.
    """
    table = index(run)
    rows = table.iloc[np.linspace(0, len(table) - 1, min(COMPARED, len(table))).round().astype(int)]
    names, root = rows["path"].astype(str).tolist(), Path(table.attrs["root"])
    sizes = rows[["width", "height"]].to_numpy()
    features = features_of_new(run, root, names, model.blocks)
    wanted = tabulate(model, threshold, Folder(root, tuple(names), sizes, as_table([])), features)
    judged = pd.DataFrame(judge_files(exported, [root / name for name in names]))
    numbers = ["score", *(f"p:{name}" for name in model.classes)]
    largest = np.abs(judged[numbers].to_numpy() - wanted[numbers].to_numpy()).max(axis=1)
    changed = judged["verdict"] != wanted["verdict"]
    away = np.abs(wanted["score"].to_numpy()[:, None] - [threshold.low, threshold.high]).min(axis=1)
    parity = {
        "images": len(names),
        "largest": float(largest.max()),
        "above_tolerance": int((~(largest <= TOLERANCE)).sum()),  # NaN too
        "changed_verdicts": int(changed.sum()),
        "map": float((judged["map_score"] - wanted["map_score"]).abs().max()),
        "distance": float((judged["distance"] - wanted["distance"]).abs().max()),
        "tolerance": TOLERANCE,
    }
    unlike = [
        f"{names[row]}: {judged['verdict'][row]} instead of {wanted['verdict'][row]}"
        for row in np.flatnonzero(changed & (away > TOLERANCE))
    ]
    if parity["distance"] > DISTANCE_TOLERANCE:
        unlike.append(f"distances to the nearest labelled image differ by {parity['distance']:.1e}")
    return parity, unlike


def export_onnx(pipeline: OnnxPipeline) -> onnx.ModelProto:
    """Return a pipeline as an ONNX model without a trace of this machine; the batch is free, the sides are fixed."""
    examples = tuple(torch.zeros(2, side, side, 3, dtype=torch.uint8) for side in pipeline.inputs)
    free = torch.export.Dim("n", min=1)
    # the exporter's own messages are dropped: its result is checked when written
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            pipeline,
            examples,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=(tuple({0: free} for _ in examples),),
            custom_translation_table={torch.ops.aten.sort.stable: _stable_sort},
            input_names=[f"{INPUT}{side}" for side in pipeline.inputs],
            output_names=list(OUTPUTS),
            verbose=False,
        )
    assert program is not None  # with dynamo there is one
    model = program.model_proto
    graph = model.graph
    # the exporter notes where each node comes from: paths and source lines of this machine
    parts = (graph.node, graph.value_info, graph.input, graph.output, graph.initializer, model.functions)
    for item in (graph, *(item for items in parts for item in items)):
        item.doc_string = ""
        del item.metadata_props[:]
    model.doc_string = ""
    return model


def _stable_sort(values: Any, stable: bool = True, dim: int = 1, descending: bool = False) -> Any:
    """Sort all of an axis by TopK, which takes the first of equals first, as the exporter has no stable sort."""
    count = opset.Shape(values, start=dim, end=dim + 1)
    return opset.TopK(values, count, axis=dim, largest=int(descending), sorted=1)


def write_onnx(model: onnx.ModelProto, path: Path, about: Mapping[str, Any]) -> None:
    """Check a model and write it with `about` as its metadata; raises onnx's errors for one that is not sound."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in about.items()}
    onnx.helper.set_model_props(model, dict(sorted(texts.items())))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
