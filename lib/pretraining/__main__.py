"""Pretrain DRAEM's networks, first on small images, then on larger ones: `python -m lib.pretraining --out FOLDER`.

Killed, it goes on from where it was when it is called again with the same options.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lib.artifacts import Store, absolute, file_sha256, fingerprint
from lib.config import cuda_available
from lib.draem.training import Progress, TrainingSettings, train
from lib.execution.source_code import code_digest
from lib.pretraining.objects import placed
from lib.pretraining.recipes import recipe_surfaces
from lib.pretraining.views import photographed, softened
from lib.synthetic.noise import Draws, seeded, viewed
from lib.synthetic.textures import procedural_textures

CODE = "lib.pretraining.__main__"
RECIPES, TEXTURES = 4000, 600  # kinds of surfaces; textures that simulated anomalies are cut from
OBJECTS = 0.6  # share of the images that show an object on a ground
CHUNK = 500  # images drawn at a time
RATE = 1e-3  # Adam's, times 0.2 at 80 and at 90 % of the steps
STAGES = {  # by widths: side, batch, passes over the images; an hour or two of two cores each
    "16/8": ((64, 32, 8),),  # at the side that preset `quick` has
    "32/16": ((64, 32, 3), (128, 16, 1)),  # to that of `standard` on a CPU
}


def drawn_images(store: Store, count: int, side: int, seed: int) -> np.ndarray:
    """Return `count` drawn good images (count,side,side,3) uint8; those that `store` holds are not drawn again.

    Image i hangs on (seed, side, i // CHUNK) and the code alone.
    """
    made_from = {"seed": seed, "side": side, "code": code_digest(CODE)}
    names = []
    for start in range(0, count, CHUNK):
        n = min(CHUNK, count - start)

        def write(path: Path, n: int = n, start: int = start) -> None:
            with path.open("wb") as file:
                np.save(file, _chunk(n, start, side, seed))
            print(f"images of {side} px drawn: {start + n} of {count}", flush=True)

        names.append(f"images/{side}-{start}.npy")
        store.make(names[-1], made_from | {"start": start, "count": n}, write)
    return np.concatenate([np.load(store.path(name)) for name in names])


def _chunk(count: int, start: int, side: int, seed: int) -> np.ndarray:
    generator = seeded(seed, side, start)

    def surfaces(first: int, n: int) -> torch.Tensor:
        ids = np.arange(first, first + n)
        drawn = recipe_surfaces((ids % RECIPES).tolist(), (ids // RECIPES).tolist(), 2 * side, seed)
        draws = Draws(n, generator, side)
        return softened(viewed(drawn.float() / 255, draws, tilt=0.4, nearest=0.3), draws)

    images, objects = surfaces(start, count), round(OBJECTS * count)
    on_top = surfaces(start + 10 * RECIPES, objects)
    images[:objects] = placed(on_top, images[:objects], Draws(objects, generator, side))
    images = photographed(images.clamp(0, 1), Draws(count, generator, side))
    order = torch.randperm(count, generator=generator)
    return (images[order] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def pretrain(store: Store, widths: str, images: int, times: float, seed: int, device: str) -> Path:
    """Draw, train all stages, write `draem-<widths>.safetensors` (half precision) to `store`; returns its path."""
    name, start = f"draem-{widths.replace('/', '-')}", ""
    reconstructive, discriminative = map(int, widths.split("/"))
    for side, batch, passes in STAGES[widths]:
        settings = TrainingSettings(
            reconstructive, discriminative, max(1, round(times * passes * images / batch)), batch, RATE, seed,
            precision="bf16" if device == "cuda" else "auto", simulation="extended", start=start,
        )  # fmt: skip
        file = f"{name}.safetensors" if side == STAGES[widths][-1][0] else f"{name}-{side}.safetensors"
        start = str(_stage(store, file, settings, images, side, device))
    return Path(start)


def _stage(store: Store, file: str, settings: TrainingSettings, images: int, side: int, device: str) -> Path:
    told = asdict(settings) | {"images": images, "side": side, "device": device}
    told["start"] = file_sha256(Path(settings.start)) if settings.start else ""
    made_from = told | {"code": code_digest(CODE)}

    def write(path: Path) -> None:
        checkpoint = store.path(f"{file}.{fingerprint(made_from)[:12]}.resume.pt")
        textures = procedural_textures(TEXTURES, side, settings.seed)
        good = drawn_images(store, images, side, settings.seed)
        draem, _ = train(good, textures, settings, device, checkpoint, _told(side))
        state = {key: value.cpu().contiguous() for key, value in draem.state_dict().items()}
        half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
        save_file(half, path, {"made from": json.dumps(told, sort_keys=True)})
        checkpoint.unlink(missing_ok=True)

    store.make(file, made_from, write)
    return store.path(file)


def _told(side: int) -> Progress:
    began = time.monotonic()

    def tell(step: int, steps: int, losses: dict[str, float]) -> None:
        values = ", ".join(f"{key} {value:.4f}" for key, value in losses.items())
        print(f"{side} px, step {step} of {steps}, {time.monotonic() - began:.0f} s: {values}", flush=True)

    return tell


def main() -> None:
    """Carry out the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add, found = parser.add_argument, cuda_available()
    add("--widths", nargs="+", choices=STAGES, default=list(STAGES), help="networks to pretrain")
    add("--images", type=int, default=32_000, help="good images to draw, of each size")
    add("--times", type=float, default=1.0, help="how many times as long to train, as on a GPU")
    add("--seed", type=int, default=744, help="random numbers derive from it")
    add("--device", default="cuda" if found else "cpu", choices=["cpu", "cuda"], help="where torch runs")
    add("--out", type=Path, default=Path("outputs/pretraining"), metavar="DIR", help="where results go")
    given = parser.parse_args()
    if given.images < 1 or given.seed < 0 or not 0 < given.times < float("inf"):
        parser.error("--images and --times must be above 0, --seed at least 0")
    if given.device == "cuda" and not found:
        parser.error("--device cuda: torch finds no CUDA device; take cpu")
    for widths in given.widths:
        path = pretrain(Store(absolute(given.out)), widths, given.images, given.times, given.seed, given.device)
        print(f"{path}, SHA-256 {file_sha256(path)}", flush=True)


if __name__ == "__main__":
    main()
