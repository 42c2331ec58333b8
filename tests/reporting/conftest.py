"""Figures of tests are drawn without a window, in the study's style, and closed afterwards."""

import numpy as np
import pandas as pd
import pytest

from lib.reporting import style

ODD = ("good", "$x_1$ <b>", "d'é\"faut {x}")


@pytest.fixture
def figures():
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    style.set_style()
    yield
    plt.close("all")


@pytest.fixture
def predictions():
    """Thirty random predictions of three classes with odd names for each feature set."""
    rng = np.random.default_rng(0)
    rows = []
    for features in style.PALETTE:
        for k in range(30):
            chances = rng.dirichlet(np.ones(3))
            rows.append({"features": features, "label": ODD[k % 3], "predicted": ODD[int(chances.argmax())]}
                        | {f"p:{name}": p for name, p in zip(ODD, chances, strict=True)})  # fmt: skip
    return pd.DataFrame(rows).assign(repeat=0)
