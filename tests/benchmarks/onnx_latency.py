"""How long a picture takes on a line: exported chains on one and two threads, beside the same chain in torch.

python -m tests.benchmarks.onnx_latency [--quick]

Weights are random, as none of them changes how long it takes, except the backbone's. On one thread CPU time
counts, on two the time on the clock, the least of several alternating repetitions. The table goes to
outputs/benchmarks/onnx-latency.{csv,md}.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import torch
from PIL import Image

from lib.anomaly_maps.patchcore import PatchCore
from lib.classification.classifiers import fit
from lib.config import Study
from lib.datasets.image_io import decode, resize_rgb, to_rgb
from lib.deployment.onnx_export import export_onnx, write_onnx
from lib.deployment.onnx_model import OnnxPipeline, classifier, nearest_distance
from lib.deployment.onnx_predict import INPUT
from lib.draem.inference import Draem
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.features.backbone import load_backbone
from lib.features.backbone_weights import grid
from lib.inspection.decisions import training_reference

from .test_draem_benchmarks import OUTPUT, machine

MODELS = {  # map source, columns, sides of maps and of features
    "PatchCore 96 px, image + statistics + guided": ("patchcore", ("image", "stats", "guided"), (64, 96)),
    "DRAEM 64 px (quick), image + map": ("draem", ("image", "map"), (64, 96)),
    "DRAEM 128 px (standard, CPU), image + map": ("draem", ("image", "map"), (128, 224)),
    "PatchCore 224 px, image + statistics + guided": ("patchcore", ("image", "stats", "guided"), (256, 224)),
}
BATCHES = (1, 16)
REPETITIONS = {1: 9, 16: 3}
LABELLED = 1000


def pipeline_of(source: str, columns: tuple[str, ...], sides: tuple[int, int]) -> OnnxPipeline:
    """Return a pipeline as the study would build it, with random weights."""
    rng, names = np.random.default_rng(0), ("image_size", "feature_size")
    study = Study.of("quick", dict(zip(names, sides, strict=True)) | {"map_source": source})
    image_size, feature_size = sides
    places, net = grid(feature_size), load_backbone(study.backbone, side=feature_size)
    widths = {"image": net.n_features, "map": net.n_features, "stats": 9}
    count = sum(widths.get(name, len(study.guided_patches) * net.n_channels) for name in columns)
    values, labels = rng.normal(size=(60, count)).astype(np.float32), rng.choice(["good", "a", "b"], 60)
    if source == "patchcore":
        memory = PatchCore(torch.rand(1000 if feature_size < 200 else 2000, net.n_channels), 5.0, 4.0, image_size)
        maps = memory.exported(places)
    else:
        width = image_size // 4
        nets = ReconstructiveNetwork(width, seed=1), DiscriminativeNetwork(width // 2, seed=2)
        maps = Draem(*nets).exported()
    exposure, shapes = rng.uniform(0.4, 0.6, (LABELLED, 2)), np.full((LABELLED, 2), feature_size)
    embeddings = rng.normal(size=(LABELLED, net.n_features)).astype(np.float32)
    return OnnxPipeline(
        study,
        net,
        maps,
        columns,
        nearest_distance(training_reference(embeddings, np.arange(LABELLED), shapes, exposure)),
        classifier(range(count), fit(values, labels, ("good", "a", "b"))),
        good_mean=torch.rand(places, places, net.n_channels),
    )


def least(first: Callable[[], object], second: Callable[[], object], repetitions: int, threads: int) -> list[float]:
    """Return the least seconds of two functions called in turn."""
    clock = time.process_time if threads == 1 else time.perf_counter
    found: list[list[float]] = [[], []]
    for _ in range(repetitions):
        for times, function in zip(found, (first, second), strict=True):
            began = clock()
            function()
            times.append(clock() - began)
    return [min(times) for times in found]


def measured(name: str, chain: OnnxPipeline, folder: Path, threads: tuple[int, ...]) -> list[dict[str, object]]:
    """Time one chain in torch and exported; returns a row per number of threads and batch."""
    path, rng, rows = folder / "chain.onnx", np.random.default_rng(0), []
    write_onnx(export_onnx(chain), path, {})
    for count in threads:
        torch.set_num_threads(count)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = count, 1
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for batch in BATCHES:
            given = [rng.integers(0, 256, (batch, side, side, 3), dtype=np.uint8) for side in chain.inputs]
            tensors = [torch.from_numpy(one) for one in given]
            named = {f"{INPUT}{side}": one for side, one in zip(chain.inputs, given, strict=True)}
            with torch.inference_mode():
                in_torch, as_file = least(
                    lambda tensors=tensors: chain(*tensors),
                    lambda session=session, named=named: session.run(None, named),
                    REPETITIONS[batch],
                    count,
                )
            rows.append(
                {
                    "chain": name,
                    "MB": round(path.stat().st_size / 1e6),
                    "threads": count,
                    "batch": batch,
                    "torch, ms per image": round(1e3 * in_torch / batch, 1),
                    "ONNX, ms per image": round(1e3 * as_file / batch, 1),
                    "ratio": round(as_file / in_torch, 2),
                }
            )
            print(rows[-1], flush=True)
    return rows


def map_method() -> dict[str, float]:
    """Return milliseconds to decode a picture and resize it to 64 and 96 px, by what it is."""
    rng, found = np.random.default_rng(0), {}
    for what, (height, width), kind in (("128 px PNG", (128, 128), "PNG"), ("1.2 Mpx JPEG", (960, 1280), "JPEG")):
        smooth = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(smooth).resize((width, height)).save(file, kind)
        content = file.getvalue()

        def read(content: bytes = content) -> None:
            rgb = to_rgb(decode(content, Path("picture")))
            for side in (64, 96):
                resize_rgb(rgb, side)

        found[what] = round(1e3 * least(read, read, 9, 1)[0], 1)
    return found


def main() -> None:
    """Measure all chains and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the two smaller chains only")
    options = parser.parse_args()
    names, rows = list(MODELS)[: 2 if options.quick else None], []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            rows += measured(name, pipeline_of(*MODELS[name]), Path(folder), (1, 2))
    table = pd.DataFrame(rows)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    table.to_csv(OUTPUT / "onnx-latency.csv", index=False)
    lines = [table.columns, ["---"] * table.shape[1], *table.astype(str).to_numpy()]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    told = ", ".join(f"{what} {milliseconds} ms" for what, milliseconds in map_method().items())
    about = f"{machine()}, onnxruntime {onnxruntime.__version__}; decoding and resizing: {told}"
    (OUTPUT / "onnx-latency.md").write_text(f"{about}\n\n{text}", encoding="utf-8")
    print(f"{about}\n{table.to_string(index=False)}")


if __name__ == "__main__":
    main()
