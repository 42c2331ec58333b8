"""What raises the quality of DRAEM's maps, at which cost: one split per data set and variant, a row each in a CSV.

    python -m tests.benchmarks.draem_quality --out outputs/benchmarks/draem-quality.csv
    python -m tests.benchmarks.draem_quality --dataset magnetic_tile --data DIR --textures DTD --variant draem_lr=1e-3

A variant is a list of settings (FIELD=VALUE with spaces between) that the preset is changed by. Measured are the
good images of the split's test fold and all defective ones, none of which DRAEM has seen; by class and overall.
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
from lib.datasets.image_io import load_masks
from lib.draem.detector import texture_bank
from lib.pipeline import dataset as data_steps
from lib.pipeline import maps as map_steps
from lib.pipeline.detectors import fit_model
from lib.pipeline.run import PROJECT, open_run


def measure(dataset: str, preset: str, data: str, study_dir: Path, settings: dict[str, str]) -> pd.DataFrame:
    """Train the first split's DRAEM and return its maps' quality by class, with the processor's seconds."""
    run = open_run(dataset, preset, data, str(study_dir), settings)
    split = data_steps.splits(run, with_maps=True)[0]
    data_steps.images(run, run.study.image_size)
    texture_bank(run.study)
    start = time.process_time()
    summary = fit_model(run, "draem", split)
    trained = time.process_time() - start
    maps, scores = map_steps.maps(run, split), map_steps.scores(run, split)
    table = data_steps.index(run)
    labels, good = table["label"].to_numpy(), table.attrs["good"]
    chosen = np.flatnonzero((labels != good) | data_steps.in_test_fold(run, split))
    masks = list(load_masks(Path(table.attrs["root"]), table, run.study.image_size, run.study.resize))
    images = image_auroc(scores[chosen], labels[chosen], good)
    pixels = pixel_quality((maps[i] for i in chosen), (masks[i] for i in chosen), labels[chosen], good)
    rows = pixels.join(images).rename_axis("class").reset_index()
    described = {
        "dataset": run.name,
        "preset": preset,
        "steps": summary["steps"],
        "textures": summary["textures"],
        "cpu_seconds": round(trained, 1),
        "threads": torch.get_num_threads(),
        "final_loss": summary["history"][-1]["loss"],
    }
    return rows.assign(**described)[[*described, *rows.columns]].round(4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", action="append", help="default: the three stand-ins")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--data", default="", metavar="DIR")
    parser.add_argument("--textures", default="", metavar="DIR")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="for every variant")
    parser.add_argument("--variant", action="append", default=[], metavar="SETTINGS")
    parser.add_argument("--seeds", type=int, nargs="+", default=[744])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=PROJECT / "outputs/benchmarks/draem-quality.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    common = dict(pair.split("=", 1) for pair in arguments.set)
    if arguments.textures:
        common["textures"] = arguments.textures
    for dataset in arguments.dataset or ("deco_cap", "shaft", "shavers"):
        with tempfile.TemporaryDirectory() as folder:
            for variant in arguments.variant or [""]:
                for seed in arguments.seeds:
                    settings = (
                        common | dict(pair.split("=", 1) for pair in variant.split()) | {"seed": str(seed)}
                    )
                    rows = measure(dataset, arguments.preset, arguments.data, Path(folder), settings)
                    rows.insert(2, "variant", variant or "(preset)")
                    rows.insert(3, "seed", seed)
                    known = pd.read_csv(arguments.out) if arguments.out.exists() else None
                    arguments.out.parent.mkdir(parents=True, exist_ok=True)
                    write_text(arguments.out, pd.concat((known, rows)).to_csv(index=False))
                    print(rows[rows["class"] == "overall"].to_string(index=False, header=False), flush=True)


if __name__ == "__main__":
    main()
