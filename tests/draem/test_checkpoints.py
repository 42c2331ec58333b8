import json
import os

import pytest
import torch
from safetensors import safe_open

from lib.draem.inference import Draem, import_official

from .official import export_official


def outputs(draem, images):
    with torch.inference_mode():
        return draem.compare(images)


@pytest.fixture(scope="module")
def picture():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


def test_a_loaded_file_gives_the_same_outputs_and_the_same_networks_the_same_bytes(trained, picture, tmp_path):
    header = {name: number for number, name in enumerate("abcdefgh")}
    files = [tmp_path / f"{k}.safetensors" for k in range(3)]
    for file in files:
        trained.save(file, header)
    assert len({file.read_bytes() for file in files}) == 1
    back = Draem.load(files[0])
    assert not any(layer.training for layer in back.modules())
    for ours, theirs in zip(outputs(back, picture), outputs(trained, picture), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)  # memory formats differ
    with safe_open(files[0], "pt") as file:
        assert json.loads(file.metadata()["draem-1"]) == {name: str(number) for name, number in header.items()}


def test_official_files_are_for_bgr_and_come_back_for_rgb(trained, picture, tmp_path):
    paths = export_official(tmp_path, "DRAEM_test_bottle_", trained.reconstructive, trained.discriminative)
    assert [path.name for path in paths] == ["DRAEM_test_bottle_.pckl", "DRAEM_test_bottle__seg.pckl"]
    expected = outputs(trained, picture)
    again = outputs(import_official(tmp_path), picture)
    for ours, theirs in zip(again, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    # as the official code would use the files: same keys, BGR in, BGR reconstruction out, same map
    reconstructive, discriminative = type(trained.reconstructive)(2), type(trained.discriminative)(2)
    reconstructive.load_state_dict(torch.load(paths[0], weights_only=True))
    discriminative.load_state_dict(torch.load(paths[1], weights_only=True))
    reconstruction, logits = outputs(Draem(reconstructive, discriminative).eval(), picture.flip(1))
    torch.testing.assert_close(reconstruction.flip(1), expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits, expected[1], atol=1e-5, rtol=1e-5)


def test_a_folder_must_hold_one_pair(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="found none"):
        import_official(tmp_path)
    export_official(tmp_path, "a_", trained.reconstructive, trained.discriminative)
    export_official(tmp_path, "b_", trained.reconstructive, trained.discriminative)
    with pytest.raises(FileNotFoundError, match=r"found a_\.pckl, a__seg\.pckl, b_\.pckl, b__seg\.pckl"):
        import_official(tmp_path)
    for name in ("a__seg.pckl", "b__seg.pckl", "b_.pckl"):
        (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"found a_\.pckl;"):
        import_official(tmp_path)


def test_a_pickle_runs_no_code(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_official(tmp_path, "a_", trained.reconstructive, trained.discriminative)
    torch.save({"encoder.block1.0.weight": Malicious()}, tmp_path / "a_.pckl")
    with pytest.raises(ValueError, match=r"a_\.pckl: refused"):
        import_official(tmp_path)
    assert not (tmp_path / "made-by-a-pickle").exists()


def test_other_weights_are_refused(trained, tmp_path):
    one, two = export_official(tmp_path, "a_", trained.reconstructive, trained.discriminative)
    state = torch.load(one, weights_only=True)
    torch.save([1, 2], one)
    with pytest.raises(ValueError, match=r"expected a state_dict \(names to tensors\), got list"):
        import_official(tmp_path)
    torch.save({"conv1.weight": torch.zeros(1)}, one)
    with pytest.raises(ValueError, match=r"not the weights of .*encoder\.block1\.0\.weight"):
        import_official(tmp_path)
    torch.save({**state, "surplus": torch.zeros(1)}, one)
    with pytest.raises(ValueError, match="surplus"):
        import_official(tmp_path)
    torch.save(state, one)
    import_official(tmp_path)
    two.write_bytes(b"")
    with pytest.raises(ValueError, match=r"a__seg\.pckl: damaged"):
        import_official(tmp_path)
