"""What a CUDA card gains over the naive version on the same card; the tables go to outputs/benchmarks/draem-gpu*."""

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lib.config import Study
from lib.draem import simulation as ours
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.draem.training import TrainingSettings, train
from lib.synthetic.products import PRODUCTS

from . import naive_draem as naive
from .test_draem_benchmarks import OUTPUT, as_bank, machine, pictures

pytestmark = [pytest.mark.benchmark, pytest.mark.gpu]
TFLOP_PER_IMAGE = 1.19  # training, 256 px, widths 128/64
VARIANTS = {
    "float32": {"precision": "float32"},
    "tf32": {"precision": "auto"},
    "bf16": {"precision": "bf16"},
}


def seconds(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def per_step(run: Callable[[int], object], few: int, many: int) -> float:
    """Seconds of one step: the difference of a long and a short run, both warmed up."""
    run(few)
    short = min(seconds(lambda: run(few)) for _ in range(2))
    return (seconds(lambda: run(many)) - short) / (many - few)


def bf16_peak() -> float:
    """TFLOP/s of a large bf16 matrix product: what the card can reach in practice."""
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    return 10 * 2 * 8192**3 / seconds(lambda: [a @ a for _ in range(10)]) / 1e12


class Utilisation:
    """Mean of what nvidia-smi says of the card meanwhile, in percent; NaN where it says nothing."""

    def __enter__(self) -> "Utilisation":
        self.samples: list[float] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._sample)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _sample(self) -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self.over.wait(0.2):
            try:
                said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
                self.samples.append(float(said.split()[0]))
            except (OSError, subprocess.SubprocessError, ValueError, IndexError):
                return

    @property
    def mean(self) -> float:
        return float(np.mean(self.samples[1:])) if len(self.samples) > 1 else float("nan")


def write(name: str, table: pd.DataFrame) -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    table.to_csv(OUTPUT / f"{name}.csv", index=False)
    print(f"\n{torch.cuda.get_device_name()}; {machine()}\n{table.to_string(index=False)}")


@pytest.mark.parametrize("side", [64, 256])
def test_simulation_on_the_card(side):
    goods, textures = pictures(64, side), pictures(20, 480)
    files = [Image.fromarray(image) for image in goods[:8]]
    bank = [Image.fromarray(texture).resize((side, side)) for texture in textures]
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    baseline = min(seconds(lambda: naive.simulate(files, bank, side, rng)) for _ in range(3)) / 8
    images = as_bank(goods).to("cuda").float() / 255
    held = as_bank(pictures(20, side)).to("cuda")
    ours.simulate(images, held, generator)
    took = seconds(lambda: [ours.simulate(images, held, generator) for _ in range(20)]) / 20 / len(images)
    row = {"side": side, "naive_ms": baseline * 1e3, "ours_ms": took * 1e3, "ratio": baseline / took}
    write(f"draem-gpu-simulation-{side}", pd.DataFrame([row]).round(3))


def naive_loop() -> Callable[[int], None]:
    sources = [Image.fromarray(image) for image in pictures(64, 256)]
    bank = [Image.fromarray(texture) for texture in pictures(20, 256)]
    rng = np.random.default_rng(0)
    reconstructive, discriminative = (
        ReconstructiveNetwork(128).to("cuda"),
        DiscriminativeNetwork(64).to("cuda"),
    )
    optimiser = torch.optim.Adam([*reconstructive.parameters(), *discriminative.parameters()], lr=1e-4)

    def loop(steps: int) -> None:
        for step in range(steps):
            batch = naive.simulate([sources[(8 * step + i) % 64] for i in range(8)], bank, 256, rng)
            naive.training_step(
                reconstructive, discriminative, optimiser, [part.to("cuda") for part in batch]
            )

    return loop


def test_training_at_the_papers_size():
    goods, textures = pictures(64, 256), as_bank(pictures(20, 256))
    with Utilisation() as use:
        baseline = per_step(naive_loop(), 3, 23)
    peak = bf16_peak()
    rows = [_row("naive", baseline, baseline, use.mean, peak)]
    for name, changes in VARIANTS.items():
        settings = replace(TrainingSettings(batch=8), **changes)

        def loop(steps: int, settings: TrainingSettings = settings) -> None:
            train(goods, textures, replace(settings, steps=steps), device="cuda")

        with Utilisation() as use:
            took = per_step(loop, 5, 105)
        rows.append(_row(name, took, baseline, use.mean, peak))
        table = pd.DataFrame(rows)
        write("draem-gpu-training", table.round(3))  # each time: a run that is cut off keeps its rows

    study = Study.of("paper")
    hours = {
        product: study.steps_for(round(counts["good"] * (1 - 1 / study.folds)))
        * study.folds
        * table["ms_per_step"]
        for product, counts in PRODUCTS.items()
    }
    projected = (pd.DataFrame(hours) / 3.6e6).assign(variant=table["variant"]).set_index("variant")
    write("draem-gpu-paper-hours", projected.assign(all=projected.sum(axis=1)).round(1).reset_index())


def _row(name: str, took: float, baseline: float, used: float, peak: float) -> dict[str, object]:
    rate = 8 * TFLOP_PER_IMAGE / took
    return {
        "variant": name,
        "ms_per_step": took * 1e3,
        "ratio": baseline / took,
        "tflops": rate,
        "share_of_bf16_peak": rate / peak,
        "utilisation_percent": used,
    }
