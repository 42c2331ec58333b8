"""What a training step of DRAEM costs on a CUDA card, part by part, each row as it comes: `make test-gpu`.

Baseline and ours on the same card in the same run. Rows also go to outputs/benchmarks/draem-gpu.csv. Rows that would
begin after `--seconds` are left out, and said to be. Tests run the same code on a CPU at a tiny size.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from unittest import mock

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from PIL import Image
from torch.nn.functional import conv2d

from lib.config import Study
from lib.draem import training
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork, _Decoder
from lib.draem.simulation import ANOMALOUS, draw, marred
from lib.draem.training import TrainingSettings, train
from lib.synthetic.products import PRODUCTS
from lib.torch_utils import allow_tf32

from . import naive_draem as naive
from .test_draem_benchmarks import OUTPUT, as_bank, machine, pictures

TFLOP = 1.19  # of training with one image at 256 px, widths 128/64
NCHW, LAST = torch.contiguous_format, torch.channels_last


@dataclass(frozen=True)
class Size:
    """What is measured: sides, widths, images a step, steps a figure is the mean of, side of the matrix product."""

    device: str = "cuda"
    side: int = 256
    wide: int = 128
    narrow: int = 64
    batch: int = 8
    steps: int = 20
    product: int = 8192
    backend: str = "inductor"  # of torch.compile
    processes: int = 2

    @property
    def step_tflop(self) -> float:
        """TFLOP of a training step, nearly."""
        return TFLOP * self.batch * (self.side / 256) ** 2 * (self.wide / 128) ** 2


TINY = Size("cpu", side=32, wide=2, narrow=2, batch=2, steps=2, product=64, backend="eager", processes=1)
Row = tuple[str, Callable[[], float]]  # what, and its seconds; TFLOP/s of the matrix product


def seconds(size: Size, work: Callable[[], object], calls: int, warm: int = 3) -> float:
    """Return the mean of the calls, after some to warm up."""
    device = torch.device(size.device)
    for _ in range(warm):
        work()
    _wait(device)
    start = time.perf_counter()
    for _ in range(calls):
        work()
    _wait(device)
    return (time.perf_counter() - start) / calls


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def as_graph(size: Size, work: Callable[[], object]) -> Callable[[], object]:
    """Return the work as a CUDA graph; as it is on other devices."""
    if size.device != "cuda":
        return work
    for _ in range(3):
        work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def product(size: Size) -> float:
    """TFLOP/s of a large bf16 matrix product: what the card can reach in practice."""
    a = torch.randn(size.product, size.product, device=size.device, dtype=torch.bfloat16)
    return 2 * size.product**3 / seconds(size, lambda: a @ a, 10) / 1e12


def networks(
    size: Size,
    precision: str,
    layout: torch.memory_format = LAST,
    *,
    fused: bool = True,
    tf32: AbstractContextManager[None] | None = None,
    graph: bool = False,
    blocks: bool = False,
    split: bool = False,
) -> float:
    """Seconds of a step on one simulated batch: both networks, losses, Adam.

    blocks: each block of convolutions, BatchNorm and ReLU is compiled. split: no concatenation, see `decoded_apart`.
    """
    settings = TrainingSettings(size.wide, size.narrow, batch=size.batch, precision=precision)
    with ExitStack() as stack:
        stack.enter_context(tf32 or allow_tf32(precision == "auto"))
        stack.enter_context(mock.patch.object(training, "fast_layout", lambda _: layout))
        if split:
            stack.enter_context(mock.patch.object(_Decoder, "forward", decoded_apart))
        run = training._Run(*material(size), settings, torch.device(size.device))
        for module in run.draem.modules() if blocks else ():
            if isinstance(module, torch.nn.Sequential):
                module.compile(backend=size.backend)
        if not fused:
            run.optimiser = torch.optim.Adam(run.draem.parameters(), lr=settings.lr)
        run.draem.train()
        both = run._ahead()

        def learn() -> None:
            run._learn(both.batch)

        return seconds(size, as_graph(size, learn) if graph else learn, size.steps)


def decoded_apart(decoder: _Decoder, x: torch.Tensor, skips: Sequence[torch.Tensor] = ()) -> torch.Tensor:
    """Decode as `_Decoder` does, with the sum of two convolutions where that one concatenates what it convolves."""
    for number, name in enumerate(decoder.names, start=1):
        x = decoder.get_submodule(f"up{name}")(x)
        first, *others = decoder.get_submodule(f"db{name}")
        if skips:
            mine, theirs = first.weight.split([x.shape[1], skips[-number].shape[1]], dim=1)
            x = conv2d(x, mine, first.bias, padding=1) + conv2d(skips[-number], theirs, padding=1)
        else:
            x = first(x)
        for layer in others:
            x = layer(x)
    return decoder.fin_out(x)


def side_by_side(size: Size, **changes: object) -> float:
    """Seconds of a step where several processes train on one card: of each, divided by their number."""
    took = Parallel(size.processes)(delayed(whole)(size, **changes) for _ in range(size.processes))
    return sum(took) / size.processes**2


def one_network(size: Size, network: torch.nn.Module, channels: int, *, compiled: bool = False) -> float:
    """Seconds of a network's pass forwards and backwards, in bf16 on a card."""
    network = network.to(size.device).to(memory_format=LAST)
    called = torch.compile(network, backend=size.backend) if compiled else network
    shape = (size.batch, channels, size.side, size.side)
    inputs = torch.rand(shape, device=size.device).contiguous(memory_format=LAST)

    def work() -> None:
        with torch.autocast(size.device, dtype=torch.bfloat16, enabled=size.device == "cuda"):
            called(inputs).float().mean().backward()

    return seconds(size, work, size.steps)


def simulation(size: Size, *, graph: bool = False) -> float:
    """Seconds of the simulation of a batch at fixed shapes."""
    images, textures = material(size)
    clean = as_bank(images[: size.batch]).to(size.device).float() / 255
    bank, drawn = textures.to(size.device), draw(size.batch, torch.Generator().manual_seed(0)).to(size.device)

    def work() -> None:
        marred(clean, bank, drawn, ANOMALOUS, fixed=True)

    return seconds(size, as_graph(size, work) if graph else work, size.steps)


def whole(size: Size, *, find: bool = False, **changes: object) -> float:
    """Seconds of a step of `train`, simulation and everything: the difference of a long and a short run."""
    images, textures = material(size)
    settings = replace(TrainingSettings(size.wide, size.narrow, batch=size.batch), **changes)

    def took(steps: int) -> float:
        with mock.patch.object(training, "HISTORY_ROWS", 1):  # as in a long training, which seldom tells losses
            return seconds(
                size, lambda: train(images, textures, replace(settings, steps=steps), size.device), 1, warm=0
            )

    torch.backends.cudnn.benchmark = find
    try:
        took(6)
        return (took(8 + size.steps) - took(8)) / size.steps
    finally:
        torch.backends.cudnn.benchmark = False  # torch's default


def naive_step(size: Size) -> float:
    """Seconds of a step as one would first write it: simulation image by image on the CPU, PyTorch's defaults."""
    images, _ = material(size)
    sources, rng = [Image.fromarray(image) for image in images], np.random.default_rng(0)
    parts = (ReconstructiveNetwork(size.wide).to(size.device), DiscriminativeNetwork(size.narrow).to(size.device))
    optimiser = torch.optim.Adam([*parts[0].parameters(), *parts[1].parameters()], lr=1e-4)

    def step() -> None:
        batch = naive.simulate(sources[: size.batch], sources, size.side, rng)
        naive.training_step(*parts, optimiser, [part.to(size.device) for part in batch])

    return seconds(size, step, max(1, size.steps // 2), warm=2)


def material(size: Size) -> tuple[np.ndarray, torch.Tensor]:
    """Good images and textures."""
    return pictures(max(32, size.batch), size.side), as_bank(pictures(20, size.side))


def rows(size: Size) -> Iterator[Row]:
    """Yield what is measured, the most wanted first."""
    best = {"precision": "bf16" if size.device == "cuda" else "auto"}
    precision = best["precision"]
    larger = replace(size, batch=2 * size.batch)
    yield "naive: simulation on the CPU, PyTorch's defaults", lambda: naive_step(size)
    yield (
        "networks, PyTorch's defaults (TF32 convolutions), NCHW, Adam not fused",
        lambda: networks(size, "auto", NCHW, fused=False, tf32=nullcontext()),
    )
    yield "whole step, TF32 (auto), one by one", lambda: whole(size, graph=False)
    yield "whole step, TF32 (auto), graph", lambda: whole(size, graph=True)
    yield "whole step, bf16, one by one", lambda: whole(size, graph=False, **best)
    yield "whole step, bf16, graph", lambda: whole(size, graph=True, **best)
    yield "whole step, bf16, graph, cudnn.benchmark", lambda: whole(size, find=True, graph=True, **best)
    yield f"whole step, bf16, graph, batch {larger.batch}", lambda: whole(larger, graph=True, **best)
    yield "simulation, fixed shapes", lambda: simulation(size)
    yield "simulation, fixed shapes, graph", lambda: simulation(size, graph=True)
    yield "networks, TF32, channels_last, fused Adam", lambda: networks(size, "auto")
    yield "networks, bf16, channels_last, fused Adam", lambda: networks(size, precision)
    yield "networks, bf16, graph", lambda: networks(size, precision, graph=True)
    yield "networks, bf16, no concatenation", lambda: networks(size, precision, split=True)
    yield "networks, bf16, compiled blocks", lambda: networks(size, precision, blocks=True)
    yield (
        "networks, bf16, compiled blocks, no concatenation, graph",
        lambda: networks(size, precision, blocks=True, split=True, graph=True),
    )
    yield "whole step, bf16, graph, 2 processes", lambda: side_by_side(size, graph=True, **best)
    yield ("networks, float32 without TF32, NCHW", lambda: networks(size, "float32", NCHW, tf32=allow_tf32(False)))
    yield "reconstructive network, bf16", lambda: one_network(size, ReconstructiveNetwork(size.wide), 3)
    yield "discriminative network, bf16", lambda: one_network(size, DiscriminativeNetwork(size.narrow), 6)
    yield (
        "discriminative network, bf16, compiled",
        lambda: one_network(size, DiscriminativeNetwork(size.narrow), 6, compiled=True),
    )


def profiled(size: Size, most: int = 15) -> pd.DataFrame:
    """Kernels of a step of both networks by their time, on the device where it has kernels."""
    settings = TrainingSettings(
        size.wide, size.narrow, batch=size.batch, precision="bf16" if size.device == "cuda" else "auto"
    )
    run = training._Run(*material(size), settings, torch.device(size.device))
    run.draem.train()
    both, steps = run._ahead(), 3
    with allow_tf32(True):
        run._learn(both.batch)
        with torch.profiler.profile() as profile:
            for _ in range(steps):
                run._learn(both.batch)
            _wait(run.device)
    column = "self_device_time_total" if size.device == "cuda" else "self_cpu_time_total"
    events = [(event.key[:90], getattr(event, column) / steps / 1e3) for event in profile.key_averages()]
    table = pd.DataFrame(events, columns=["kernel", "ms_per_step"])
    return table.sort_values("ms_per_step", ascending=False).head(most).round(3)


def measure(size: Size, limit: float) -> pd.DataFrame:
    """Print each row as it comes, and return the table; what fails is said, and the next row follows."""
    start, found = time.monotonic(), []
    peak = product(size)
    print(f"{_card(size)}; {machine()}\nmatrix product in bf16: {peak:.3g} TFLOP/s", flush=True)
    for what, work in rows(size):
        if time.monotonic() - start > limit:
            print(f"{what}: left out, {limit:.0f} s are over", flush=True)
            continue
        try:
            took = work()
        except (RuntimeError, ImportError) as error:
            print(f"{what}: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
            continue
        scale = 2 if what.endswith(f"batch {2 * size.batch}") else 1
        share = scale * size.step_tflop / took / peak if "step" in what or "networks" in what else float("nan")
        found.append({"what": what, "ms": round(took * 1e3, 3), "share_of_product": round(share, 3)})
        print(f"{took * 1e3:10.2f} ms  {share:6.1%}  {what}", flush=True)
        OUTPUT.mkdir(parents=True, exist_ok=True)  # each time: a run that is cut off keeps its rows
        pd.DataFrame(found).to_csv(OUTPUT / f"draem-gpu-{size.side}.csv", index=False)
    if time.monotonic() - start < limit:
        print(f"Kernels of a step:\n{profiled(size).to_string(index=False)}", flush=True)
    return pd.DataFrame(found)


def paper_hours(step: float) -> dict[str, float]:
    """Hours that DRAEM's training takes in preset `paper` on the three products, by seconds of a step."""
    study = Study.of("paper")
    steps = {
        product: study.folds * study.steps_for(round(counts["good"] * (1 - 1 / study.folds)))
        for product, counts in PRODUCTS.items()
    }
    return {product: number * step / 3600 for product, number in steps.items()}


def _card(size: Size) -> str:
    return torch.cuda.get_device_name() if size.device == "cuda" else size.device


def main() -> None:
    """Measure on the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=200, help="no row begins later")
    options = parser.parse_args()
    table = measure(Size(), options.seconds)
    steps = table[table["what"].str.startswith("whole step") & ~table["what"].str.contains("batch 16")]
    for row in steps.itertuples():
        print(f"paper, all products: {sum(paper_hours(row.ms / 1e3).values()):6.1f} h  {row.what}")


if __name__ == "__main__":
    main()
