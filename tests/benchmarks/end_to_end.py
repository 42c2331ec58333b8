"""A network fine-tuned end to end in every fold: the baseline for the study's classifiers on frozen features.

    python -m tests.benchmarks.end_to_end --data DIR [--side 160] [--epochs 8] [--lr 1e-3] [--frozen 4]
    python -m tests.benchmarks.end_to_end --data DIR --inner    # to choose settings: no test fold is seen

The study's backbone with its weights and a new linear layer; primary folds, all defects. Half of all draws are good
images, the defect classes share the other half; each is mirrored at random, and changed in brightness and contrast.
AdamW, cosine schedule, softmax over the classes; stages beyond stride `--frozen` are trained, with their batch norms. A
verdict is the mean over four mirrorings. All folds have the same settings, and keep the network of the last step.
`--inner` trains on one part of the first fold's training images and measures on the rest of them.
Prints a row per fold, writes end-to-end-NAME.csv below --output, keeps predictions there, and uses them again.
"""

import argparse
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from lib.artifacts import write_text
from lib.classification.cross_validation import MULTICLASS
from lib.evaluation.metrics import ALL, OVERALL, RECALL_AT_5_FPR, defect_classes, summary
from lib.execution.source_code import code_digest
from lib.features.backbone import load_backbone
from lib.pipeline.dataset import images, in_test_fold, index, parse_split, primary_splits
from lib.pipeline.embeddings import backbone_digest
from lib.pipeline.patch_scores import CALIBRATION, fits_of
from lib.pipeline.run import PROJECT, Run, open_run

METRICS = (RECALL_AT_5_FPR, "binary_auc", "weighted_auc", "defect_recall", "false_reject_rate")
COSTS = ("loss", "seconds", "CPU seconds")
BATCH = 32
MIRRORED: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))  # axes of a batch
CHANGES = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.ColorJitter(brightness=0.2, contrast=0.2)])


class Network(nn.Module):
    """A backbone whose stages beyond stride `frozen` are trained, and a linear layer: images to a logit per class."""

    def __init__(self, run: Run, classes: int, frozen: int) -> None:
        super().__init__()
        study = run.study
        with mock.patch("lib.features.backbone.fold_norms", lambda net: net):  # norms are trained, too
            self.backbone = load_backbone(study.backbone, study.weights, study.feature_size)
        self.head = nn.Linear(self.backbone.n_features, classes)
        net = self.backbone.net
        stages = [f"{stage['module']}." for stage in net.feature_info if stage["reduction"] <= frozen]
        names = [name for name, _ in net.named_parameters()]  # in the order in which they are used
        fixed = [row for row, name in enumerate(names) if stages and name.startswith(stages[-1])]
        for name in names[max(fixed, default=-1) + 1 :]:
            net.get_parameter(name).requires_grad_(True)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.backbone.pooled(pictures))


def train(network: Network, pictures: Tensor, codes: Tensor, epochs: int, lr: float) -> float:
    """Fit on pictures (n, 3, side, side) uint8 of classes (n,), 0 the good one; the mean loss of the last epoch."""
    counts, steps = torch.bincount(codes), -(-len(codes) // BATCH)
    shares = 1 / counts
    shares[0] *= (counts[1:] > 0).sum()
    trained = [one for one in network.parameters() if one.requires_grad]
    for one in network.modules():  # the norms of frozen stages keep their statistics
        one.train(isinstance(one, nn.BatchNorm2d) and one.weight.requires_grad)
    optimizer = torch.optim.AdamW(trained, lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    losses = []
    for _ in range(epochs * steps):
        rows = torch.multinomial(shares[codes], BATCH, replacement=True)
        changed = torch.stack([CHANGES(one / 255) for one in pictures[rows]])
        loss = F.cross_entropy(network(changed), codes[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    network.eval()
    return float(torch.stack(losses[-steps:]).mean())


@torch.inference_mode()
def probabilities(network: Network, pictures: Tensor) -> np.ndarray:
    """Each class's probability (n, classes), the mean over the mirrorings."""
    found = []
    for batch in pictures.split(BATCH):
        views = [network(batch.flip(axes) / 255).softmax(dim=1) for axes in MIRRORED]
        found.append(torch.stack(views).mean(dim=0))
    return torch.cat(found).double().cpu().numpy()


def predict_fold(run: Run, split: str, how: dict[str, float], inner: bool) -> tuple[pd.DataFrame, dict]:
    """The predictions of one fold, and what they cost."""
    table, stack = index(run), images(run, run.study.feature_size)
    labels, classes = table["label"].to_numpy(dtype=str), list(table.attrs["classes"])
    tested = in_test_fold(run, split)
    known, asked = np.flatnonzero(~tested), np.flatnonzero(tested)
    if inner:
        rows, fitted, *_ = next(fits_of(run, CALIBRATION, split))
        known, asked = rows[fitted], rows[~fitted]
    seed = run.seed("end to end", split) % 2**32
    inputs = {
        "code": code_digest("tests.benchmarks.end_to_end"), "backbone": backbone_digest(run), **how,
        "images": run.store.digest(f"images/{run.study.feature_size}.npy"), "labels": labels.tolist(),
        "known": known.tolist(), "asked": asked.tolist(), "seed": seed, "device": run.device,
    }  # fmt: skip

    def write(path: Path) -> dict[str, float]:
        began = time.process_time()
        torch.manual_seed(seed)
        learnt, shown = (torch.from_numpy(stack[rows]).permute(0, 3, 1, 2).contiguous() for rows in (known, asked))
        codes = torch.tensor([classes.index(label) for label in labels[known]])
        network = Network(run, len(classes), int(how["frozen"])).to(run.device)
        loss = train(network, learnt.to(run.device), codes.to(run.device), int(how["epochs"]), how["lr"])
        chances = probabilities(network, shown.to(run.device))
        place = {"dataset": run.name, "scheme": parse_split(split).scheme, "fold": parse_split(split).fold}
        place |= {"repeat": 0, "keep": 1.0, "task": MULTICLASS, "features": "end to end"}
        found = table.iloc[asked][["id", "group", "label"]].reset_index(drop=True).assign(**place)
        found["predicted"] = np.array(classes)[chances.argmax(axis=1)]
        found[[f"p:{name}" for name in classes]] = chances
        found.to_parquet(path, index=False)
        return {"loss": loss, "CPU seconds": time.process_time() - began}

    name = f"end-to-end/{'inner-' if inner else ''}{split}.parquet"
    spent = run.store.make(name, inputs, write)["summary"]
    return pd.read_parquet(run.store.path(name)), {cost: spent[cost] for cost in COSTS}


def measured(predictions: pd.DataFrame, good: str) -> dict[str, float]:
    """The measures, means over the folds given, and each class's recall at 5 % false rejects."""
    parts = {"": predictions}
    for label in defect_classes(predictions, good):
        parts[f": {label}"] = predictions[predictions["label"].isin([good, label])]
    row = {}
    for name, part in parts.items():
        found = summary(part, good, metrics=(RECALL_AT_5_FPR,) if name else METRICS)
        found = found[(found["fold"] == OVERALL) & (found["class"] == ALL)].set_index("metric")["value"]
        row |= {f"{RECALL_AT_5_FPR}{name}": float(found[RECALL_AT_5_FPR])} if name else found.to_dict()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {
        "dataset": "magnetic_tile", "data": "", "preset": "quick", "folds": 5, "side": 160,
        "backbone": "efficientnet_lite0", "weights": "auto", "epochs": 8, "lr": 1e-3,
    }  # fmt: skip
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--frozen", type=int, default=4, metavar="STRIDE", help="0 trains all stages")
    parser.add_argument("--inner", action="store_true")
    parser.add_argument("--output", type=Path, default=PROJECT / "outputs" / "benchmarks")
    options = parser.parse_args()
    settings = {
        "folds": options.folds, "feature_size": options.side, "backbone": options.backbone,
        "weights": options.weights, "leak_check": "none",
    }  # fmt: skip
    data = str(Path(options.data).resolve()) if options.data else ""
    run = open_run(options.dataset, options.preset, data, str(options.output / "end-to-end"), settings)
    how = {name: getattr(options, name) for name in ("epochs", "lr", "frozen")}
    about = {"dataset": run.name, "backbone": options.backbone, "side": options.side, **how}
    target = options.output / f"end-to-end-{options.dataset}{'-inner' if options.inner else ''}.csv"
    good, rows, found = str(index(run).attrs["good"]), [], []
    for split in primary_splits(run)[: 1 if options.inner else None]:
        predictions, costs = predict_fold(run, split, how, options.inner)
        found.append(predictions)
        rows.append(about | {"fold": split} | measured(predictions, good) | costs)
        print(rows[-1], flush=True)
        means = pd.DataFrame(rows)[list(COSTS)].mean().to_dict()
        whole = about | {"fold": f"mean of {len(rows)}"} | measured(pd.concat(found), good) | means
        table = pd.DataFrame([*rows, whole]).round(4)
        write_text(target, table.to_csv(index=False, lineterminator="\n"))
    print(table.T.to_string())


if __name__ == "__main__":
    main()
