"""The measurements of `make test-gpu`, on a CPU at a tiny size: they mean nothing there, but must not rot."""

from unittest import mock

import pytest
import torch

from lib.draem.networks import DiscriminativeNetwork, _Decoder
from tests.benchmarks import draem_gpu
from tests.benchmarks.draem_gpu import TINY, decoded_apart, measure, paper_hours, rows


def test_every_row_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(draem_gpu, "OUTPUT", tmp_path)
    monkeypatch.setattr(draem_gpu, "whole", lambda size, real=draem_gpu.whole, **k: max(1e-6, real(size, **k)))
    table = measure(TINY, limit=100)
    said = capsys.readouterr().out
    assert table["what"].tolist() == [what for what, _ in rows(TINY)], said  # a row that fails is only told
    assert (table["ms"] > 0).all()
    assert (tmp_path / "draem-gpu-32.csv").read_text().count("\n") == len(table) + 1
    assert "Kernels of a step" in said and "convolution" in said


def test_rows_after_the_limit_are_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(draem_gpu, "OUTPUT", tmp_path)
    assert measure(TINY, limit=-1).empty
    assert capsys.readouterr().out.count("left out") == len(list(rows(TINY)))


def test_hours_of_the_papers_size():
    assert sum(paper_hours(0.0755).values()) == pytest.approx(56, abs=1)  # docs/draem.md


def test_two_convolutions_are_one_of_what_is_concatenated():
    network, pairs = DiscriminativeNetwork(2).double(), torch.rand(2, 6, 64, 64, dtype=torch.double)
    expected = network(pairs)
    expected.square().sum().backward()
    gradients = [value.grad.clone() for value in network.parameters()]
    network.zero_grad()
    with mock.patch.object(_Decoder, "forward", decoded_apart):
        found = network(pairs)
    found.square().sum().backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close([value.grad for value in network.parameters()], gradients)
