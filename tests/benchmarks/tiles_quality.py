"""What tiles find that an image squashed to the models' size has lost: a row per map source and number of tiles.

    python -m tests.benchmarks.tiles_quality --out outputs/benchmarks/tiles-quality.csv

The images are drawn: a rough surface of 512 px, on every second one a scratch of 6 x 3 px. Measured are the maps' image
AUROC and the AUC of classifiers on the image and on map-guided features, means of the folds.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from lib.artifacts import write_text
from lib.evaluation.metrics import OVERALL, summary, where
from lib.pipeline.classification import predictions
from lib.pipeline.maps import map_quality
from lib.pipeline.run import PROJECT, open_run

SIDE, SCRATCH = 512, (6, 3)  # pixels
SETTINGS = {"folds": 2, "image_size": 64, "feature_size": 64, "keep": "1.0", "baselines": False,
            "coreset_size": 2000}  # fmt: skip
METHODS = {"image": "image_auc", "guided_logistic": "guided_auc"}


def draw_scratched(folder: Path, count: int = 60) -> Path:
    """Draw `count` rough surfaces in `good` and `scratch`, every second one with a scratch; the same each time."""
    rng, (length, width) = np.random.default_rng(0), SCRATCH
    for number in range(count):
        noise = rng.normal(size=(2, SIDE, SIDE))
        surface = 128 + 700 * gaussian_filter(noise[0], 8) + 2 * noise[1]  # as many grey tones at 64 px
        label = ("good", "scratch")[number % 2]
        if label == "scratch":
            row, column = rng.integers(20, SIDE - 20, 2)
            tall, wide = (length, width) if rng.integers(2) else (width, length)
            surface[row : row + tall, column : column + wide] = 250
        picture = np.repeat(surface.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / label / f"{number:02d}.png")
    return folder


def measure(data: Path, folder: Path, source: str, tiles: int, **settings: object) -> dict[str, object]:
    """Run a study as far as its maps and classifiers; return what they find, with the seconds."""
    own = SETTINGS | {"map_source": source, "tiles": tiles} | settings
    run, start = (open_run("scratched", "quick", str(data), str(folder / f"{source}-{tiles}"), own), time.time())
    auroc = map_quality(run)["image_auroc"].iloc[0]
    found = summary(predictions(run, "classification")[0], "good", metrics=("binary_auc",))
    rows = where(found, {"fold": OVERALL, "metric": "binary_auc"}).set_index("features")["value"]
    about = {"map_source": source, "tiles": tiles, "seen_at": run.study.map_side, "map_auroc": auroc}
    return about | {METHODS[name]: rows[name] for name in METHODS} | {"seconds": time.time() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", nargs="+", default=["patchcore", "draem"])
    parser.add_argument("--tiles", nargs="+", type=int, default=[1, 4, 8])
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--out", type=Path, default=PROJECT / "outputs/benchmarks/tiles-quality.csv")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data, rows = draw_scratched(Path(name) / "scratched"), []
        for source in given.source:
            for tiles in given.tiles:
                settings = dict(pair.split("=", 1) for pair in given.set)
                rows.append(measure(data, Path(name), source, tiles, **settings))
                print(pd.DataFrame(rows[-1:]).round(3).to_string(index=False), flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(given.out, pd.DataFrame(rows).round(3).to_csv(index=False))


if __name__ == "__main__":
    main()
