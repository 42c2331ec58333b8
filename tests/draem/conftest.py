from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lib.draem.inference import Draem
from lib.draem.training import TrainingSettings, train

FIXTURES = Path(__file__).parent / "fixtures"


def load_arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path) as arrays:
        return {name: torch.from_numpy(np.atleast_1d(arrays[name])) for name in arrays}


@pytest.fixture(scope="session")
def official() -> dict[str, Tensor]:
    return load_arrays(FIXTURES / "official.npz")


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def textures() -> Tensor:
    return torch.from_numpy(np.random.default_rng(2).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8))


@pytest.fixture(scope="session")
def trained(images: np.ndarray, textures: Tensor) -> Draem:
    return train(images, textures, TrainingSettings(2, 2, steps=3, batch=4, lr=1e-2, seed=3))[0]
