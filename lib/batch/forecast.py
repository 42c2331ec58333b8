"""What a study needs on this machine, by notebook: seconds, memory of one task, disk; rough, from a few rates."""

from contextlib import suppress
from pathlib import Path

import pandas as pd
from platformdirs import user_cache_path

from lib.artifacts import HOST, write_text
from lib.datasets.splits import N_INNER
from lib.draem.detector import network_bytes, training_image
from lib.features.backbone_weights import grid
from lib.features.backbone_weights import size_of as backbone_size
from lib.pipeline.dataset import index, repeated, splits
from lib.pipeline.run import PROCESS, Run, classifier_cost, feature_cost, fit_cost, map_cost
from lib.reporting.html_pages import NOTEBOOKS
from lib.synthetic.products import image_counts

GUESSES = {"cpu": 1.0, "mps": 0.05, "cuda": 5e-4}  # a CPU's core, a laptop's GPU (no measurement), an H200
LONG_ENOUGH = 60.0  # seconds of training that tell a speed
START = 8.0  # seconds of a kernel's start and imports, paid once per data set
BESIDE = 2.5, 0.0016  # seconds of a notebook besides, and of each image more: measures, figures, HTML
# What a split's feature sets cost, in fits of `image`: those always there, map-guided ones, baselines.
FITS, GUIDED_FITS, BASELINE_FITS = 3.2, 2.0, 7.0


def stored_speed(run: Run) -> float | None:
    """Return how many times the seconds of `lib.pipeline.run` networks took here; None where not known."""
    with suppress(OSError, ValueError):
        return float(_speed_file(run).read_text(encoding="utf-8"))
    return None


def store_speed(run: Run) -> None:
    """Store how fast this host trained the study's DRAEMs in one go, with this number of threads, on this device."""
    manifests = (run.store.manifest(name) or {} for name in run.store.names() if name.startswith("draem/"))
    summaries = [model["summary"] for model in manifests if model.get("host") == HOST]
    wanted = {"device": run.device, "resumed": False}
    trained = [one for one in summaries if "steps" in one and one.items() >= wanted.items()]
    seconds = sum(one["seconds"] for one in trained)
    if seconds >= LONG_ENOUGH:
        images = run.study.draem_batch * sum(one["steps"] for one in trained)
        with suppress(OSError):  # without a cache folder the guess stays
            write_text(_speed_file(run), f"{seconds / (images * training_image(run.study))}\n")


def _speed_file(run: Run) -> Path:
    return user_cache_path("anomaly-map-study") / f"{HOST}-{run.device}-{run.study.threads}-threads.txt"


def size_of(run: Run) -> tuple[int, int, int]:
    """Return a data set's images, good images, splits of all repeats; a drawn product's before it is drawn."""
    if run.synthetic:
        counts = image_counts(run.dataset, run.study.synthetic_scale)
        return sum(counts.values()), counts["good"], run.study.folds * run.study.repeats
    table = index(run)
    good = int((table["label"] == table.attrs["good"]).sum())
    return len(table), good, len(repeated(run, splits(run)))


def forecast(run: Run, size: tuple[int, int, int], speed: float, tasks: int = 1) -> pd.DataFrame:
    """Return what each notebook takes for one data set, its share of 06 included, `tasks` folds at a time.

    `size`: see `size_of`; `speed`: how many times the seconds of `lib.pipeline.run` networks take; on a CPU,
    classifiers as well. Columns: seconds; memory, bytes of one task at the least, mapped files and GPU aside; disk,
    bytes of artefacts; 0 where it is negligible.
    """
    (images, good, n_splits), study, cpu = size, run.study, run.device == "cpu"
    mapped = n_splits if study.leak_check == "all" else study.folds * study.repeats  # splits with maps
    n_good = round(good * (1 - 1 / study.folds))
    models = 1 if study.map_method == "in_sample" else N_INNER  # of a fold
    training = models * mapped * fit_cost(run, n_good // models, models)["seconds"]
    trainer = fit_cost(run, n_good, 1)["memory"] if cpu else PROCESS + n_good * 3 * study.map_side**2
    maps, features = map_cost(run, mapped * images), feature_cost(run, images)
    classifier, network = classifier_cost(run, images), backbone_size(study.backbone)
    thinned = classifier["seconds"] * (FITS * n_splits + GUIDED_FITS * study.guided * mapped)
    fits = thinned * study.inner_folds + classifier["seconds"] * BASELINE_FITS * study.baselines * mapped
    # bytes of an image: maps and patches are in half precision
    kept = (1 + mapped) * network.n_features * 4 + grid(study.feature_side) ** 2 * network.n_channels * 2
    at_once = max(1, min(tasks, n_splits))
    device, core = speed / at_once, (speed if cpu else 1.0) / at_once
    rows = (
        (images * 0.01, 0, images * 3 * (study.map_side**2 + study.feature_side**2)),
        (device * training, trainer, models * mapped * network_bytes(study) * (study.map_source == "draem")),
        (device * maps["seconds"], 0, mapped * images * 2 * study.map_side**2),
        (device * (1 + mapped) * features["seconds"], features["memory"] if cpu else PROCESS, images * kept),
        (core * fits, classifier["memory"], 0),
        (core * thinned * sum(share for share in study.keep if share < 1), classifier["memory"], 0),
        (0, 0, 0),
    )
    found = pd.DataFrame(rows, NOTEBOOKS, ["seconds", "memory", "disk"], dtype=float)
    return found.assign(seconds=found["seconds"] + BESIDE[0] + BESIDE[1] * images)
