"""The paper's printed Tables 1 to 3, what its own numbers say of its claims, and the names of data sets."""

from pathlib import Path

import pandas as pd

DISPLAY_NAMES = {"deco_cap": "Deco cap", "shaft": "Shaft", "shavers": "Shavers"}
SYNTHETIC = "-synthetic"
_FOLDER = Path(__file__).with_name("published")


def is_synthetic(dataset: str) -> bool:
    """Return whether the data set is drawn, not photographed."""
    return dataset.endswith(SYNTHETIC)


def display_name(dataset: str) -> str:
    """Return the name that readers see; of drawn ones with a note."""
    name = dataset.removesuffix(SYNTHETIC)
    return DISPLAY_NAMES.get(name, name) + (" (demo data)" if is_synthetic(dataset) else "")


def paper_table(number: int) -> pd.DataFrame:
    """Return one of the paper's Tables 1 to 3, shares in [0, 1].

    1: columns dataset, class, n. 2: dataset, class, metric (class_recall, defect_recall), features, value, bold; the
    printed label Shavers, one row too high, is corrected: stripe is a class of Shaft. 3: dataset, features, metric
    (defect_recall, weighted_auc), keep, value, bold.
    """
    return pd.read_csv(_FOLDER / f"table{number}.csv")


def published_checks() -> pd.DataFrame:
    """Return what the paper's own numbers say of its claims: columns claim, computed, verdict (in words).

    The same for every study; tests/evaluation/test_published_results.py computes it from Tables 1 to 3.
    """
    return pd.read_csv(_FOLDER / "checks.csv")
