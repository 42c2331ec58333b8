"""New images of a drawn product, which its study has not seen: inspection can be tried without any of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib.execution.source_code import code_digest
from lib.inspection.production_model import ProductionModelError
from lib.pipeline.run import Run
from lib.synthetic.products import image_counts, render

PER_CLASS = 6


def unseen_images(run: Run) -> Path:
    """Return a folder of newly drawn images of a drawn product; their names say nothing of the class.

    Their scenes are numbered on from the study's own. `unseen.csv` beside the folder has the truth. Raises
    ProductionModelError for real images.
    """
    if not run.synthetic:
        raise ProductionModelError("no images to inspect: set INSPECT_DIR, or run_all.py --inspect DIR")
    study, folder = run.study, run.store.path("unseen")
    counts = image_counts(run.dataset, study.synthetic_scale)
    wanted = [(label, counts[label] + place) for label in counts for place in range(PER_CLASS)]
    order = np.random.default_rng(run.seed("unseen")).permutation(len(wanted))

    def write(path: Path) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        lines = ["file,label"]
        for number, (label, scene) in enumerate(wanted[place] for place in order):
            image, _ = render(run.dataset, label, scene, study.synthetic_side, study.seed)
            lines.append(f"{number:04d}.png,{label}")
            Image.fromarray(image).save(folder / f"{number:04d}.png")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return {"files": [folder / f"{number:04d}.png" for number in range(len(wanted))]}

    settings = study.values(("synthetic_scale", "synthetic_side", "seed"))
    code = code_digest("lib.synthetic.products")
    run.store.make("unseen.csv", {"product": run.dataset, "each": PER_CLASS, "code": code, **settings}, write)
    return folder
