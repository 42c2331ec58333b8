"""Files of tensors from elsewhere: sound ones are read, every other one is a ValueError with its name."""

import io
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lib.tensors import load_state_dict, load_weights_only

STATE = {"a": torch.ones(20), "b.weight": torch.ones(3, 3)}


def saved(zipped):
    buffer = io.BytesIO()
    torch.save(STATE, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def test_sound_files_come_back(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    (tmp_path / "a.pth").write_bytes(saved(True))
    (tmp_path / "a.pckl").write_bytes(saved(False))
    for path in tmp_path.iterdir():
        found = load_state_dict(path)
        assert found.keys() == STATE.keys() and torch.equal(found["b.weight"], STATE["b.weight"])


@pytest.mark.parametrize("zipped", [True, False])
def test_damage_is_always_a_value_error(zipped, tmp_path):
    sound, rng, refused = saved(zipped), np.random.default_rng(0), 0
    path = tmp_path / "a.pth"
    for attempt in range(150):
        data = bytearray(sound)
        if attempt % 2:
            del data[rng.integers(len(data)) :]
        else:
            data[rng.integers(min(len(data), 400))] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            load_state_dict(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 75


class Malicious:
    def __reduce__(self):
        return os.system, ("touch harm",)


def test_code_is_named_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Malicious()}, "a.pth")
    with pytest.raises(ValueError, match=r"may run code: it holds .*system") as caught:
        load_weights_only(tmp_path / "a.pth")
    assert "weights_only" not in str(caught.value)  # torch's own text advises to switch the protection off
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ([1, 2], "got list"),
        ({"a": 1}, "expected a state_dict"),
        ({1: torch.ones(1)}, "expected a state_dict"),
        ({"a": torch.ones(2, 2).to_sparse()}, "a is sparse"),
    ],
)
def test_other_things_are_no_state(content, part, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=part):
        load_state_dict(tmp_path / "a.pth")
