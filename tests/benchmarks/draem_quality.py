"""What raises the quality of DRAEM's maps: one split per data set, a row per variant, training and class in a CSV.

    python -m tests.benchmarks.draem_quality --out outputs/benchmarks/draem-quality.csv
    python -m tests.benchmarks.draem_quality --dataset magnetic_tile --data DIR --variant draem_start=scratch

A variant is a list of settings (FIELD=VALUE), a list of parts of the extended simulation (parts=near+grey), or
`untrained`: the weights as they are, before any step. Measured are the good images of the split's test fold and all
defective ones, none of which DRAEM has seen; by class and overall. Trainings differ in all that is random.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lib.anomaly_maps.localization_metrics import image_auroc, pixel_quality
from lib.artifacts import write_text
from lib.datasets.masks import load_masks
from lib.draem.detector import texture_bank, training_settings
from lib.draem.inference import Draem
from lib.draem.training import TrainingSettings, train
from lib.pipeline import dataset as data_steps
from lib.pipeline.detectors import fit_task
from lib.pipeline.run import PROJECT, open_run


def measure(run, repeat: int, parts: tuple[str, ...] | None, *, untrained: bool) -> pd.DataFrame:
    """Train the first split's DRAEM and return its maps' quality by class, with the processor's seconds."""
    split = data_steps.splits(run, with_maps=True)[0]
    task = fit_task(run, data_steps.repeated(run, [split])[repeat])
    settings = training_settings(task) | ({} if parts is None else {"simulation": parts})
    textures, name = texture_bank(run.study)
    start = time.process_time()
    if untrained:
        draem, loss = Draem.load(Path(settings["start"])), np.nan
    else:
        draem, history = train(task.inputs[task.good], textures, TrainingSettings(**settings), run.device)
        loss = history["loss"].iloc[-1]
    trained = time.process_time() - start
    table = data_steps.index(run)
    labels, good = table["label"].to_numpy(), table.attrs["good"]
    chosen = np.flatnonzero((labels != good) | data_steps.in_test_fold(run, split))
    maps, scores = draem.maps_and_scores(task.inputs[chosen])
    masks = list(load_masks(Path(table.attrs["root"]), table, run.study.image_size, run.study.resize))
    pixels = pixel_quality(maps, (masks[i] for i in chosen), labels[chosen], good)
    rows = pixels.join(image_auroc(scores, labels[chosen], good)).rename_axis("class").reset_index()
    described = {
        "dataset": run.name,
        "side": run.study.image_size,
        "widths": f"{settings['reconstructive_width']}/{settings['discriminative_width']}",
        "steps": 0 if untrained else settings["steps"],
        "textures": name,
        "training": repeat,
        "cpu_seconds": round(trained, 1),
        "final_loss": loss,
    }
    return rows.assign(**described)[[*described, *rows.columns]].round(4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", nargs="+", default=["deco_cap", "shaft", "shavers"])
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--data", default="", metavar="DIR")
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="for every variant")
    parser.add_argument("--variant", nargs="+", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--trainings", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=PROJECT / "outputs/benchmarks/draem-quality.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for dataset in arguments.dataset:
        with tempfile.TemporaryDirectory() as folder:
            for variant in arguments.variant or [[]]:
                given = dict(pair.split("=", 1) for pair in [*arguments.set, *variant] if "=" in pair)
                named = given.pop("parts", None)
                parts = None if named is None else tuple(named.split("+"))
                untrained = "untrained" in variant
                settings = given | {"repeats": str(arguments.trainings)}
                run = open_run(dataset, arguments.preset, arguments.data, folder, settings)
                for repeat in range(1 if untrained else arguments.trainings):
                    rows = measure(run, repeat, parts, untrained=untrained)
                    rows.insert(2, "variant", " ".join(variant) or "(preset)")
                    known = pd.read_csv(arguments.out) if arguments.out.exists() else None
                    arguments.out.parent.mkdir(parents=True, exist_ok=True)
                    write_text(arguments.out, pd.concat((known, rows)).to_csv(index=False))
                    print(rows[rows["class"] == "overall"].to_string(index=False, header=False), flush=True)


if __name__ == "__main__":
    main()
