"""The fine-tuned baseline on a few drawn images: what it trains, what it tests, what it writes."""

import numpy as np
import pandas as pd
import pytest
import torch

from lib.features.backbone_weights import RANDOM
from lib.pipeline.run import open_run

from .end_to_end import Network, main, probabilities, train


def bright_or_dark(count):
    """Noisy pictures (count, 3, 32, 32) uint8 whose defects, every second one, are brighter on one side."""
    pictures = np.random.default_rng(0).integers(60, 120, (count, 3, 32, 32), dtype=np.uint8)
    pictures[1::2, :, :, 16:] += 120
    return torch.from_numpy(pictures), torch.arange(count) % 2


@pytest.mark.slow
def test_command(tmp_path, monkeypatch, capsys):
    given = "--dataset deco_cap --preset smoke --folds 2 --epochs 1 --side 32 --weights random-init --output"
    monkeypatch.setattr("sys.argv", ["end_to_end", *given.split(), str(tmp_path)])
    main()
    rows = pd.read_csv(tmp_path / "end-to-end-deco_cap.csv")
    assert list(rows["fold"]) == ["stratified-0", "stratified-1", "mean of 2"]
    by_class = [f"recall_at_5: {name}" for name in ("flowlines", "marks")]
    for name in ["recall_at_5", "binary_auc", *by_class]:
        assert rows[name].between(0, 1).all()
        assert np.isclose(rows[name].iloc[:2].mean(), rows[name].iloc[2], atol=1e-4)

    home = tmp_path / "end-to-end" / "deco_cap-synthetic"
    known = pd.read_parquet(home / "folds.parquet").set_index("id")["fold"]
    parts = {fold: pd.read_parquet(home / f"end-to-end/stratified-{fold}.parquet") for fold in (0, 1)}
    for fold, part in parts.items():  # each fold's test images, and no others
        assert set(part["id"]) == set(known.index[known == fold])
        assert np.allclose(part.filter(like="p:").sum(axis=1), 1)

    before = parts[0]["p:good"].to_numpy()
    monkeypatch.setattr("sys.argv", ["end_to_end", *given.split(), str(tmp_path), "--inner"])
    main()
    inner = pd.read_parquet(home / "end-to-end/inner-stratified-0.parquet")
    assert set(inner["id"]) < set(parts[1]["id"]), "settings are chosen without the test fold"
    assert len(before) + len(parts[1]) == len(known)


@pytest.mark.slow
def test_training_finds_defects_and_leaves_the_first_stages(tmp_path):
    torch.manual_seed(0)
    pictures, codes = bright_or_dark(32)
    settings = {"weights": RANDOM, "feature_size": 32}
    network = Network(open_run("deco_cap", "smoke", "", str(tmp_path), settings), 2, frozen=4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    train(network, pictures, codes, 30, 1e-3)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    first = ("conv_stem", "bn1", "blocks.0.", "blocks.1.")
    assert not [name for name in changed if name.startswith(tuple(f"backbone.net.{one}" for one in first))]
    third = "backbone.net.blocks.2.0."
    assert {"head.weight", f"{third}conv_pw.weight", f"{third}bn1.running_mean"} <= changed
    assert not any(module.training for module in network.modules())
    chances = probabilities(network, pictures)
    assert chances[1::2, 1].min() > chances[::2, 1].max()
