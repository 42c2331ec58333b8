"""Selection and classifiers against scikit-learn in the same run, and all of notebooks 04 and 05 on one data set."""

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from PIL import Image
from sklearn.feature_selection import mutual_info_classif
from sklearn.preprocessing import StandardScaler

from lib.classification.classifiers import HIDDEN, SEED, fit
from lib.execution.parallel import cores
from lib.execution.progress import BATCH
from lib.features.mutual_information import estimate_mutual_information
from lib.pipeline import features, maps
from lib.pipeline.classification import calibration, predictions
from lib.pipeline.dataset import index
from lib.pipeline.features import feature_all
from lib.pipeline.run import open_run
from lib.synthetic.products import PRODUCTS

from .batched_mlp import fit_predict_batched

pytestmark = pytest.mark.benchmark


def structured(codes: np.ndarray, columns: int, seed: int = 0) -> np.ndarray:
    """Features (n, columns) as a backbone gives them: 60 directions of falling strength, some of class, half zeros."""
    rng = np.random.default_rng(seed)
    means = 0.3 * rng.normal(size=(codes.max() + 1, 60))
    hidden = (means[codes] + rng.normal(size=(len(codes), 60))) / np.sqrt(1 + np.arange(60))
    mixed = hidden @ rng.normal(size=(60, columns)) + 0.3 * rng.normal(size=(len(codes), columns))
    return np.maximum(mixed, 0).astype(np.float32)


def shaft_codes() -> np.ndarray:
    return np.random.default_rng(1).permutation(np.repeat(np.arange(4), list(PRODUCTS["shaft"].values())))


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of one thread, so that other work on the machine disturbs little, and the result."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def test_mutual_information_ten_times_faster_than_sklearn(capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.arange(4000) % 4
    X = structured(labels, 1024)
    estimate_mutual_information(X[:, :8], labels, seed=0)
    ours, found = seconds(lambda: estimate_mutual_information(X, labels, seed=0))
    theirs, expected = seconds(lambda: mutual_info_classif(X, labels, random_state=0))
    with capsys.disabled():
        print(
            f"\n4,000 x 1,024: scikit-learn {theirs:.2f} s, here {ours:.2f} s, x{theirs / ours:.1f}; "
            f"largest difference {np.abs(found - expected).max():.1e}"
        )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    assert theirs / ours >= 10


@pytest.mark.parametrize(("columns", "models"), [(9, 3), (61, 3), (1024, 1)])
def test_networks_in_a_batch_against_scikit_learn(
    capsys: pytest.CaptureFixture[str], columns: int, models: int
) -> None:
    """Why the study keeps scikit-learn's network: see the ratio, and how far single probabilities part."""
    codes = shaft_codes()
    X, train = structured(codes, 1024), np.arange(len(codes)) % 10 > 0
    chosen = [np.random.default_rng(i).choice(1024, columns, replace=False) for i in range(models)]
    scaled = [StandardScaler().fit(X[np.ix_(train, c)]).transform(X[:, c]) for c in chosen]
    names = [str(code) for code in range(4)]
    words = codes.astype(str)

    def one(rows: np.ndarray) -> tuple[np.ndarray, int]:
        model = fit(rows[train], words[train], names, scale="none")
        return model.probabilities(rows[~train]), model.iterations

    def batched(parts: list[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
        return fit_predict_batched([p[train] for p in parts], codes[train], [p[~train] for p in parts], HIDDEN, SEED)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        theirs, known = seconds(lambda: [one(rows) for rows in scaled])
        together, (found, passes) = seconds(lambda: batched(scaled))
        apart, single = seconds(lambda: [batched([rows])[0][0] for rows in scaled])
    finally:
        torch.set_num_threads(threads)
    differences = [np.abs(a - b[0]) for a, b in zip(found, known, strict=True)]
    with capsys.disabled():
        print(
            f"\n{models} network(s) of {columns} columns, 3,824 rows: scikit-learn {theirs:.2f} s, PyTorch batched "
            f"{together:.2f} s (x{theirs / together:.2f}), one by one {apart:.2f} s; passes "
            f"{[b[1] for b in known]} and {passes}; probabilities part from scikit-learn's by up to "
            f"{max(d.max() for d in differences):.3f} (mean {np.mean([d.mean() for d in differences]):.4f}), batched "
            f"from one by one by {max(np.abs(a - b).max() for a, b in zip(found, single, strict=True)):.1e}"
        )
    agree = [(a.argmax(1) == b[0].argmax(1)).mean() for a, b in zip(found, known, strict=True)]
    assert min(agree) > 0.8


def test_notebooks_04_and_05_on_4249_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten folds, four levels, every baseline, calibration; the features are given: the goal is 600 s on two cores."""
    monkeypatch.setenv(BATCH, "1")  # a line per fold instead of progress bars
    rng = np.random.default_rng(0)
    for name, count in PRODUCTS["shaft"].items():
        folder = tmp_path / "rods" / name
        folder.mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / f"{number}.png")
    settings = {
        "folds": 10, "mlp": (512, 100), "keep": (0.25, 0.5, 0.75, 1.0), "inner_folds": 3, "draem_steps": 1,
        "reconstructive_width": 1, "discriminative_width": 1, "weights": "random-init", "device": "cpu",
    }  # fmt: skip
    run = open_run("rods", "smoke", str(tmp_path / "rods"), str(tmp_path / "study"), settings)
    labels = index(run)["label"].to_numpy(dtype=str)
    codes = np.unique(labels, return_inverse=True)[1]
    both = structured(codes, 1024)
    noise = rng.random((len(codes), 32, 32), dtype=np.float32) ** (1 + rng.random((len(codes), 1, 1)))
    drawn = noise * (0.5 + 0.5 * (labels != "good") * rng.random(len(codes)))[:, None, None]

    def given_maps(reconstructive: object, discriminative: object, stack: object, out: np.ndarray, device: str):
        out[:] = drawn

    monkeypatch.setattr(features, "image_features", lambda *_, **__: both[:, :512])
    monkeypatch.setattr(features, "map_features", lambda *_, **__: both[:, 512:])
    monkeypatch.setattr(maps, "anomaly_maps", given_maps)
    feature_all(run)

    get_reusable_executor().shutdown(wait=True)
    spent = []
    for name, work in {
        "classification": lambda: predictions(run, "classification"),
        "calibration": lambda: calibration(run),
        "imbalance": lambda: predictions(run, "imbalance"),
    }.items():
        began, cpu = time.perf_counter(), _cpu()
        work()
        elapsed = time.perf_counter() - began
        get_reusable_executor().shutdown(wait=True)  # only then its processes' time is known
        spent.append(f"{name} {elapsed:.0f} s ({_cpu() - cpu:.0f} s of CPU)")
    fits = predictions(run, "imbalance")[1]
    by_set = fits.groupby(["features", fits["keep"] == 1])[["seconds", "iterations"]].mean().round(1)
    with capsys.disabled():
        print(
            f"\n{len(labels):,} images, {cores()} processes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}: "
            f"{', '.join(spent)}\n{by_set.to_string()}"
        )
    assert set(fits["split"]) == {f"stratified-{fold}" for fold in range(10)}


def _cpu() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
