"""A folder of new images: which can be used, their features by the study's own steps, and the table of verdicts.

Whatever is fitted before the classifier, such as the detector of the maps, is of the split `FINAL`: of all labelled
images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from lib.anomaly_maps.cross_fitting import predict_maps
from lib.anomaly_maps.detectors import detector
from lib.anomaly_maps.map_statistics import map_statistics
from lib.classification.feature_sets import COLUMN_BLOCKS
from lib.datasets.errors import DatasetError, Issue, as_table
from lib.datasets.groups import groups_from_regex
from lib.datasets.image_io import examine, load_stack, map_files
from lib.datasets.layouts.listing import walk
from lib.datasets.layouts.mask_names import part_masks
from lib.datasets.region import read_region
from lib.execution.source_code import code_digest
from lib.inspection.decisions import OOD, PASS, REFUSED, REJECT, REVIEW, UNCERTAIN, brightness_contrast, verdict_columns
from lib.pipeline.dataset import FINAL, images, index
from lib.pipeline.detectors import load_model, models
from lib.pipeline.embeddings import backbone, image_feature_table, image_features_of, patches
from lib.pipeline.features import map_columns
from lib.pipeline.maps import score_maps, scores
from lib.pipeline.patch_scores import final_patch_classifier, patch_scores
from lib.pipeline.run import Run, each_part, feature_cost, map_cost
from lib.synthetic.products import image_counts, render

if TYPE_CHECKING:
    import torch

    from lib.inspection.production_model import ProductionModel
    from lib.inspection.threshold import Threshold

AT_ONCE = 128  # images per task
UNSEEN = 6  # images of each class, drawn as demo data


@dataclass(frozen=True)
class Folder:
    """Images below `root`.

    names: of the usable ones, POSIX paths below the root, sorted; sizes (n, 2), upright width and height in pixels;
    refused: file, issue, remedy of those that cannot be used; masks: how many were left out as masks.
    """

    root: Path
    names: tuple[str, ...]
    sizes: NDArray[np.int64]
    refused: pd.DataFrame
    masks: int = 0


def read_folder(root: Path) -> Folder:
    """Return all images below `root`, each decoded completely by the rules of `lib.datasets.image_io`.

    Masks, in folders such as ground_truth or MASK, or named 1_GT beside 1, are left out; a bad file is listed and the
    rest goes on. Raises DatasetError with every issue where no image can be used.
    """
    listing = walk(root)
    unmasked, masks = part_masks(listing.images)
    found, bad = map_files(root, unmasked, examine)
    issues = sorted([*listing.structural, *listing.issues, *bad.values()])
    if not found:
        nothing = Issue(str(root), "no usable image in it", "name a folder with jpg, png, bmp or tif files")
        raise DatasetError([nothing, *issues])
    names = tuple(sorted(found))
    sizes = np.array([(found[name].width, found[name].height) for name in names], dtype=np.int64)
    return Folder(root, names, sizes, as_table(issues), len(masks))


def unseen_images(run: Run) -> Path:
    """Return a folder of newly drawn images of a drawn product, whose scenes are numbered on from the study's own.

    Their names say nothing of the class: `unseen.csv` beside the folder has the truth. Raises FileNotFoundError for
    real images.
    """
    if not run.synthetic:
        raise FileNotFoundError("no images to inspect: set INSPECT_DIR, or run_all.py --inspect DIR")
    study, folder = run.study, run.store.path("unseen")
    counts = image_counts(run.dataset, study.synthetic_scale)
    wanted = [(label, counts[label] + place) for label in counts for place in range(UNSEEN)]
    order = np.random.default_rng(run.seed("unseen")).permutation(len(wanted))

    def write(path: Path) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        truth = {f"{number:04d}.png": wanted[place] for number, place in enumerate(order)}
        for name, (label, scene) in truth.items():
            image, _ = render(run.dataset, label, scene, study.synthetic_side, study.seed)
            Image.fromarray(image).save(folder / name)
        lines = ["file,label", *(f"{name},{label}" for name, (label, _) in truth.items())]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return {"files": [folder / name for name in truth]}

    settings = study.values(("synthetic_scale", "synthetic_side", "seed"))
    code = code_digest("lib.inspection.new_images")
    run.store.make("unseen.csv", {"product": run.dataset, "each": UNSEEN, "code": code, **settings}, write)
    return folder


@dataclass(frozen=True)
class ImageFeatures:
    """What is computed of n images before a classifier sees them.

    blocks (n, d) float32 each, by the names in `COLUMN_BLOCKS`: always `image`, the backbone's embedding of the image,
    and `score`, that of its map; exposure (n, 2), brightness and contrast in [0, 1]; digests (n,), equal where two
    images are the same at the backbone's size.
    """

    blocks: Mapping[str, NDArray[np.float32]]
    exposure: NDArray[np.float64]
    digests: NDArray[np.str_]

    def columns(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Return the named blocks beside each other, (n, sum of d)."""
        return np.concatenate([self.blocks[name] for name in names], axis=1)


def features_of_labelled(run: Run, blocks: Sequence[str]) -> ImageFeatures:
    """Return the features of the labelled images, having fitted what comes before the classifier on all of them.

    Where maps are cross-fitted, each image's map is by the half that did not see it.
    """
    calls = [(run, tuple(blocks), FINAL)]
    return each_part(run, _labelled, calls, "fitted on all labelled images", makes=True)[0]


def _labelled(run: Run, blocks: Sequence[str], split: str) -> ImageFeatures:
    compute: dict[str, Callable[[], np.ndarray]] = {
        "image": lambda: image_feature_table(run),
        "score": lambda: scores(run, split)[:, None],
        "patch": lambda: patch_scores(run, "classification", split)[0],
        **{name: partial(map_columns, run, name, split) for name in ("map", "stats", "guided")},
    }
    return _features(blocks, compute, images(run, run.study.feature_side))


def features_of_new(run: Run, folder: Path, names: Sequence[str], blocks: Sequence[str]) -> ImageFeatures:
    """Return the same of new images, files below `folder`, some at a time and side by side where that pays."""
    at_once = max(1, AT_ONCE // run.study.tiles**2)
    calls = [
        (run, folder, tuple(blocks), tuple(names[start : start + at_once]), f"from {start + 1}")
        for start in range(0, len(names), at_once)
    ]
    features, maps = feature_cost(run, at_once), map_cost(run, at_once)
    seconds = 2 * features["seconds"] + maps["seconds"]
    parts = each_part(
        run, _new, calls, "new images", {"seconds": seconds, "memory": max(features["memory"], maps["memory"])}
    )
    exposures, known = [part.exposure for part in parts], [part.digests for part in parts]
    joined = {name: np.concatenate([part.blocks[name] for part in parts]) for name in parts[0].blocks}
    return ImageFeatures(joined, np.concatenate(exposures), np.concatenate(known))


def _new(run: Run, folder: Path, blocks: Sequence[str], names: Sequence[str], _part: str) -> ImageFeatures:
    import torch

    from lib.features.embeddings import map_features
    from lib.features.map_guided_pooling import pool

    study, load = run.study, image_loader(run, folder, names)
    stack = load(study.feature_side)
    pooled, local = image_features_of(run, stack)
    maps = maps_of_new(run, local if detector(study.map_source).inputs == "patches" else load(study.map_side))

    def guided() -> np.ndarray:
        """Pool the patches where the maps are highest, compared with all good labelled images."""
        new_patches, new_maps = (torch.from_numpy(array.astype(np.float32)) for array in (local, maps))
        return pool(new_patches, new_maps, good_patch_mean(run), study.guided_patches).numpy()

    compute: dict[str, Callable[[], np.ndarray]] = {
        "image": lambda: pooled,
        "map": lambda: map_features(backbone(run), maps, study.map_encoding, device=run.device),
        "stats": lambda: map_statistics(maps),
        "score": lambda: score_maps(maps, study.tiles)[:, None],
        "patch": lambda: final_patch_classifier(run).scores(local),
        "guided": guided,
    }
    return _features(blocks, compute, stack)


def _features(
    blocks: Sequence[str], compute: Mapping[str, Callable[[], np.ndarray]], stack: NDArray[np.uint8]
) -> ImageFeatures:
    wanted = {*blocks, "image", "score"}
    found = {name: np.asarray(compute[name](), np.float32) for name in COLUMN_BLOCKS if name in wanted}
    return ImageFeatures(found, brightness_contrast(stack), digests(stack))


@lru_cache(maxsize=1)
def good_patch_mean(run: Run) -> torch.Tensor:
    """Return the mean of all good labelled images' patches at each place, float32 (h, w, C)."""
    import torch

    from lib.features.map_guided_pooling import sum_of

    good = (index(run)["label"] == index(run).attrs["good"]).to_numpy()
    return torch.from_numpy(np.float32(sum_of(patches(run), good) / good.sum()))


def image_loader(run: Run, folder: Path, names: Sequence[str]) -> Callable[[int], np.ndarray]:
    """Return a function from a side to the images (n, side, side, 3) uint8, resized as the study's own, read once."""

    @cache
    def load(side: int) -> np.ndarray:
        out = np.empty((len(names), side, side, 3), dtype=np.uint8)
        table, region = pd.DataFrame({"path": list(names)}), read_region(run.study.region)
        return load_stack(folder, table, side, run.study.resize, out, region)

    return load


def maps_of_new(run: Run, inputs: np.ndarray) -> NDArray[np.float16]:
    """Return new images' anomaly maps (n, side, side) in [0, 1] from their `inputs_of` the study's map source.

    The split's first model makes them: one model, as for any other image.
    """
    study = run.study
    fitted = load_model(run, models(run, FINAL)[0])
    out = np.empty((len(inputs), study.map_side, study.map_side), np.float16)
    return predict_maps([fitted], inputs, np.zeros(len(inputs), int), out)


def digests(stack: NDArray[np.uint8]) -> NDArray[np.str_]:
    """Return a digest of each image's pixels."""
    return np.array([hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest() for image in stack])


def judge(
    run: Run, model: ProductionModel, threshold: Threshold, folder: Folder, features: ImageFeatures
) -> pd.DataFrame:
    """Return the verdicts on all files of a folder, one row each, what a person should see first on top.

    `features` are `features_of_new` for the model's blocks. Columns: file; those of
    `verdict_columns`, where a file that cannot be used is `refused`, its reason the issue, its details the remedy;
    object, where verdicts are per object and `group_regex` names it: verdict and reason are the object's then;
    `nearest`, the labelled image that `distance` is to; seen_in_training, the labelled image that is the same image;
    same_as, the file that is.
    """
    table, ids = tabulate(model, threshold, folder, features), index(run)["id"].to_numpy(dtype=str)
    if run.study.verdict_per == "object" and run.study.group_regex:
        table = per_object(table, groups_from_regex(run.study.group_regex, folder.names)[0])
    table["nearest"] = ids[table["nearest"]]
    known = dict(zip(digests(images(run, run.study.feature_side)), ids, strict=True))
    table["seen_in_training"] = [known.get(digest, "") for digest in features.digests]
    refused = folder.refused.rename(columns={"issue": "reason", "remedy": "details"}).astype(str)
    every = [by_urgency(table, threshold), refused.assign(verdict=REFUSED)]
    return pd.concat(every, ignore_index=True).astype({"width": "Int64", "height": "Int64"})


def per_object(table: pd.DataFrame, objects: Mapping[str, str]) -> pd.DataFrame:
    """Return verdicts with an object's verdict, and its reason, on each of its images: reject before review and pass.

    `objects` by file; a file without one is an object of its own.
    """
    table.insert(1, "object", [objects.get(file, file) for file in table["file"]])
    rank = table["verdict"].map([PASS, REVIEW, REJECT].index)
    falling = table.assign(rank=rank).sort_values(["rank", "score"], ascending=False, kind="stable")
    decisive = falling.drop_duplicates("object").set_index("object")
    return table.assign(**{name: table["object"].map(decisive[name]) for name in ("verdict", "reason")})


def tabulate(model: ProductionModel, threshold: Threshold, folder: Folder, features: ImageFeatures) -> pd.DataFrame:
    """Return the verdicts on the usable images in the folder's order, `nearest` as a row among the labelled images."""
    distances, nearest = model.reference.nearest(features.blocks["image"])
    outputs: dict[str, NDArray[Any]] = {
        "probabilities": model.probabilities(features),
        "score": model.scores(features),
        "map_score": features.blocks["score"][:, 0],
        "distance": distances,
        "sizes": folder.sizes,
        "exposure": features.exposure,
    }
    found = verdict_columns(outputs, model.classes, (threshold.low, threshold.high), model.reference)
    table = pd.DataFrame({"file": list(folder.names)} | found)
    table.insert(list(table.columns).index("width"), "nearest", nearest)
    first = table.groupby(features.digests, sort=False)["file"].transform("first")
    return table.assign(same_as=first.where(first != table["file"], ""))


def by_urgency(table: pd.DataFrame, threshold: Threshold) -> pd.DataFrame:
    """Sort what `tabulate` gives: out of distribution by distance, uncertain by how near the threshold they are, then
    rejects and passes by score, the highest first."""
    rank = table["reason"].map({OOD: 0, UNCERTAIN: 1, "": 2}) + (table["verdict"] == PASS)
    away = np.abs(table["score"] - threshold.value)
    within = np.select([rank == 0, rank == 1], [-table["distance"], away], -table["score"])
    order = table[["file"]].assign(rank=rank, within=within)
    return table.loc[order.sort_values(["rank", "within", "file"]).index]
