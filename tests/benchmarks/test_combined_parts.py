"""The table of the combined method's parts, on a finished small study."""

import pandas as pd

from tests.benchmarks import combined_parts
from tests.benchmarks.combined_parts import UNMASKED, VARIANTS, main


def test_command(standin, tmp_path, monkeypatch):
    given = f"--dataset deco_cap --preset smoke --set weights=random-init --output {standin[0]}"
    monkeypatch.setattr("sys.argv", ["combined_parts", *given.split()])
    monkeypatch.setattr(combined_parts, "PROJECT", tmp_path)
    main()
    rows = pd.read_csv(tmp_path / "outputs/benchmarks/combined-parts-deco_cap.csv", index_col="features")
    names = [one.key for one in VARIANTS]
    assert set(rows.index) == {*names, f"patch{UNMASKED}", f"combined{UNMASKED}"}
    assert (
        rows[["recall_at_5", "binary_auc", "flowlines", "marks"]]
        .apply(lambda column: column.between(0, 1))
        .all(axis=None)
    )
    assert rows["less combined"].isna().sum() == 1
