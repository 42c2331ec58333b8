"""A small real data set: grey plates that are not square, two shots of each, two kinds of defects."""

import numpy as np
import pandas as pd
from PIL import Image

COUNTS = {"good": 12, "dent": 6, "hole": 6}  # plates; a defective plate stands among the good ones too


def draw_plates(folder):
    """Write the pictures and `groups.csv`: both shots of plate 3 and its dent are one group."""
    rng = np.random.default_rng(0)
    rows = []
    for label, count in COUNTS.items():
        (folder / label).mkdir(parents=True)
        for plate in range(count):
            for shot in range(2):
                picture = rng.normal(128, 12, (40, 56, 3)).clip(0, 255).astype(np.uint8)
                if label != "good":
                    row, column = rng.integers(4, 26), rng.integers(4, 42)
                    picture[row : row + 9, column : column + 9] = {"dent": 250, "hole": 5}[label]
                name = f"{label}/{plate}-{shot}.png"
                Image.fromarray(picture).save(folder / name)
                rows.append((name, f"plate {plate}"))
    pd.DataFrame(rows, columns=["id", "group"]).to_csv(folder / "groups.csv", index=False)
    return folder
