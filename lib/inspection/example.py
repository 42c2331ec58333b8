"""New pictures of a stand-in, which its study has not seen: so that inspection can be shown without any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib.execution.source_code import code_digest
from lib.inspection.production_model import ProductionModelError
from lib.pipeline.run import Run
from lib.synthetic.products import PRODUCTS, render

EACH = 6  # pictures of a class


def unseen_pictures(run: Run, each: int = EACH) -> Path:
    """Draw new pictures of a stand-in and return their folder; names say nothing of the class.

    Their scenes are numbered on from the study's own. `unseen.csv` beside the folder has the truth. Raises `LineError`
    for real images.
    """
    if not run.synthetic:
        raise ProductionModelError("no pictures to inspect: set INSPECT_DIR, or run_all.py --inspect DIR")
    study, folder = run.study, run.store.path("unseen")
    counts = PRODUCTS[run.dataset].scaled(study.synthetic_scale)
    wanted = [(label, counts[label] + place) for label in counts for place in range(each)]
    order = np.random.default_rng(run.seed("unseen")).permutation(len(wanted))

    def write(path: Path) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        lines, files = ["file,label"], []
        for number, place in enumerate(order):
            label, scene = wanted[place]
            picture, _ = render(run.dataset, label, scene, study.synthetic_side, study.seed)
            files.append(folder / f"{number:04d}.png")
            Image.fromarray(picture).save(files[-1])
            lines.append(f"{files[-1].name},{label}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return {"files": files}

    settings = study.values(("synthetic_scale", "synthetic_side", "seed"))
    inputs = {"product": run.dataset, "each": each, "code": code_digest("lib.synthetic.products"), **settings}
    run.store.make("unseen.csv", inputs, write)
    return folder
