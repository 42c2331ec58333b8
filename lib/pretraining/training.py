"""Formula-driven pretraining of ResNet-18: recipes of procedural surfaces, and defects on them, told apart.

After Kataoka et al., "Pre-training without natural images" (2020): no photograph is seen. One network, four
heads: which recipe a surface was made by, which kind of defect, if any, it carries, and where. Run as a module:
`python -m lib.pretraining.training --help`.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import io
import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms.v2 import Normalize

from lib.artifacts import write_bytes
from lib.features.backbone_weights import EMBEDDED_FOLDER as FOLDER
from lib.features.resnet import IMAGENET_MEAN, IMAGENET_STD
from lib.pretraining.defects import KINDS
from lib.pretraining.embedded import save_embedded
from lib.pretraining.images import PretrainSettings, Source
from lib.torch_utils import flush_denormals

HISTORY_ROWS = 200
Progress = Callable[[dict[str, float]], None]


class Heads(nn.Module):
    """torchvision's ResNet-18 with a head for recipes, one for defects, and two for the defect in each cell.

    Cells are the places of layer 3 and of layer 4, 16 and 32 pixels wide.
    """

    def __init__(self, recipes: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            resnet = resnet18(weights=None)
            self.recipe = nn.Linear(512, recipes)
            self.defect = nn.Linear(512, 1 + len(KINDS))
            self.fine = nn.Conv2d(256, 1 + len(KINDS), 1)
            self.coarse = nn.Conv2d(512, 1 + len(KINDS), 1)
        self.resnet = create_feature_extractor(resnet, ["layer3", "layer4", "avgpool"])
        self.normalise = Normalize(IMAGENET_MEAN, IMAGENET_STD)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits for images (B,3,H,W) in [0,1].

        Of recipes (B,R), of defects (B,1+K), of cells (B,1+K,H/16,W/16) and (B,1+K,H/32,W/32).
        """
        found = self.resnet(self.normalise(images))
        features = found["avgpool"].flatten(1)
        cells = self.fine(found["layer3"]), self.coarse(found["layer4"])
        return self.recipe(features), self.defect(features), *cells


def pretrain(
    settings: PretrainSettings,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Tensor], pd.DataFrame]:
    """Train and return the backbone's state (without heads) and the history, at most 200 rows.

    The history has the columns step, side, loss, recipe_accuracy, defect_accuracy, cell_accuracy (of the flawed
    cells), hours. With `checkpoint` the run saves itself there and goes on from there. Raises ValueError for a
    checkpoint of another run.
    """
    run = _Run(settings, torch.device(device))
    if checkpoint is not None and checkpoint.exists():
        run.load(checkpoint)
    with flush_denormals():
        run.go(checkpoint, progress)
    state = {name: value.cpu().contiguous() for name, value in run.averaged.resnet.state_dict().items()}
    return state, pd.DataFrame(run.rows)


def located_loss(logits: Tensor, cells: Tensor) -> Tensor:
    """Cross-entropy of cells: logits (B,1+K,G,G), truth (B,G,G).

    The few flawed cells weigh as much as all clean ones.
    """
    each, flawed = F.cross_entropy(logits, cells, reduction="none"), cells > 0
    parts = [each[chosen].mean() for chosen in (flawed, ~flawed) if chosen.any()]
    return torch.stack(parts).mean()


class _Run:
    def __init__(self, settings: PretrainSettings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        described = {name: value for name, value in asdict(settings).items() if name != "checkpoint_every"}
        self.fingerprint = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
        self.source = Source(settings, device)
        self.model = Heads(settings.recipes, settings.seed).to(device).to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.model).requires_grad_(False)
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.lr, fused=True)
        self.step, self.seconds = 0, 0.0
        self.rows: list[dict[str, float]] = []

    def go(self, checkpoint: Path | None, progress: Progress | None) -> None:
        with ThreadPoolExecutor(1) as ahead:  # draws the next batch while this one is learnt
            self._go(checkpoint, progress, ahead)

    def _go(self, checkpoint: Path | None, progress: Progress | None, ahead: ThreadPoolExecutor) -> None:
        settings, window = self.settings, math.ceil(self.settings.steps / HISTORY_ROWS)
        self.model.train()
        sums, counted, since = torch.zeros(4, device=self.device), 0, time.monotonic()
        coming = ahead.submit(self.source.batch, self.step)
        while self.step < settings.steps:
            for group in self.optimiser.param_groups:
                group["lr"] = settings.lr_at(self.step)
            batch = coming.result()
            if self.step + 1 < settings.steps:
                coming = ahead.submit(self.source.batch, self.step + 1)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.bfloat16):
                logits = self.model(batch.images.contiguous(memory_format=torch.channels_last))
            recipes, defects, fine, coarse = (part.float() for part in logits)
            loss = F.cross_entropy(recipes, batch.recipes, label_smoothing=0.1)
            if settings.defects:
                loss = loss + F.cross_entropy(defects, batch.defects)
            if settings.located:
                loss = loss + located_loss(fine, batch.cells)
                loss = loss + located_loss(coarse, F.max_pool2d(batch.cells.float(), 2).long())
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            self.step += 1
            self._average()
            hit = fine.argmax(1) == batch.cells
            right = [
                (recipes.argmax(1) == batch.recipes),
                (defects.argmax(1) == batch.defects),
                hit[batch.cells > 0] if (batch.cells > 0).any() else hit,
            ]
            sums += torch.stack([loss.detach(), *(part.float().mean() for part in right)])
            counted += 1
            self.seconds, since = self.seconds + time.monotonic() - since, time.monotonic()
            if self.step % window == 0 or self.step == settings.steps:
                loss_mean, recipe, defect, cell = (sums / counted).tolist()
                if not math.isfinite(loss_mean):
                    raise FloatingPointError(f"the loss is no longer finite at step {self.step}: lower lr")
                self.rows.append(
                    {
                        "step": self.step, "side": settings.side_at(self.step - 1), "loss": loss_mean,
                        "recipe_accuracy": recipe, "defect_accuracy": defect,
                        "cell_accuracy": cell, "hours": self.seconds / 3600,
                    }
                )  # fmt: skip
                sums, counted = torch.zeros_like(sums), 0
                if progress is not None:
                    progress(self.rows[-1])
            if checkpoint is not None and (
                self.step % settings.checkpoint_every == 0 or self.step == settings.steps
            ):
                self.save(checkpoint)

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights towards the current ones: by 1 in a thousand, by more in the beginning."""
        share = 1 - min(0.999, (1 + self.step) / (10 + self.step))
        for mine, theirs in zip(
            self.averaged.state_dict().values(), self.model.state_dict().values(), strict=True
        ):
            if mine.is_floating_point():
                mine.lerp_(theirs, share)
            else:
                mine.copy_(theirs)

    def save(self, path: Path) -> None:
        buffer = io.BytesIO()
        state = {name: getattr(self, name).state_dict() for name in ("model", "averaged", "optimiser")}
        torch.save(
            state | {name: getattr(self, name) for name in ("fingerprint", "step", "seconds", "rows")}, buffer
        )
        write_bytes(path, buffer.getbuffer())

    def load(self, path: Path) -> None:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if state.get("fingerprint") != self.fingerprint:
            raise ValueError(f"{path} is of a run with other settings: delete it, or name another file")
        for name in ("model", "averaged", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds, self.rows = state["step"], state["seconds"], state["rows"]


def main() -> None:
    """Pretrain from the command line and write the embedded weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    standard = PretrainSettings()
    for name in ("recipes", "steps", "batch", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(standard, name))
    parser.add_argument("--lr", type=float, default=standard.lr)
    parser.add_argument("--no-defects", action="store_true", help="surfaces only, one head")
    parser.add_argument("--not-located", action="store_true", help="no head that says where the defect is")
    parser.add_argument("--bfloat16", action="store_true", help="convolutions in bfloat16")
    parser.add_argument("--sides", default=json.dumps(standard.sides), help="[[share of steps, side], ...]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the quantised weights")
    parser.add_argument("--checkpoint", type=Path, default=Path("outputs/backbone/pretrain.pt"))
    arguments = parser.parse_args()
    settings = PretrainSettings(
        recipes=arguments.recipes,
        defects=not arguments.no_defects,
        located=not (arguments.no_defects or arguments.not_located),
        bfloat16=arguments.bfloat16,
        steps=arguments.steps,
        batch=arguments.batch,
        sides=tuple((float(share), int(side)) for share, side in json.loads(arguments.sides)),
        lr=arguments.lr,
        seed=arguments.seed,
    )
    arguments.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    state, history = pretrain(
        settings,
        device=arguments.device,
        checkpoint=arguments.checkpoint,
        progress=lambda row: print(
            "  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True
        ),
    )
    save_embedded(state, arguments.out, {"settings": asdict(settings), "torch": torch.__version__})
    history.round(5).to_csv(arguments.out / "history.csv", index=False)


if __name__ == "__main__":
    main()
