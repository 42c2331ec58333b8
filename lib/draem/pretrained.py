"""Weights that DRAEM's training in a fold starts from: carried ones by their widths, or a file of one's own."""

from pathlib import Path

from lib.artifacts import file_sha256
from lib.config import Study

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
    trained = study.map_source == "draem" and not study.draem_checkpoint
    if study.draem_start == "scratch" or not trained:
        return "", ""
    if study.draem_weights:
        return study.draem_weights, file_sha256(Path(study.draem_weights))
    name, sha256 = CARRIED.get((study.reconstructive_width, study.discriminative_width), ("", ""))
    if name and file_sha256(FOLDER / name) != sha256:
        issue = "damaged (not the published SHA-256)"
        raise ValueError(f"{FOLDER / name}: {issue}; restore it, or draem_start=scratch")
    return (str(FOLDER / name), sha256) if name else ("", "")


def check_weights(study: Study) -> None:
    """Raise ValueError unless the weights to start from are those of a DRAEM of the study's widths."""
    from lib.draem.inference import Draem, widths_of
    from lib.torch_utils import load_state_dict

    path, _ = start_weights(study)
    if not path:
        return
    try:
        widths = widths_of(Draem.of_state(load_state_dict(Path(path)), Path(path)).state_dict())
        if widths != (wanted := [study.reconstructive_width, study.discriminative_width]):
            raise ValueError("{}: of widths {}/{}, the study has {}/{}".format(path, *widths, *wanted))
    except ValueError as error:
        remedy = "give what `make draem-weights` wrote, or draem_start=scratch"
        raise ValueError(f"{error}; {remedy}") from error
