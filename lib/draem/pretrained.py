"""Weights that DRAEM's training in a fold starts from: carried ones by their widths, or a file of one's own."""

from __future__ import annotations

from pathlib import Path

from lib.artifacts import file_sha256
from lib.config import Study, map_source_of

FOLDER = Path(__file__).parent / "weights"  # its README.md is the model card
CARRIED = {  # by the widths of the reconstructive and the discriminative network
    (16, 8): ("draem-16-8.safetensors", "efbb09740b9e2150c35e81c26db9f50647b934c312b104947ed006f39f51d380"),
    (32, 16): ("draem-32-16.safetensors", "4dc4a26c17c57f366017e3ba5d4cf26dae07422ed88b8a5f6640d0c003d3fbf9"),
}


def start_weights(study: Study) -> tuple[str, str]:
    """Return the file of the weights to start from and its SHA-256; two empty texts where there is none.

    There is none where the study trains no DRAEM, or from scratch, and where its widths have no carried weights.
    ValueError for carried weights that are not what was published.
    """
    trained = "draem" in map(map_source_of, study.map_methods) and not study.draem_checkpoint
    if study.draem_start == "scratch" or not trained:
        return "", ""
    if study.draem_weights:
        return study.draem_weights, file_sha256(Path(study.draem_weights))
    name, sha256 = CARRIED.get((study.reconstructive_width, study.discriminative_width), ("", ""))
    if name and file_sha256(FOLDER / name) != sha256:
        raise ValueError(
            f"{FOLDER / name}: damaged (not the published SHA-256); restore it, or draem_start=scratch"
        )
    return (str(FOLDER / name), sha256) if name else ("", "")


def check_weights(study: Study) -> None:
    """Raise ValueError unless the weights to start from are those of a DRAEM of the study's widths."""
    from lib.draem.inference import Draem
    from lib.torch_utils import load_state_dict

    path, _ = start_weights(study)
    if not path:
        return
    wanted = (study.reconstructive_width, study.discriminative_width)
    state = load_state_dict(Path(path))
    try:
        draem = Draem.of_state(state)
    except (KeyError, IndexError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: not the weights of DRAEM's two networks; {REMEDY}") from error
    weights = [state[name] for name, _ in draem.named_parameters()]
    if not all(value.is_floating_point() and value.isfinite().all() for value in weights):
        raise ValueError(f"{path}: holds weights that are no finite numbers; {REMEDY}")
    if draem.widths != wanted:
        found = "/".join(map(str, draem.widths))
        raise ValueError(f"{path}: of widths {found}, the study has {wanted[0]}/{wanted[1]}; {REMEDY}")


REMEDY = "give what `make draem-weights` wrote for these widths, or draem_start=scratch"
