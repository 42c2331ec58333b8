"""DRAEM as a map source: trained in the study, or imported."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.anomaly_maps.detectors import Detector, FitTask
from lib.artifacts import listing_digest
from lib.draem.pretrained import start_weights

if TYPE_CHECKING:
    from torch import Tensor

    from lib.config import Study
    from lib.draem.inference import Draem

N_TEXTURES = 400  # images of the bank that anomalies are cut from
DTD_ROOT = Path(__file__).parents[2] / "data" / "dtd"  # torchvision's copy of DTD, read where there is one


def texture_bank(study: Study) -> tuple[Tensor, str]:
    """Return the anomaly textures at DRAEM's size, and their name."""
    return _bank(study.image_size, study.seed_for("textures"), *_textures(study))


@lru_cache(maxsize=1)  # every fold asks for the same ones
def _bank(side: int, seed: int, folder: str, _digest: str) -> tuple[Tensor, str]:
    from lib.synthetic.textures import load_texture_bank

    return load_texture_bank(folder, side, seed)


def _textures(study: Study) -> tuple[str, str]:
    folder = study.textures or (str(DTD_ROOT) if DTD_ROOT.is_dir() else "")
    return folder, listing_digest(Path(folder)) if folder else ""


def training_settings(task: FitTask) -> dict[str, Any]:
    """Return the fields of `lib.draem.training.TrainingSettings`; models that share a fold share its steps."""
    study = task.study
    own = {name: getattr(study, f"draem_{name}") for name in ("batch", "lr", "precision")}
    steps = study.steps_for(len(task.good), task.sharing)
    widths = study.values(("reconstructive_width", "discriminative_width"))
    begins = {"start": start_weights(study)[0], "simulation": study.draem_simulation}
    return {**widths, "steps": steps, "seed": task.seed, **own, **begins}


def _depends_on(task: FitTask) -> dict[str, Any]:
    seen = task.study.values(("image_size", "tiles"))
    if task.study.draem_checkpoint:
        return seen | {"imported": listing_digest(Path(task.study.draem_checkpoint))}
    given = seen | {"textures": _textures(task.study)[1], "start": start_weights(task.study)[1]}
    return training_settings(task) | given


def training_images(task: FitTask) -> np.ndarray:
    """Return the good images that a DRAEM learns from, or their tiles, (n, image_size, image_size, 3) uint8."""
    import torch

    from lib.torch_utils import cut

    side, tiles = task.study.image_size, task.study.tiles
    found = np.empty((len(task.good), tiles**2, side, side, 3), np.uint8)
    for place, row in enumerate(task.good):  # one by one: all good images and all tiles would be twice the memory
        image = torch.from_numpy(np.array(task.inputs[row])).permute(2, 0, 1)
        found[place] = cut(image[None], side, tiles).permute(0, 2, 3, 1).numpy()
    return found.reshape(-1, side, side, 3)


def _fit(task: FitTask) -> tuple[Draem, dict[str, Any]]:
    from lib.draem.inference import import_official
    from lib.draem.training import TrainingSettings, train

    if task.study.draem_checkpoint:
        imported = import_official(Path(task.study.draem_checkpoint))
        imported.tile, imported.tiles = task.study.image_size, task.study.tiles
        return imported, {"origin": "official checkpoint", "start": "", "textures": "unknown", "history": []}
    (textures, name), settings = texture_bank(task.study), TrainingSettings(**training_settings(task))
    images = training_images(task)
    draem, history = train(images, textures, settings, task.device, task.checkpoint, task.progress)
    draem.tile, draem.tiles = task.study.image_size, task.study.tiles
    digest = start_weights(task.study)[1][:12]
    start = f"pretrained weights (SHA-256 {digest})" if settings.start else "scratch"
    summary = {"origin": "trained", "steps": settings.steps, "textures": name, "start": start}
    return draem, summary | {"history": history.round(6).to_dict("records")}


def _load(path: Path, device: str) -> Draem:
    from lib.draem.inference import Draem

    return Draem.load(path, device)


def training_image(study: Study) -> float:
    """Return the seconds of a training image (or tile), from docs/draem.md; a map takes 0.3 of that."""
    widths = 0.81 * (study.reconstructive_width / 16) ** 2 + 0.19 * (study.discriminative_width / 8) ** 2
    return 0.02 * (study.image_size / 64) ** 2 * widths


def network_bytes(study: Study) -> float:
    """Return the bytes of both networks' weights, nearly: they grow with the squares of the widths."""
    reconstructive = 69.05e6 * (study.reconstructive_width / 128) ** 2
    return 4 * (reconstructive + 28.37e6 * (study.discriminative_width / 64) ** 2)


def _fit_cost(study: Study, n_good: int, sharing: int) -> tuple[float, float]:
    """Return the seconds, and the bytes of images, weights, gradients, Adam's moments and of what backward needs."""
    if study.draem_checkpoint:
        return 0.0, n_good * 3 * study.map_side**2
    steps = study.steps_for(n_good, sharing)
    # 10 to 20 % more were measured
    trained = 1000 + 80 * (study.reconstructive_width + study.discriminative_width)
    per_pixel = 3 * (n_good * study.tiles**2 + N_TEXTURES) + study.draem_batch * trained
    seconds = steps * study.draem_batch * training_image(study)
    return seconds, 4 * network_bytes(study) + study.image_size**2 * per_pixel


def _caption(study: Study) -> str:
    kind = study.map_fit.replace("_", " ")
    if study.draem_checkpoint:
        return f"DRAEM {study.image_size} px, official checkpoint · maps {kind}"
    length = f"{study.draem_epochs} epochs" if study.draem_epochs else f"{study.draem_steps} steps"
    widths = f"{study.reconstructive_width}/{study.discriminative_width}"
    start = "pretrained weights" if start_weights(study)[0] else "scratch"
    how = f"{length} from {start}, {study.draem_simulation} simulation"
    return f"DRAEM {study.image_size} px, widths {widths}, {how} · maps {kind}"


DETECTOR = Detector(
    inputs="images", fit=_fit, load=_load, depends_on=_depends_on, fit_cost=_fit_cost,
    map_seconds=lambda study: 0.3 * training_image(study) * study.tiles**2, caption=_caption,
)  # fmt: skip
