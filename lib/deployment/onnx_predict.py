"""Verdicts on pictures by an exported chain, with Pillow, NumPy and onnxruntime alone.

python -m lib.deployment.onnx_predict FILE.onnx FOLDER_OR_PICTURES... [--csv OUT] [--threads N]
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lib.artifacts import write_text
from lib.datasets.errors import DatasetError, Issue, printable
from lib.datasets.image_io import FOREIGN_SUFFIXES, SUFFIXES, read_rgb, resize_rgb
from lib.datasets.layouts import GROUND_TRUTH
from lib.inspection.decisions import OOD, REFUSED, ThresholdRange, decide, describe_reason, predicted_class
from lib.inspection.out_of_distribution import Limits, brightness_contrast, ood_reasons

FORMAT = "inspection-chain-1"  # what metadata of this kind hold
JSON = ("classes", "feature_size", "foreign", "parity", "settings", "stand_in", "threshold")
TEXTS = ("dataset", "features", "resize", "study")  # and others, for people

INPUT = "pictures_"  # and a side: the name of an input that takes pictures (n, side, side, 3) uint8
MEASURES = ("width", "height", "brightness", "contrast")


class ModelFileError(ValueError):
    """The file is no chain that this program can run; the message says why and what to do."""


@dataclass(frozen=True)
class Scored:
    """What a chain says of n pictures: `outputs` by name (`onnx_model.OUTPUTS`), sizes (n, 2), exposure (n,)."""

    outputs: Mapping[str, NDArray[np.float32]]
    sizes: NDArray[np.int64]
    brightness: NDArray[np.float64]
    contrast: NDArray[np.float64]


@dataclass(frozen=True)
class LoadedPipeline:
    """An exported chain, ready to run."""

    session: onnxruntime.InferenceSession
    about: Mapping[str, Any]  # the metadata, with JSON read

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides in pixels at which it is shown each picture."""
        return tuple(int(given.shape[1]) for given in self.session.get_inputs())

    def run(self, pictures: Mapping[int, NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
        """Return its outputs of the same n pictures at each side, (n, side, side, 3) uint8."""
        given = {f"{INPUT}{side}": pictures[side] for side in self.sides}
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, given), strict=True))

    def score(self, pictures: Sequence[NDArray[np.uint8]]) -> Scored:
        """Score decoded pictures (h, w, 3) uint8 of any size, resized by the study's rule."""
        how = self.about["resize"]
        stacks = {side: np.stack([resize_rgb(rgb, side, how) for rgb in pictures]) for side in self.sides}
        sizes = np.array([(rgb.shape[1], rgb.shape[0]) for rgb in pictures], dtype=np.int64)
        return Scored(self.run(stacks), sizes, *brightness_contrast(stacks[self.about["feature_size"]]))


def load_pipeline(path: Path, threads: int = 1) -> LoadedPipeline:
    """Load an exported chain to run on so many threads; raises ChainError for another or a damaged file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # what is wrong is raised
    options.add_session_config_entry("session.set_denormal_as_zero", "1")  # tiny numbers slow a CPU tenfold
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; export one with run_all.py --export")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own, of many kinds
        first = str(error).strip().splitlines()[0]
        raise ModelFileError(f"{path}: damaged or no ONNX file ({first}); export it again") from error
    told = session.get_modelmeta().custom_metadata_map
    if told.get("format") != FORMAT:
        raise ModelFileError(
            f"{path}: an ONNX file, but no chain of this kind (its format is {told.get('format', 'not given')!r}, "
            f"expected {FORMAT!r}); export it again"
        )
    if missing := sorted({*JSON, *TEXTS} - set(told)):
        raise ModelFileError(f"{path}: its metadata lack {', '.join(missing)}; export it again")
    try:
        about = {name: json.loads(text) if name in JSON else text for name, text in told.items()}
    except ValueError as error:
        raise ModelFileError(f"{path}: its metadata are damaged ({error}); export it again") from error
    return LoadedPipeline(session, about)


def verdicts(chain: LoadedPipeline, names: Sequence[str], scored: Scored) -> list[dict[str, Any]]:
    """Return one row per picture, with columns of the notebook's verdicts: see `columns`."""
    limits, threshold, classes = chain.about["foreign"], chain.about["threshold"], chain.about["classes"]
    ends, outputs = ThresholdRange(threshold["low"], threshold["high"]), scored.outputs
    allowed = Limits(limits["limit"], limits["ranges"])
    foreign = ood_reasons(
        allowed, scored.sizes, scored.brightness, scored.contrast, outputs["distance"].astype(np.float64)
    )
    found, reasons = decide(outputs["score"], ends, foreign)
    place = predicted_class(outputs["probabilities"], found)
    words = describe_reason(outputs["score"], ends, reasons, foreign)
    rows = []
    for row, name in enumerate(names):
        chances = [float(chance) for chance in outputs["probabilities"][row]]
        strange = reasons[row] == OOD
        told: dict[str, Any] = {
            "file": name,
            "verdict": found[row],
            "reason": reasons[row],
            "details": words[row],
        }
        told |= {"score": float(outputs["score"][row])}
        told |= {"class": "" if strange else classes[place[row]]}
        told |= {"probability": "" if strange else chances[place[row]]}
        told |= {f"p:{label}": chance for label, chance in zip(classes, chances, strict=True)}
        told |= {name: float(outputs[name][row]) for name in ("map_score", "distance")}
        measures = (*scored.sizes[row].tolist(), float(scored.brightness[row]), float(scored.contrast[row]))
        rows.append(told | dict(zip(MEASURES, measures, strict=True)))
    return rows


def columns(chain: LoadedPipeline) -> list[str]:
    """Return the columns of a table of verdicts."""
    before = ["file", "verdict", "reason", "details", "score", "class", "probability"]
    return before + [f"p:{name}" for name in chain.about["classes"]] + ["map_score", "distance", *MEASURES]


def judge_files(chain: LoadedPipeline, files: Sequence[Path], batch: int = 16) -> Iterator[dict[str, Any]]:
    """Yield one row per file, in their order; a file that cannot be used is `refused`, and the rest goes on."""
    for start in range(0, len(files), batch):
        read: dict[Path, NDArray[np.uint8]] = {}
        refused: dict[Path, Issue] = {}
        for path in files[start : start + batch]:
            try:
                read[path] = read_rgb(path)
            except DatasetError as error:
                refused[path] = error.issues[0]
        names = [printable(str(path)) for path in read]
        judged = verdicts(chain, names, chain.score(list(read.values()))) if read else []
        rows = dict(zip(read, judged, strict=True))
        for path in files[start : start + batch]:
            yield rows[path] if path in rows else _row_of(refused[path])


def pictures_in(places: Sequence[Path]) -> list[Path]:
    """Return the files named, and the pictures below the folders named, each folder's in order.

    Hidden ones and MVTec AD's masks (`ground_truth/`) aside; also those of kinds that are not read: they are refused
    by name later, not passed over.
    """
    found: dict[Path, None] = {}
    for place in places:
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        for path in inside:
            below = path.relative_to(place).parts if path != place else ()
            if path == place or (
                path.suffix.lower() in SUFFIXES | FOREIGN_SUFFIXES
                and path.is_file()
                and not any(part.startswith(".") or part == GROUND_TRUTH for part in below)
            ):
                found[path] = None
    return list(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns 0 where all pictures were scored, 1 where some were refused, 2 if none."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.deployment.onnx_predict", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("chain", type=Path, metavar="FILE.onnx", help="written by run_all.py --export")
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURES", help="folders or files")
    parser.add_argument("--csv", type=Path, metavar="OUT", help="write the verdicts there too")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads to compute with (default: 1)"
    )
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="pictures at once (default: 16)")
    options = parser.parse_args(arguments)
    if options.threads < 1 or options.batch < 1:
        parser.error(f"--threads {options.threads}, --batch {options.batch}: must be at least 1")
    try:
        chain = load_pipeline(options.chain, options.threads)
    except ModelFileError as error:
        print(error, file=sys.stderr)
        return 2
    files = pictures_in(options.pictures)
    if not files:
        shown = ", ".join(map(str, options.pictures))
        print(f"{shown}: no picture there; name a folder with {', '.join(sorted(SUFFIXES))}", file=sys.stderr)
        return 2
    rows = []
    for row in judge_files(chain, files, options.batch):
        print(_line(row), flush=True)
        rows.append(row)
    counted = Counter(row["verdict"] for row in rows)
    print(f"{len(rows)} pictures: " + ", ".join(f"{n} {verdict}" for verdict, n in counted.most_common()))
    print(promise(chain))
    if options.csv:
        write_text(options.csv, as_csv(chain, rows))
    return 2 if counted[REFUSED] == len(rows) else 1 if counted[REFUSED] else 0


def promise(chain: LoadedPipeline) -> str:
    """Return in words what the threshold is expected to do, and to what it belongs."""
    about, told = chain.about, chain.about["threshold"]
    drawn = ", drawn stand-ins: not a real product" if about["stand_in"] else ""
    promised = "" if told["promised"] else " (too few labelled defects to promise it)"
    return (
        f"{about['dataset']}{drawn}, study {about['study']}, features {about['features']}: threshold "
        f"{told['value']:.3g} for {100 * told['required']:g} % defect recall{promised}; of new products of this kind "
        f"expect {told['recall']:.1%} of defects found ({told['recall_low']:.1%} to {told['recall_high']:.1%}) at "
        f"{told['false_rejects']:.1%} false rejects ({told['false_rejects_low']:.1%} to "
        f"{told['false_rejects_high']:.1%})"
    )


def as_csv(chain: LoadedPipeline, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as CSV."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns(chain), restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _row_of(issue: Issue) -> dict[str, Any]:
    reason, details = printable(issue.issue), printable(issue.remedy)
    return {"file": printable(issue.file), "verdict": REFUSED, "reason": reason, "details": details}


def _line(row: Mapping[str, Any]) -> str:
    told = " ".join(str(row[name]) for name in ("reason", "details") if row[name])
    if row["verdict"] != REFUSED:
        called_as = f"{row['class']} {row['probability']:.3f}" if row["class"] else ""
        told = f"score {row['score']:.4f} {called_as} {told}".rstrip()
    return f"{row['verdict']:<8}{row['file']}  {told}"


if __name__ == "__main__":
    sys.exit(main())
