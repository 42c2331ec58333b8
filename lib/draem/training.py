"""Training of DRAEM: a number of steps on simulated anomalies, resumable to the bit."""

import io
import math
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from lib.artifacts import atomic
from lib.draem.ahead import Ahead
from lib.draem.inference import Draem
from lib.draem.losses import focal_loss, ssim_loss
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.draem.simulation import ANOMALOUS, Simulated, draw, marred, sent, simulate, simulate_extended
from lib.execution.progress import say
from lib.torch_utils import allow_tf32, fast_layout, flush_denormals, load_state_dict, load_weights_only

HISTORY_ROWS = 200
CHECKPOINT_SECONDS = 60.0  # a run that is killed loses no more than that
LOSSES = ("l2", "ssim", "focal")
Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class TrainingSettings:
    """What a training run depends on besides its data; the defaults are the official ones."""

    reconstructive_width: int = 128
    discriminative_width: int = 64
    steps: int = 70_000
    batch: int = 8
    lr: float = 1e-4
    seed: int = 0
    checkpoint_every: int = 500  # steps; changes no result
    precision: str = "auto"  # of convolutions on CUDA: TF32 (auto), float32 or bf16; a CPU takes float32
    simulation: str = "paper"  # or "extended"
    start: str = ""  # file of the weights to start from; empty: random ones
    # on CUDA, the next batch simulated beside each step, both as one graph; off until a card has shown it to be right
    graph: bool = False

    def simulate(self, images: Tensor, textures: Tensor, generator: torch.Generator) -> Simulated:
        """Return a training batch of good images (B,3,H,W), as `lib.draem.simulation.simulate` does."""
        return (simulate if self.simulation == "paper" else simulate_extended)(images, textures, generator)

    def lr_at(self, step: int) -> float:
        """Return the rate of step 0, 1, ...: times 0.2 from 80 % of the steps on, and again from 90 %."""
        return self.lr * 0.2 ** sum(step >= max(1, int(share * self.steps)) for share in (0.8, 0.9))


def train(
    images: np.ndarray,
    textures: Tensor,
    settings: TrainingSettings,
    device: str = "cpu",
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Draem, pd.DataFrame]:
    """Train DRAEM on good images (N,H,W,3) uint8 with textures (M,3,H,W) uint8 as the anomalies' source.

    Also returns the course of the losses (step, l2, ssim, focal, loss, lr): at most 200 rows, each the mean since the
    last; `progress(step, steps, losses)` is called after each. Images are drawn in shuffled epochs without replacement.
    With `checkpoint`, of the same settings and data, the run saves itself there and goes on from there when called
    again, on a CPU with as many threads to the same bits; a damaged one is reported, and training begins anew. Raises
    ValueError for bf16 without CUDA, RuntimeError when the GPU's memory is too small, FloatingPointError when the loss
    is no longer finite.
    """
    run = _Run(images, textures, settings, torch.device(device))
    if settings.precision == "bf16" and run.device.type != "cuda":
        raise ValueError(f"precision='bf16' is for CUDA only, got device {device}: set precision='auto'")
    if checkpoint is not None and checkpoint.exists():
        try:
            run.load(checkpoint)
        except ValueError as error:
            say(f"{error}: done anew")
    try:
        with flush_denormals(), allow_tf32(settings.precision == "auto"):
            run.go(checkpoint, progress)
    except torch.cuda.OutOfMemoryError as error:
        widths = f"{settings.reconstructive_width}/{settings.discriminative_width}"
        issue = f"batch {settings.batch}, {images.shape[1]}x{images.shape[2]} px, widths {widths}"
        remedy = "set a smaller batch, image_size or widths (or precision='bf16')"
        raise RuntimeError(f"out of GPU memory at {issue}: {remedy}") from error
    return run.draem.eval(), pd.DataFrame(run.rows, columns=["step", *LOSSES, "loss", "lr"])


def panel(
    draem: Draem, images: np.ndarray, textures: Tensor, settings: TrainingSettings, n: int
) -> dict[str, np.ndarray]:
    """Return arrays of n examples, simulated as in training, for a figure: image, simulated, reconstruction, mask, map.

    The first three are (n,H,W,3) float32 in [0,1], the others (n,H,W) float32 in [0,1]. Of 4n examples
    drawn from `images` (N,H,W,3) uint8 by the settings' seed, those that carry an anomaly come first.
    """
    device = torch.device(draem.device)
    aside = _simulates_on(device)
    order = _epoch(settings.seed, 0, len(images))[np.arange(4 * n) % len(images)]
    generator = torch.Generator().manual_seed(settings.seed)
    simulated = settings.simulate(_as_batch(images[order], aside), textures.to(aside), generator)
    chosen = (simulated.mask.amax(dim=(1, 2, 3)) == 0).int().argsort(stable=True)[:n]
    clean, augmented, mask = (part[chosen].to(device) for part in simulated)
    with torch.inference_mode():
        reconstruction, logits = draem.to(device).compare(augmented)
    rgb = {"image": clean, "simulated": augmented, "reconstruction": reconstruction.clamp(0, 1)}
    arrays = {name: value.permute(0, 2, 3, 1).cpu().numpy() for name, value in rgb.items()}
    return arrays | {"mask": mask[:, 0].cpu().numpy(), "map": logits.softmax(dim=1)[:, 1].cpu().numpy()}


class _Run:
    """The state of one training run: everything that a checkpoint must hold."""

    def __init__(self, images: np.ndarray, textures: Tensor, settings: TrainingSettings, device: torch.device) -> None:
        self.settings, self.device, self.images = settings, device, images
        self.textures = textures.to(_simulates_on(device))
        seeds = np.random.SeedSequence(settings.seed).generate_state(3, np.uint64) >> np.uint64(1)
        reconstructive = ReconstructiveNetwork(settings.reconstructive_width, seed=int(seeds[0]))
        discriminative = DiscriminativeNetwork(settings.discriminative_width, seed=int(seeds[1]))
        self.draem = Draem(reconstructive, discriminative, str(device))
        if settings.start:
            self.draem.load_state_dict(load_state_dict(Path(settings.start)))
        self.draem.to(device).to(memory_format=fast_layout(device))
        self.generator = torch.Generator().manual_seed(int(seeds[2]))
        self.ahead = device.type == "cuda" and settings.graph
        self.before: Tensor | None = None  # the generator's state before it drew the batch ahead, if any
        # a CUDA graph would keep a number as it was
        rate = torch.tensor(settings.lr, device=device) if self.ahead else settings.lr
        self.fixed: dict[str, Any] = {"lr": rate, "capturable": self.ahead}
        self.optimiser = torch.optim.Adam(self.draem.parameters(), fused=True, **self.fixed)
        self.step = 0
        self.window = math.ceil(settings.steps / HISTORY_ROWS)
        self.sums = torch.zeros(len(LOSSES), device=device)
        self.rows: list[list[float]] = []

    def go(self, checkpoint: Path | None, progress: Progress | None) -> None:
        settings = self.settings
        self.draem.train()
        saved = time.monotonic()
        ahead = self._ahead() if self.ahead and self.step < settings.steps else None
        while self.step < settings.steps:
            rate = settings.lr_at(self.step)
            for group in self.optimiser.param_groups:
                group["lr"] = group["lr"].fill_(rate) if isinstance(group["lr"], Tensor) else rate
            if ahead is None:
                images = _floats(self._pixels(self.step))
                self._learn(settings.simulate(images, self.textures, self.generator))
            else:
                ahead.step(self._inputs(self.step + 1))
            self.step += 1
            if self.step % self.window == 0 or self.step == settings.steps:
                self._close_window(self.step % self.window or self.window, progress)
            if checkpoint is not None and (
                self.step % settings.checkpoint_every == 0
                or self.step == settings.steps
                or time.monotonic() - saved > CHECKPOINT_SECONDS
            ):
                self.save(checkpoint)
                saved = time.monotonic()

    def _learn(self, batch: Simulated) -> None:
        """Take one step; nothing in it waits for the device."""
        clean, augmented, mask = (part.to(self.device) for part in batch)
        augmented = augmented.contiguous(memory_format=fast_layout(self.device))
        bf16 = self.settings.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            reconstruction, logits = self.draem.compare(augmented)
        reconstruction, logits = reconstruction.float(), logits.float()
        l2, ssim = mse_loss(reconstruction, clean), ssim_loss(reconstruction, clean)
        losses = torch.stack((l2, ssim, focal_loss(logits, mask)))
        self.optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()
        self.optimiser.step()
        self.sums += losses.detach()

    def _ahead(self) -> Ahead:
        def simulated(pixels: Tensor, drawn: Tensor | None = None) -> Simulated:
            if drawn is not None:
                return marred(_floats(pixels), self.textures, drawn, ANOMALOUS)
            return self.settings.simulate(_floats(pixels), self.textures, self.generator)

        capture = self.settings.simulation == "paper"
        return Ahead(self._learn, simulated, self.device, self._inputs(self.step), capture=capture)

    def _inputs(self, step: int) -> tuple[Tensor, ...]:
        """Return what the batch of a step is simulated from: images and, where shapes are fixed, all that is random."""
        self.before, pixels = self.generator.get_state(), self._pixels(step)
        return (pixels, draw(len(pixels), self.generator)) if self.settings.simulation == "paper" else (pixels,)

    def save(self, path: Path) -> None:
        state = {name: getattr(self, name).state_dict() for name in ("draem", "optimiser")}
        state |= {name: getattr(self, name) for name in ("step", "sums", "rows")}
        buffer = io.BytesIO()  # torch.save itself does not say that a disk is full
        drawn = self.generator.get_state() if self.before is None else self.before
        torch.save(state | {"generator": drawn}, buffer)
        with atomic(path) as partial:
            partial.write_bytes(buffer.getbuffer())

    def load(self, path: Path) -> None:
        state = read_checkpoint(path)
        self.draem.load_state_dict(state["draem"])
        self.optimiser.load_state_dict(state["optimiser"])
        for group in self.optimiser.param_groups:
            group.update(self.fixed)
        self.generator.set_state(state["generator"])
        self.sums = state["sums"].to(self.device)
        self.step, self.rows = state["step"], state["rows"]

    def _pixels(self, step: int) -> Tensor:
        """Return the images of a step's batch, uint8 (B,H,W,3) on the CPU; it may run over the end of an epoch."""
        count, batch = len(self.images), self.settings.batch
        places = range(step * batch, (step + 1) * batch)
        rows = [_epoch(self.settings.seed, place // count, count)[place % count] for place in places]
        return torch.from_numpy(self.images[rows])

    def _close_window(self, steps: int, progress: Progress | None) -> None:
        losses = {name: value / steps for name, value in zip(LOSSES, self.sums.tolist(), strict=True)}
        self.sums.zero_()
        if not math.isfinite(total := sum(losses.values())):
            issue = f"loss is not finite near step {self.step} ({losses})"
            raise FloatingPointError(f"{issue}: lower lr ({self.settings.lr}) or set precision='float32'")
        losses |= {"loss": total, "lr": self.settings.lr_at(self.step - 1)}
        self.rows.append([self.step, *losses.values()])
        if progress is not None:
            progress(self.step, self.settings.steps, losses)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state stored by a training run, tensors on the CPU; ValueError if the file is not one."""
    try:
        with zipfile.ZipFile(path) as archive:
            if altered := archive.testzip():  # PyTorch reads altered weights without a word
                raise ValueError(f"its part {altered} is not as it was written")
        state: dict[str, Any] = load_weights_only(path)
    except Exception as error:  # zipfile's own, of many kinds
        raise ValueError(f"{path} is not a readable training checkpoint ({error})") from error
    return state


@lru_cache(maxsize=2)
def _epoch(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def _simulates_on(device: torch.device) -> torch.device:
    """Return where batches are simulated: on CUDA, else on the CPU, as Apple's GPU lacks some of the operators."""
    return device if device.type == "cuda" else torch.device("cpu")


def _as_batch(images: np.ndarray, device: torch.device) -> Tensor:
    """Return uint8 (B,H,W,3) as float (B,3,H,W) in [0,1], on the device."""
    return _floats(sent(torch.from_numpy(images), device))


def _floats(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).float().contiguous().div_(255)
