"""Ours against the naive version, in the same run; the table goes to outputs/benchmarks/draem-cpu.{csv,md}.

The best of several alternating repetitions counts, so that what else the machine does disturbs both alike; on one
thread it is the CPU time, on several the time on the clock.
"""

import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lib.draem import simulation as ours
from lib.draem.inference import Draem
from lib.draem.losses import focal_loss, ssim_loss
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.draem.training import TrainingSettings, train

from . import naive_draem as naive

pytestmark = pytest.mark.benchmark
OUTPUT = Path(__file__).parents[2] / "outputs" / "benchmarks"
SIZES = {  # side, widths: images to train on, images to map, repetitions
    (64, 16, 8): (64, 64, 6),
    (128, 32, 16): (16, 16, 3),
    (256, 128, 64): (2, 2, 1),
}


@pytest.fixture(scope="module")
def rows():
    """Rows measured by this module; the table on the disk keeps those of other runs under other names."""
    measured: list[dict[str, object]] = []
    yield measured
    OUTPUT.mkdir(parents=True, exist_ok=True)
    path = OUTPUT / f"draem-{'cuda' if torch.cuda.is_available() else 'cpu'}.csv"
    table = pd.DataFrame(measured, dtype=str)
    if path.exists():
        table = pd.concat((pd.read_csv(path, dtype=str), table))
        table = table.drop_duplicates(["what", "threads"], keep="last")
    table.to_csv(path, index=False)
    lines = [table.columns, ["---"] * table.shape[1], *table.to_numpy()]
    text = "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
    path.with_suffix(".md").write_text(f"{machine()}\n\n{text}", encoding="utf-8")
    print(f"\n{machine()}\n{table.to_string(index=False)}")


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def machine() -> str:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else []
    name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    return (
        f"{name or platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, PyTorch "
        f"{torch.__version__}, NumPy {np.__version__}, Pillow {Image.__version__}"
    )


def compare(
    rows: list, what: str, threads: int, images: int, repetitions: int, baseline: Callable, candidate: Callable
) -> float:
    """Milliseconds per image of both, best of the repetitions after one to warm up; returns the ratio."""
    clock = time.process_time if threads == 1 else time.perf_counter
    best = [float("inf"), float("inf")]
    for repetition in range(repetitions + 1):
        for index, function in enumerate((baseline, candidate)):
            start = clock()
            function()
            if repetition or repetitions == 1:
                best[index] = min(best[index], (clock() - start) / images * 1e3)
        if repetitions == 1:
            break
    ratio = best[0] / best[1]
    row = {
        "what": what,
        "threads": threads,
        "baseline_ms": f"{best[0]:.3f}",
        "ours_ms": f"{best[1]:.3f}",
        "ours_per_s": f"{1e3 / best[1]:.1f}",
        "ratio": f"{ratio:.1f}",
    }
    rows.append(row)
    print(row)
    return ratio


def pictures(count: int, side: int) -> np.ndarray:
    """Smooth images with some noise, so that files compress as photographs do."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    smooth = [np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC), np.int16) for c in coarse]
    return (np.stack(smooth) + rng.integers(-8, 9, (count, side, side, 3))).clip(0, 255).astype(np.uint8)


def as_bank(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("threads", [1], indirect=True)
@pytest.mark.parametrize("naive_input", ["in memory", "reading files"])
@pytest.mark.parametrize(("side", "batch"), [(64, 32), (256, 8)])
def test_simulation(rows, threads, side, batch, naive_input, tmp_path):
    goods, textures = pictures(batch, side), pictures(20, 256)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    if naive_input == "in memory":
        sources = [Image.fromarray(image) for image in goods]
        anomalies = [Image.fromarray(texture).resize((side, side)) for texture in textures]
    else:  # what a loader does at each step: decode and resize
        sources, anomalies = photographs(batch, 256, tmp_path)
    images, bank = as_bank(goods).float() / 255, as_bank(pictures(20, side))
    repeats = 4 if side == 64 else 1
    compare(
        rows,
        f"simulation {side} px, naive {naive_input}",
        threads,
        batch * repeats,
        4,
        lambda: [naive.simulate(sources, anomalies, side, rng) for _ in range(repeats)],
        lambda: [ours.simulate(images, bank, generator) for _ in range(repeats)],
    )


def photographs(count: int, side: int, folder: Path) -> tuple[list[Path], list[Path]]:
    """Files of `count` good images and of 20 textures of a size usual in DTD (300 to 640 px)."""
    return save(pictures(count, side), folder / "good"), save(pictures(20, 480), folder / "texture")


def save(images: np.ndarray, folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.jpg", quality=92)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("threads", sorted({1, os.cpu_count()}), indirect=True)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}px-{}-{}".format(*size))
def test_training(rows, threads, size, tmp_path):
    """End to end: files to simulated batch, both networks, losses, Adam; ours resizes textures, builds networks too."""
    baseline, candidate, what, count = both_loops(size, tmp_path)
    compare(rows, what, threads, count, SIZES[size][2], baseline, candidate)


def both_loops(size: tuple[int, int, int], folder: Path) -> tuple[Callable, Callable, str, int]:
    side, wide, narrow = size
    count = SIZES[size][0]
    goods, textures = pictures(count, side), as_bank(pictures(20, 480))
    sources, anomalies = photographs(count, side, folder)
    batch = min(8, count)
    rng = np.random.default_rng(0)
    reconstructive, discriminative = ReconstructiveNetwork(wide), DiscriminativeNetwork(narrow)
    optimiser = torch.optim.Adam([*reconstructive.parameters(), *discriminative.parameters()], lr=1e-4)
    steps = count // batch

    def baseline() -> None:
        for step in range(steps):
            simulated = naive.simulate(sources[step * batch : (step + 1) * batch], anomalies, side, rng)
            naive.training_step(reconstructive, discriminative, optimiser, simulated)

    settings = TrainingSettings(wide, narrow, steps=steps, batch=batch)
    what = f"training {side} px, widths {wide}/{narrow}"
    return baseline, lambda: train(goods, textures, settings), what, count


@pytest.mark.parametrize("threads", [os.cpu_count()], indirect=True)
def test_folds_side_by_side(rows, threads, tmp_path):
    """As many folds as cores, one thread each, against the naive loop with all the threads: what a study gets."""
    size = (64, 16, 8)
    baseline, _, what, count = both_loops(size, tmp_path)
    with ProcessPoolExecutor(threads, multiprocessing.get_context("spawn")) as pool:
        folds = [tmp_path / str(fold) for fold in range(threads)]
        list(pool.map(_one_fold, folds, [size] * threads))  # imports, first allocations
        compare(
            rows,
            f"{what}, {threads} folds side by side",
            threads,
            count * threads,
            5,
            lambda: [baseline() for _ in range(threads)],
            lambda: list(pool.map(_one_fold, folds, [size] * threads)),
        )


_prepared: dict[Path, Callable] = {}


def _one_fold(folder: Path, size: tuple[int, int, int]) -> None:
    torch.set_num_threads(1)
    if folder not in _prepared:
        folder.mkdir(exist_ok=True)
        _prepared[folder] = both_loops(size, folder / str(os.getpid()))[1]
    _prepared[folder]()


@pytest.mark.parametrize("threads", [os.cpu_count()], indirect=True)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}px-{}-{}".format(*size))
def test_inference(rows, threads, size):
    side, wide, narrow = size
    _, count, repetitions = SIZES[size]
    images = pictures(count, side)
    reconstructive, discriminative = ReconstructiveNetwork(wide).eval(), DiscriminativeNetwork(narrow).eval()

    def baseline() -> None:
        with torch.no_grad():
            for image in images:
                x = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)[None]
                logits = discriminative(torch.cat((reconstructive(x), x), dim=1))
                logits.softmax(dim=1)[:, 1].numpy()

    what = f"maps {side} px, widths {wide}/{narrow}"
    compare(
        rows, what, threads, count, repetitions, baseline, lambda: Draem(reconstructive, discriminative).maps(images)
    )


def test_the_naive_version_is_right():
    """What is compared must do the same: losses to rounding, masks to their share and area."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 2, 3, 64, 64, generator=generator)
    logits, mask = torch.randn(2, 2, 64, 64, generator=generator), (a[:, :1] > 0.7).float()
    assert naive._ssim(a, b).item() == pytest.approx(ssim_loss(a, b).item(), abs=1e-5)
    assert naive._focal(logits, mask).item() == pytest.approx(focal_loss(logits, mask).item(), abs=1e-5)
    goods = [Image.fromarray(image) for image in pictures(500, 32)]
    masks = naive.simulate(goods, goods, 32, np.random.default_rng(0))[2]
    images, bank = as_bank(pictures(500, 32)).float() / 255, as_bank(pictures(20, 32))
    expected = ours.simulate(images, bank, torch.Generator().manual_seed(0)).mask
    assert masks.mean().item() == pytest.approx(expected.mean().item(), rel=0.25)
    assert masks.amax((1, 2, 3)).mean().item() == pytest.approx(expected.amax((1, 2, 3)).mean().item(), abs=0.1)
