"""What is hostile is refused or made harmless: formulas in CSVs, packed and huge files, code in weights, open ports."""

import csv
import io
import json
import os
import re
import resource
import shlex
import struct
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from lib.datasets.csv_text import csv_text, inert, plain, read_csv
from lib.datasets.groups import groups_from_file
from lib.datasets.layouts import walk
from lib.datasets.layouts.label_list import find
from lib.draem.inference import BGR_AXES, Draem, import_official
from lib.features.backbone_weights import WeightsError
from lib.torch_utils import load_state_dict

ROOT = Path(__file__).parents[1]
FORMULAS = ("=cmd|' /C calc'!A0", "+1", "-1", "@x", "\t=1", "\r=1", "'=1", "''+2")
HARMLESS = ("good", "a=b", "'quoted", "", "−1", "ü")
GROWN = 100 * 2**20  # bytes of memory that refusing a file may take
starts_a_formula = re.compile(r"[=+\-@\t\r]").match


@pytest.mark.parametrize("text", FORMULAS + HARMLESS)
def test_a_text_is_inert_in_a_spreadsheet_and_comes_back(text):
    assert not starts_a_formula(inert(text)) and plain(inert(text)) == text
    assert (inert(text) == text) == (text in HARMLESS)


def test_a_tables_texts_names_and_index_are_inert_and_numbers_stay():
    texts = list(FORMULAS)
    table = pd.DataFrame({"=name": texts, "number": [-1.5] * len(texts)}, index=pd.Index(texts, name="row"))
    table["kind"] = table["=name"].astype("category")
    text = csv_text(table)
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert [cell for cell in cells if starts_a_formula(cell)] == ["-1.5"] * len(texts)
    back = read_csv(io.StringIO(text, newline=""), index_col=0)
    assert list(back["=name"]) == list(back.index) == list(back["kind"]) == texts
    assert list(back["number"]) == [-1.5] * len(texts)


def test_lists_that_users_hand_back_are_read_right(tmp_path):
    names = [f"{mark}{number}.png" for number, mark in enumerate("=+-@")]
    groups = pd.DataFrame({"id": names, "group": [f"={name}" for name in names]})
    (tmp_path / "groups.csv").write_text(csv_text(groups, index=False))
    found, issues = groups_from_file(tmp_path / "groups.csv", names)
    assert not issues and found == {name: f"={name}" for name in names}
    listed = pd.DataFrame({"path": names, "label": ["-1", "+1", "=x", "@y"]})
    (tmp_path / "labels.csv").write_text(csv_text(listed, index=False))
    _, table = find(walk(tmp_path))
    pd.testing.assert_frame_equal(table, listed, check_dtype=False)


def test_every_csv_of_the_library_is_written_so():
    """History has numbers and splits' names only; `Table.to_csv` is by `csv_text` itself."""
    pattern = re.compile(r"(\w+)\.to_csv\(")
    written = {
        (path.name, found[1])
        for path in (ROOT / "lib").rglob("*.py")
        for found in pattern.finditer(path.read_text(encoding="utf-8"))
    }
    tables = {("display.py", "table"), ("two_studies.py", "measured")}
    assert written == {("detectors.py", "table"), ("csv_text.py", "table"), *tables}


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def a_file(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


ONE = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
HEADERS = {
    "a header longer than any": ({"a": ONE}, bytes(16), 2**63),
    "a header longer than the file": ({"a": ONE}, bytes(16), 90_000_000),
    "tensors that share bytes": ({"a": ONE, "b": ONE}, bytes(16), None),
    "offsets within another": ({"a": ONE, "b": ONE | {"data_offsets": [8, 24]}}, bytes(24), None),
    "an unknown type": ({"a": ONE | {"dtype": "F99"}}, bytes(16), None),
    "a type of another size": ({"a": ONE | {"dtype": "I8"}}, bytes(16), None),
    "a shape beyond 64 bits": ({"a": ONE | {"shape": [2**40, 2**40]}}, bytes(16), None),
    "a shape that the file lacks": ({"a": ONE | {"shape": [2**58], "data_offsets": [0, 2**60]}}, bytes(16), None),
    "nesting": (b"[" * 90_000 + b"]" * 90_000, b"", None),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_a_hostile_header_is_refused_by_the_files_name_and_takes_no_memory(name, tmp_path):
    header, data, length = HEADERS[name]
    path, before = a_file(tmp_path / "w.safetensors", header, data, length), peak()
    with pytest.raises(ValueError, match=r"w\.safetensors: damaged or no file of tensors .*restore it"):
        load_state_dict(path)
    assert peak() - before < GROWN


def packed(path, count):
    """Write what `torch.save` writes for `count` numbers of 0, packed to a thousandth."""
    torch.save({"w": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as file:
        records = {name: file.read(name) for name in file.namelist()}
    number = b"J" + struct.pack("<i", count)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in records.items():
            if name.endswith("data/0"):
                data = bytes(4 * count)
            file.writestr(name, data.replace(b"K\x04t", number + b"t").replace(b"K\x04\x85", number + b"\x85"))
    return path


def test_weights_that_are_packed_are_not_unpacked(tmp_path):
    path = packed(tmp_path / "w.pth", 50_000_000)
    assert path.stat().st_size < 1e6
    before = peak()
    with pytest.raises(ValueError, match=r"w\.pth: damaged .*more bytes in it than the file has"):
        load_state_dict(path)
    assert peak() - before < GROWN


def test_a_tensor_larger_than_its_numbers_is_refused(tmp_path):
    torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth: w is sparse, expanded or quantized"):
        load_state_dict(tmp_path / "w.pth")


def test_widths_that_a_file_only_claims_take_no_memory(tmp_path):
    state = {key: torch.zeros(20_000, 3, 1, 1) for key in BGR_AXES}
    save_file(state, tmp_path / "w.safetensors")
    before = peak()
    with pytest.raises(ValueError, match=r"w\.safetensors: not the weights of DRAEM"):
        Draem.of_state(load_state_dict(tmp_path / "w.safetensors"), tmp_path / "w.safetensors")
    assert peak() - before < GROWN


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "a.pckl"])
@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_that_would_run_code_is_named_and_not_run(name, legacy, tmp_path):
    from lib.features.backbone import _read

    harm, file = tmp_path / "harm", tmp_path / name
    torch.save({"w": Malicious(harm)}, file, _use_new_zipfile_serialization=not legacy)
    if name.endswith(".pckl"):
        torch.save({"w": Malicious(harm)}, tmp_path / "a_seg.pckl")
        with pytest.raises(ValueError, match="may run code"):
            import_official(tmp_path)
    else:
        with pytest.raises(WeightsError, match="may run code"):
            _read(file)
    assert not harm.exists()


def test_make_lab_listens_on_loopback_and_asks_for_its_token():
    from jupyter_server.serverapp import ServerApp

    recipe = re.search(r"^lab:.*\n\t\$\(PY\) -m jupyter lab (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert recipe, "make lab starts JupyterLab in another way: adapt this test"
    app = ServerApp()
    app.parse_command_line(shlex.split(recipe[1]))
    assert app.ip == "127.0.0.1" and not app.allow_remote_access and not app.allow_origin
    assert app.identity_provider_class(parent=app).token and not app.disable_check_xsrf
