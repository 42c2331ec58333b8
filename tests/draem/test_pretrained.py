import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.batch.provenance import write_provenance
from lib.config import Study
from lib.draem import pretrained
from lib.draem.detector import DETECTOR
from lib.draem.inference import Draem
from lib.draem.pretrained import CARRIED, FOLDER, check_weights, start_weights
from lib.draem.training import TrainingSettings, train
from lib.pipeline.dataset import splits
from lib.pipeline.detectors import fit_model
from lib.pipeline.run import open_run


@pytest.mark.parametrize("widths", CARRIED)
def test_carried_weights_are_the_published_ones_of_their_widths(widths):
    study = Study.of("quick", {"reconstructive_width": widths[0], "discriminative_width": widths[1]})
    check_weights(study)
    path, sha256 = start_weights(study)
    assert (Path(path).name, sha256) == CARRIED[widths]
    assert all(value.isfinite().all() for value in Draem.load(Path(path)).state_dict().values())
    assert sha256[:12] in (FOLDER / "README.md").read_text(encoding="utf-8")  # the model card


def test_all_carried_weights_are_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) < 16e6


def test_presets_start_where_they_say(monkeypatch):
    monkeypatch.setattr("lib.config.cuda_available", lambda: False)
    started = {preset: Path(start_weights(Study.of(preset))[0]).name for preset in ("quick", "standard", "paper")}
    assert started == {"quick": "draem-16-8.safetensors", "standard": "draem-32-16.safetensors", "paper": ""}
    assert start_weights(Study.of("quick", {"draem_start": "scratch"})) == ("", "")
    assert start_weights(Study.of("quick", {"reconstructive_width": 128})) == ("", "")  # none are carried
    assert start_weights(Study.of("quick", {"draem_checkpoint": "x"})) == ("", "")


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "weights")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "weights")
    with (tmp_path / "weights" / CARRIED[16, 8][0]).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(ValueError, match=r"draem-16-8\.safetensors: damaged.*restore it"):
        start_weights(Study.of("quick"))


def test_weights_of_ones_own_must_fit(tmp_path):
    def check(path):
        check_weights(Study.of("quick", {"draem_weights": str(path), "reconstructive_width": 4}))

    with pytest.raises(ValueError, match=r"of widths 16/8, the study has 4/8; give what `make draem-weights` wrote"):
        check(FOLDER / CARRIED[16, 8][0])
    (tmp_path / "text.safetensors").write_text("text")
    with pytest.raises(ValueError, match="damaged or no file of tensors"):
        check(tmp_path / "text.safetensors")
    torch.save({"other": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="not the weights of DRAEM's two networks"):
        check(tmp_path / "other.pth")
    flat = {name: torch.tensor(1.0) for name in Draem.load(FOLDER / CARRIED[16, 8][0]).state_dict()}
    torch.save(flat, tmp_path / "flat.pth")
    with pytest.raises(ValueError, match="not the weights of DRAEM's two networks"):
        check(tmp_path / "flat.pth")
    whole = Draem.load(FOLDER / CARRIED[16, 8][0]).state_dict()
    whole["discriminative.decoder_segment.fin_out.0.bias"][0] = float("nan")
    torch.save(whole, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match="weights that are no finite numbers"):
        check(tmp_path / "nan.pth")


def test_a_study_says_what_its_draem_started_from(tmp_path):
    def fitted(**settings):
        given = {"weights": "random-init", "reconstructive_width": 16, "discriminative_width": 8, "draem_steps": 1}
        run = open_run("deco_cap", "smoke", "", str(tmp_path / "study"), given | settings)
        summary = fit_model(run, splits(run, with_maps=True)[0])
        return summary["start"], DETECTOR.caption(run.study), json.loads(write_provenance(run).read_text())

    start, caption, record = fitted()
    assert start == f"pretrained weights (SHA-256 {CARRIED[16, 8][1][:12]})" and record["draem_start"] == [start]
    assert "1 steps from pretrained weights, extended simulation" in caption
    start, caption, record = fitted(draem_start="scratch", draem_simulation="paper")
    assert start == "scratch" and record["draem_start"] == ["scratch"]
    assert "1 steps from scratch, paper simulation" in caption


def test_training_starts_from_them(images, textures, trained, tmp_path):
    trained.save(tmp_path / "start.safetensors", {})
    settings = TrainingSettings(2, 2, steps=1, batch=4, lr=1e-9, seed=5, start=str(tmp_path / "start.safetensors"))
    going_on, _ = train(images, textures, settings)
    begun = dict(trained.named_parameters())
    assert all(torch.allclose(value, begun[name], atol=1e-6) for name, value in going_on.named_parameters())
    anew, _ = train(images, textures, TrainingSettings(2, 2, steps=1, batch=4, lr=1e-9, seed=5))
    assert not np.allclose(*(d.reconstructive.encoder.block1[0].weight.detach() for d in (anew, going_on)))
