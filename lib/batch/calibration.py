"""How fast this machine is, measured once and kept in the user's cache folder: `python -m lib.batch.calibration`."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from lib.artifacts import HOST, write_text
from lib.config import Study
from lib.execution.parallel import limit_threads
from lib.pipeline.run import FIT


@dataclass(frozen=True)
class Machine:
    """How many times the seconds of `lib.pipeline.run` a machine takes: networks on its device, classifiers."""

    networks: float = 1.0
    classifiers: float = 1.0


GUESSES = {"cpu": Machine(), "cuda": Machine(networks=5e-4)}  # as in docs/draem.md: a CPU's core, an H200


def stored_calibration(study: Study, device: str) -> Machine | None:
    """Return what was measured with this host, PyTorch, number of threads and device; None where nothing was."""
    try:
        return Machine(**json.loads(_file(study, device).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def calibrate(study: Study, device: str) -> Machine:
    """Measure this machine for some seconds, at the sizes of quick or, on a GPU, of standard; store the result."""
    from lib.classification.classifiers import fit as fit_classifier
    from lib.draem.detector import training_image
    from lib.draem.training import TrainingSettings, train
    from lib.synthetic.textures import procedural_textures

    large = {"image_size": 256, "reconstructive_width": 128, "discriminative_width": 64}
    sizes = Study.of("quick", large if device == "cuda" else {})
    rng, side = np.random.default_rng(0), sizes.image_size
    images = rng.integers(0, 255, (16, side, side, 3), dtype=np.uint8)
    textures = procedural_textures(8, side, 0)
    columns = rng.normal(size=(400, 20)).astype(np.float32)
    labels = np.where(columns[:, 0] > 0, "a", "b")

    def steps(count: int) -> float:
        widths = sizes.reconstructive_width, sizes.discriminative_width
        settings = TrainingSettings(*widths, steps=count, batch=8, seed=0)
        return _seconds(lambda: train(images, textures, settings, device=device))

    with limit_threads(study.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        steps(1)
        step = max(steps(5) - steps(1), 1e-3) / 4
        fit = _seconds(lambda: fit_classifier(columns, labels, ("a", "b"), hidden=sizes.mlp))
    found = Machine(step / (8 * training_image(sizes)), fit / FIT)
    with suppress(OSError):  # without a home it is measured again the next time
        write_text(_file(study, device), json.dumps(asdict(found)) + "\n")
    return found


def _file(study: Study, device: str) -> Path:
    name = f"{HOST}-torch-{version('torch')}-{device}-{study.threads}-threads.json"
    return user_cache_path("anomaly-map-study") / name


def _seconds(work: Callable[[], object]) -> float:
    import torch

    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    from lib.pipeline.run import Run

    print(calibrate(Study.of("quick"), Run("", Study.of("quick"), "").device))
