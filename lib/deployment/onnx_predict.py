"""Verdicts on images by an exported model, with Pillow, NumPy and onnxruntime alone.

python -m lib.deployment.onnx_predict FILE.onnx FOLDERS_OR_IMAGES... [--csv OUT] [--threads N]
"""

import argparse
import csv
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lib.artifacts import write_text
from lib.datasets.csv_text import inert
from lib.datasets.errors import DatasetError, printable
from lib.datasets.image_io import SUFFIXES, read_rgb, resize_rgb
from lib.datasets.layouts.listing import walk
from lib.datasets.layouts.mask_names import part_masks
from lib.datasets.region import Region
from lib.inspection.decisions import REFUSED, Limits, brightness_contrast, verdict_columns

FORMAT = "inspection-chain-1"  # of the metadata
JSON = ("classes", "feature_size", "out_of_distribution", "parity", "settings", "stand_in", "threshold")
TEXTS = ("dataset", "features", "resize", "study")
INPUT = "pictures_"  # and a side: the name of an input that takes images (n, side, side, 3) uint8


class ModelFileError(ValueError):
    """The file is no model that this program can run; the message says why and what to do."""


@dataclass(frozen=True)
class LoadedPipeline:
    """An exported model, ready to run; `about` are its metadata, with JSON read."""

    session: onnxruntime.InferenceSession
    about: Mapping[str, Any]

    @cached_property
    def region(self) -> Region | None:
        """What part of an image is seen."""
        told = self.about["settings"].get("region")
        return Region.from_json(told) if told else None

    def score(self, images: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray]:
        """Return `onnx_model.OUTPUTS`, `sizes` and `exposure` (n, 2) of images (h, w, 3) uint8."""
        sides, how = [int(given.shape[1]) for given in self.session.get_inputs()], self.about["resize"]
        seen = images if self.region is None else [self.region.cut(rgb, Path("image")) for rgb in images]
        stacks = {side: np.stack([resize_rgb(rgb, side, how) for rgb in seen]) for side in sides}
        sizes = np.array([(rgb.shape[1], rgb.shape[0]) for rgb in images], dtype=np.int64)
        exposure = brightness_contrast(stacks[self.about["feature_size"]])
        names = [output.name for output in self.session.get_outputs()]
        outputs = self.session.run(names, {f"{INPUT}{side}": stack for side, stack in stacks.items()})
        return dict(zip(names, outputs, strict=True)) | {"sizes": sizes, "exposure": exposure}

    def verdicts(self, names: Sequence[str], scored: Mapping[str, NDArray]) -> list[dict[str, Any]]:
        """Return a row per image of what `score` gives: `file` and the columns of `verdict_columns`."""
        threshold, limits = self.about["threshold"], Limits(**self.about["out_of_distribution"])
        interval = threshold["low"], threshold["high"]
        found = verdict_columns(scored, self.about["classes"], interval, limits)
        columns = [names, *(np.asarray(values).tolist() for values in found.values())]
        rows = [dict(zip(("file", *found), row, strict=True)) for row in zip(*columns, strict=True)]
        return [row | {"probability": row["probability"] if row["class"] else ""} for row in rows]


def load_pipeline(path: Path, threads: int = 1) -> LoadedPipeline:
    """Return an exported model to run on so many threads; raises ModelFileError for another or a damaged file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # what is wrong is raised
    options.add_session_config_entry("session.set_denormal_as_zero", "1")  # tiny numbers slow a CPU tenfold
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; export one with run_all.py --export")
    # a model that keeps numbers in other files is refused: none is exported so, and it could name any file
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own, of many kinds
        first = str(error).strip().splitlines()[0]
        raise ModelFileError(f"{path}: damaged or no ONNX file ({first}); export it again") from error
    texts = session.get_modelmeta().custom_metadata_map
    if "foreign" in texts:  # as version 0.1 called it
        texts["out_of_distribution"] = texts.pop("foreign")
    if texts.get("format") != FORMAT:
        raise ModelFileError(
            f"{path}: an ONNX file, but no exported study (its format is {texts.get('format', 'not given')!r}, "
            f"expected {FORMAT!r}); export it again"
        )
    try:
        about = {name: json.loads(text) if name in JSON else text for name, text in texts.items()}
        if lacking := {*JSON, *TEXTS} - about.keys():
            raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
    except ValueError as error:
        raise ModelFileError(f"{path}: its metadata are damaged ({error}); export it again") from error
    return LoadedPipeline(session, about)


def judge_files(model: LoadedPipeline, files: Sequence[Path], batch: int = 16) -> Iterator[dict[str, Any]]:
    """Yield one row per file, in their order; a file that cannot be used is `refused`, and the rest goes on."""
    batch = max(1, batch // model.about["settings"].get("tiles", 1) ** 2)
    for start in range(0, len(files), batch):
        images: dict[Path, NDArray[np.uint8]] = {}
        rows: dict[Path, dict[str, Any]] = {}
        for path in files[start : start + batch]:
            rows[path] = {"file": printable(str(path)), "verdict": REFUSED}
            try:
                rgb = read_rgb(path)
                if model.region:
                    model.region.check(rgb.shape[1], rgb.shape[0], path)
                images[path] = rgb
            except DatasetError as error:
                issue = error.issues[0]
                rows[path] |= {"reason": printable(issue.issue), "details": printable(issue.remedy)}
        if images:
            judged = model.verdicts([rows[path]["file"] for path in images], model.score([*images.values()]))
            rows |= dict(zip(images, judged, strict=True))
        yield from rows.values()


def images_in(places: Sequence[Path]) -> list[Path]:
    """Return the files named, and the images below the folders named, each folder's in order.

    Hidden ones and masks aside, as in an inspection; also those of kinds that are not read: they are refused by name
    later, not passed over.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            listing = walk(place)
            names = sorted([*listing.images, *(issue.file for issue in listing.issues)])
            found += [place / name for name in part_masks(names)[0]]
        else:
            found.append(place)
    return list(dict.fromkeys(found))


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns 0 where all images were judged, 1 where some were refused, 2 if none."""
    about = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m lib.deployment.onnx_predict", description=about)
    add = parser.add_argument
    add("model", type=Path, metavar="FILE.onnx", help="written by run_all.py --export")
    add("images", type=Path, nargs="+", metavar="IMAGES", help="folders or files")
    add("--csv", type=Path, metavar="OUT", help="write the verdicts there too")
    add("--threads", type=int, default=1, metavar="N", help="threads to compute with (default: 1)")
    add("--batch", type=int, default=16, metavar="N", help="images at once (default: 16)")
    options = parser.parse_args(arguments)
    if options.threads < 1 or options.batch < 1:
        parser.error(f"--threads {options.threads}, --batch {options.batch}: must be at least 1")
    try:
        model = load_pipeline(options.model, options.threads)
    except ModelFileError as error:
        print(error, file=sys.stderr)
        return 2
    files = images_in(options.images)
    if not files:
        places = ", ".join(map(str, options.images))
        print(f"{places}: no image there; name a folder with {', '.join(sorted(SUFFIXES))}", file=sys.stderr)
        return 2
    rows = []
    for row in judge_files(model, files, options.batch):
        print(printable(_line(row)), flush=True)
        rows.append({printable(k): printable(v) if isinstance(v, str) else v for k, v in row.items()})
    counts = Counter(row["verdict"] for row in rows)
    print(f"{len(rows)} images: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common()))
    print(printable(expected_performance(model.about)))
    if options.csv:
        text = io.StringIO()
        table = csv.DictWriter(text, max(rows, key=len), restval="", lineterminator="\n")
        table.writeheader()
        table.writerows({name: inert(value) for name, value in row.items()} for row in rows)
        write_text(options.csv, text.getvalue())
    return 2 if counts[REFUSED] == len(rows) else 1 if counts[REFUSED] else 0


def expected_performance(about: Mapping[str, Any]) -> str:
    """Return in words what to expect of the threshold in a model's metadata, and of what study it is."""
    found = about["threshold"]
    drawn = " (demo data, not a real product)" if about["stand_in"] else ""
    promised = "" if found["promised"] else " (not guaranteed: too few labelled defects)"
    return (
        f"{about['dataset']}{drawn}, study {about['study']}, features {about['features']}: threshold "
        f"{found['value']:.3g} for {100 * found['required']:g} % defect recall{promised}. Of new products of this kind "
        f"expect {100 * found['recall']:.1f} % of defects found ({100 * found['recall_low']:.1f} to "
        f"{100 * found['recall_high']:.1f} %) at {100 * found['false_rejects']:.1f} % false rejects "
        f"({100 * found['false_rejects_low']:.1f} to {100 * found['false_rejects_high']:.1f} %)"
    )


def _line(row: Mapping[str, Any]) -> str:
    why = " ".join(row[name] for name in ("reason", "details") if row[name])
    if row["verdict"] != REFUSED:
        predicted = f"{row['class']} {row['probability']:.3f}" if row["class"] else ""
        why = f"score {row['score']:.4f} {predicted} {why}".rstrip()
    return f"{row['verdict']:<8}{row['file']}  {why}"


if __name__ == "__main__":
    sys.exit(main())
