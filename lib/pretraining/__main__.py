"""Pretrain DRAEM's networks, first on small images, then on larger ones: `python -m lib.pretraining --out FOLDER`.

Killed, it goes on from where it was when it is called again with the same options.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lib.artifacts import atomic, file_sha256
from lib.config import cuda_available
from lib.draem.detector import SIMULATIONS
from lib.draem.training import TrainingSettings, train
from lib.pretraining.objects import placed
from lib.pretraining.recipes import recipe_surfaces
from lib.pretraining.views import photographed, softened
from lib.synthetic.noise import SharedDraws, viewed
from lib.synthetic.textures import procedural_textures

RECIPES, TEXTURES = 4000, 600  # kinds of surfaces; textures that simulated anomalies are cut from
OBJECTS = 0.6  # share of the images that show an object on a ground
CHUNK = 500  # images drawn at a time
RATE = 1e-3  # Adam's, times 0.2 at 80 and at 90 % of the steps
STAGES = {  # by widths: side, batch, passes over the images; an hour or two of two cores each
    "16/8": ((64, 32, 8),),  # at the side that preset `quick` has
    "32/16": ((64, 32, 3), (128, 16, 1)),  # to that of `standard` on a CPU
}


def drawn_images(count: int, side: int, seed: int, path: Path) -> np.ndarray:
    """Return `count` drawn good images (count,side,side,3) uint8, memory-mapped; what `path` holds already stays.

    Image i hangs on (seed, side, i // CHUNK) alone.
    """
    done = path.with_suffix(".done")
    shape = (count, side, side, 3)
    if not (path.exists() and np.load(path, mmap_mode="r").shape == shape):
        done.unlink(missing_ok=True)
        np.lib.format.open_memmap(path, "w+", np.uint8, shape).flush()
    images = np.lib.format.open_memmap(path, "r+")
    first = int(done.read_text()) if done.exists() else 0
    for start in range(first, count, CHUNK):
        n = min(CHUNK, count - start)
        images[start : start + n] = _chunk(n, start, side, seed)
        images.flush()
        done.write_text(str(start + n))
        print(f"images of {side} px drawn: {start + n} of {count}", flush=True)
    return images


def _chunk(count: int, start: int, side: int, seed: int) -> np.ndarray:
    numbers = np.random.SeedSequence((seed, side, start)).generate_state(1)
    generator = torch.Generator().manual_seed(int(numbers[0]))

    def surfaces(first: int, n: int) -> torch.Tensor:
        ids = np.arange(first, first + n)
        drawn = recipe_surfaces((ids % RECIPES).tolist(), (ids // RECIPES).tolist(), 2 * side, seed)
        draws = SharedDraws(n, generator, side)
        return softened(viewed(drawn.float() / 255, draws, tilt=0.4, nearest=0.3), draws)

    images, objects = surfaces(start, count), round(OBJECTS * count)
    on_top = surfaces(start + 10 * RECIPES, objects)
    images[:objects] = placed(on_top, images[:objects], SharedDraws(objects, generator, side))
    images = photographed(images.clamp(0, 1), SharedDraws(count, generator, side))
    order = torch.randperm(count, generator=generator)
    return (images[order] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def pretrain(widths: str, images: int, times: float, seed: int, device: str, out: Path) -> Path:
    """Draw, train all stages, write `draem-<widths>.safetensors` (half precision) below `out`; returns its path."""
    name, last = f"draem-{widths.replace('/', '-')}", STAGES[widths][-1][0]
    reconstructive, discriminative = map(int, widths.split("/"))
    start = ""
    for side, batch, passes in STAGES[widths]:
        good = drawn_images(images, side, seed, out / f"images-{side}-{seed}.npy")
        settings = TrainingSettings(
            reconstructive, discriminative, max(1, round(times * passes * images / batch)), batch, RATE, seed + side,
            precision="bf16" if device == "cuda" else "auto", simulation=SIMULATIONS["extended"], start=start,
        )  # fmt: skip
        began = time.monotonic()

        def tell(
            step: int, steps: int, losses: dict[str, float], began: float = began, side: int = side
        ) -> None:
            told = ", ".join(f"{key} {value:.4f}" for key, value in losses.items())
            print(f"{side} px, step {step} of {steps}, {time.monotonic() - began:.0f} s: {told}", flush=True)

        textures = procedural_textures(TEXTURES, side, seed)
        checkpoint = out / f"{name}-{side}-{settings.steps}-steps-{seed}.resume.pt"
        draem, _ = train(good, textures, settings, device, checkpoint, tell)
        path = out / (f"{name}.safetensors" if side == last else f"{name}-{side}.safetensors")
        state = {key: value.cpu().contiguous() for key, value in draem.state_dict().items()}
        half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
        with atomic(path) as part:
            save_file(
                half, part, {"widths": widths, "seed": str(seed), "images": str(images), "times": str(times)}
            )
        start = str(path)
    return path


def main() -> None:
    """Carry out the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--widths", nargs="+", choices=STAGES, default=list(STAGES), help="networks to pretrain"
    )
    parser.add_argument("--images", type=int, default=32_000, help="good images to draw, of each size")
    parser.add_argument(
        "--times", type=float, default=1.0, help="how many times as long to train, as on a GPU"
    )
    parser.add_argument("--seed", type=int, default=744)
    parser.add_argument("--device", default="cuda" if cuda_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=Path("outputs/pretraining"), metavar="DIR")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for widths in options.widths:
        path = pretrain(widths, options.images, options.times, options.seed, options.device, options.out)
        print(f"{path}, SHA-256 {file_sha256(path)}", flush=True)


if __name__ == "__main__":
    main()
