"""The fitted line of a study as one ONNX file, compared with the study's own verdicts before it counts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

import lib
from lib.anomaly_maps.detectors import detector
from lib.anomaly_maps.patchcore import PatchCore
from lib.artifacts import atomic
from lib.classification.cross_validation import BINARY, MULTICLASS
from lib.config import MAP_SOURCES, Study
from lib.datasets.image_io import CONVERSION_RULE, RESIZE_RULES, read_rgb
from lib.deployment.onnx_file import exported, write_onnx
from lib.deployment.onnx_graph import Dense, DraemMaps, GuidedPooling, Nearest, PatchCoreMaps
from lib.deployment.onnx_model import OUTPUTS, MapMaker, OnnxPipeline, Sides
from lib.deployment.onnx_predict import FORMAT, LoadedPipeline, load_pipeline, verdicts
from lib.draem.inference import Draem
from lib.execution.source_code import library_digest
from lib.features.map_guided_pooling import Pooling
from lib.features.patch_embeddings import grid
from lib.features.resnet import IMAGENET_SHA256, Backbone
from lib.inspection.decisions import RULE, decide
from lib.inspection.new_images import features_of_new, usual_patches
from lib.inspection.out_of_distribution import RULE as FOREIGN_RULE
from lib.inspection.out_of_distribution import ood_reasons
from lib.inspection.production_model import ProductionModel
from lib.inspection.threshold import Threshold
from lib.pipeline.dataset import FINAL, index
from lib.pipeline.detectors import load_model, model_file, models
from lib.pipeline.patches import backbone
from lib.pipeline.run import Run

COMPARED = 200  # labelled images, at most, on which the file is compared with the study's own code
TOLERANCE = 1e-4  # of a probability
OF_DISTANCE = 1e-3  # largest difference of a distance, where two random images are about 1 apart
BEYOND = 0.01  # share of them that may differ more: the last bit may choose another of two equally anomalous patches
AT_ONCE = 16
FILES = ("weights", "textures", "draem_checkpoint", "groups")  # settings that may hold a path


class ExportError(RuntimeError):
    """The line cannot be exported as it is; the message says why and what to do."""


@dataclass(frozen=True)
class ExportCheck:
    """How an exported chain compares with the study's own code on labelled images, taken as if they were new.

    `largest` difference of a probability or score; `beyond`: images of a difference above `tolerance`; `turned`: of
    another verdict; `map`, `distance`: the largest difference of a map's score, of a distance to the nearest labelled
    image (of the first images mirrored: a labelled one itself is at 0, whatever is computed).
    """

    images: int
    largest: float
    beyond: int
    turned: int
    map: float
    distance: float
    tolerance: float = TOLERANCE

    def __str__(self) -> str:
        return (
            f"compared on {self.images} labelled images: probabilities differ by {self.largest:.1e} at most, "
            f"{self.beyond} image(s) by more than {self.tolerance:g}, {self.turned} verdict(s) differ"
        )


def export_model(run: Run, line: ProductionModel, threshold: Threshold, path: Path) -> ExportCheck:
    """Write a line with a threshold to `path`, ending in .onnx; returns how it compares with the study's own code.

    Raises ExportError, and leaves nothing behind, where more than 1 % of the images differ by more than 1e-4 or one
    gets another verdict without standing at the threshold's ends.
    """
    if path.suffix != ".onnx":
        raise ExportError(f"{path}: name a file that ends in .onnx")
    model, about = exported(build_pipeline(run, line)), metadata(run, line, threshold)
    with atomic(path) as partial:
        write_onnx(model, partial, about | {"parity": "null"})
        found, unlike = compare(run, line, threshold, load_pipeline(partial))
        if found.distance > OF_DISTANCE:
            unlike.append(f"distances to the nearest labelled image differ by {found.distance:.1e}")
        if found.beyond > BEYOND * found.images or unlike:
            raise ExportError(
                f"{path}: not written, as it would not say what the study says: {found}"
                + "".join(f"; {name}" for name in unlike[:5])
            )
        write_onnx(model, partial, about | {"parity": json.dumps(asdict(found))})
    return found


def build_pipeline(run: Run, line: ProductionModel) -> OnnxPipeline:
    """Return the chain of a fitted line, whose models of the map source must have been fitted; on the CPU."""
    study, net = run.study, backbone(run)
    reference = line.reference
    classifiers = {task: Dense(model.columns.tolist(), model.fitted) for task, model in line.models.items()}
    chain = OnnxPipeline(
        net,
        Sides(study.image_size, study.feature_size, study.patch_size),
        _maker(run),
        line.sources,
        Nearest(*map(torch.from_numpy, (reference.embeddings, reference.centre, reference.spread))),
        classifiers[MULTICLASS],
        None if line.binary == "collapsed" else classifiers[BINARY],
        _pooling(run) if "guided" in line.sources else None,
        study.map_encoding,
    )
    return chain.cpu()


def _maker(run: Run) -> MapMaker:
    source = run.study.map_source
    parts: list[torch.nn.Module] = []
    for name in models(FINAL, run.study.map_method):
        fitted = load_model(run, source, name)
        if isinstance(fitted, Draem):
            parts.append(DraemMaps(fitted.reconstructive, fitted.discriminative))
        elif isinstance(fitted, PatchCore):
            parts.append(PatchCoreMaps(fitted, grid(run.study.patch_size)))
        else:
            raise ExportError(f"map_source={source}: there is no way yet to export it")
    return MapMaker(parts, "patches" if detector(source).inputs == "patches" else "pixels")


def _pooling(run: Run) -> GuidedPooling:
    study = run.study
    pooling = Pooling(study.guided_patches, study.guided_baseline)
    usual = usual_patches(run) if pooling.baseline == "good_mean" else None
    return GuidedPooling(study.image_size, grid(study.patch_size), usual, pooling)


def metadata(run: Run, line: ProductionModel, threshold: Threshold) -> dict[str, str]:
    """Return what the file says of itself: texts, and JSON where `lib.deployment.onnx_predict.JSON` says so."""
    study, net, reference = run.study, backbone(run), line.reference
    settings = study.values([item.name for item in fields(Study)])
    for name in FILES:
        settings[name] = Path(str(settings[name])).name  # where a file lay is nobody's business
    told = {key: None if value == float("inf") else value for key, value in vars(threshold).items()}
    plain = {
        "classes": line.classes,
        "feature_size": study.feature_size,
        "foreign": {"limit": reference.limit, "ranges": reference.ranges},
        "settings": settings,
        "stand_in": run.synthetic,
        "threshold": told,
    }
    return {
        "format": FORMAT,
        "dataset": run.dataset,
        "study": Path(run.study_dir).name,
        "preset": study.preset,
        "good": line.good,
        "features": line.features,
        "map_source": MAP_SOURCES[study.map_source].title,
        "backbone": net.name,
        "backbone_sha256": net.sha256,
        "licence": licence(run, net),
        "resize": study.resize,
        "resize_rule": RESIZE_RULES[study.resize],
        "conversion_rule": CONVERSION_RULE,
        "verdict_rule": RULE,
        "foreign_rule": FOREIGN_RULE,
        "outputs": "; ".join(f"{name}: {meaning}" for name, meaning in OUTPUTS.items()),
        "version": lib.__version__,
        "code": library_digest(),
        "torch": torch.__version__,
        **{name: json.dumps(value) for name, value in plain.items()},
    }


def licence(run: Run, net: Backbone) -> str:
    """Say what is known of the licences of the weights inside."""
    if net.name.endswith("embedded)"):
        told = "backbone: trained by this project on drawn pictures, MIT"
    elif net.sha256 == IMAGENET_SHA256:
        told = "backbone: torchvision's, BSD 3-Clause, trained on ImageNet, whose terms ask for research use"
    else:
        told = f"backbone: {net.name}, whose licence this project does not know"
    if run.study.map_source == "draem":
        file = model_file("draem", models(FINAL, run.study.map_method)[0])
        summary = (run.store.manifest(file) or {}).get("summary", {})
        if summary.get("origin") == "trained":
            told += f"; DRAEM: trained on the product's own pictures with textures: {summary['textures']}"
        else:
            told += "; DRAEM: trained elsewhere, on pictures and terms that this project does not know"
    return told


def compare(
    run: Run, line: ProductionModel, threshold: Threshold, chain: LoadedPipeline
) -> tuple[ExportCheck, list[str]]:
    """Compare a file with the study's own code on labelled images, spread over the index, taken as if they were new.

    Also returns the images of another verdict that does not stand within the tolerance of the threshold's ends.
    """
    table = index(run)
    rows = np.linspace(0, len(table) - 1, min(COMPARED, len(table))).round().astype(int)
    names, root = table["path"].iloc[rows].astype(str).tolist(), Path(table.attrs["root"])
    measured = features_of_new(run, root, names, line.sources)
    wanted, scores = line.probabilities(measured.columns), line.scores(measured.columns)
    distances, _ = line.reference.nearest(measured.embeddings)
    sizes = table[["width", "height"]].iloc[rows].to_numpy()
    foreign = ood_reasons(line.reference, sizes, measured.brightness, measured.contrast, distances)
    expected, _ = decide(scores, threshold, foreign)
    found: list[str] = []
    apart, of_maps = np.empty(len(rows)), 0.0
    for start in range(0, len(rows), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        scored = chain.score([read_rgb(root / name) for name in names[part]])
        found += [row["verdict"] for row in verdicts(chain, names[part], scored)]
        outputs = scored.outputs
        by_class = np.abs(outputs["probabilities"] - wanted[part]).max(axis=1)
        apart[part] = np.maximum(by_class, np.abs(outputs["score"] - scores[part]))
        of_maps = max(of_maps, float(np.abs(outputs["map_score"] - measured.map_scores[part]).max()))
    mirrored = chain.score([np.ascontiguousarray(read_rgb(root / name)[:, ::-1]) for name in names[:AT_ONCE]])
    nearest, _ = line.reference.nearest(mirrored.outputs["embedding"])
    of_distances = float(np.abs(mirrored.outputs["distance"] - nearest).max())
    turned = np.array(found) != np.array(expected)
    ends = np.abs(scores[:, None] - [threshold.low, threshold.high]).min(axis=1)
    unlike = [
        f"{names[row]}: {found[row]} instead of {expected[row]}"
        for row in np.flatnonzero(turned & (ends > TOLERANCE))
    ]
    beyond = int((apart > TOLERANCE).sum())
    return ExportCheck(
        len(rows), float(apart.max()), beyond, int(turned.sum()), of_maps, of_distances
    ), unlike
