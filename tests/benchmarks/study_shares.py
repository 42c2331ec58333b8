"""Where a finished study's time went, in shares of the seconds that its notebooks took, all data sets together.

    python -m tests.benchmarks.study_shares outputs/quick [OTHER ...]

Data sets run side by side, so that the seconds add up to more than the study took.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import pandas as pd

PARTS = {
    "DRAEM's training": ("draem/",),
    "PatchCore": ("patchcore/",),
    "maps": ("maps/",),
    "features": ("features/",),
    "classifiers": ("predictions/",),
    "images drawn, read, resized": ("synthetic", "index", "folds", "images/"),
}
REST = "notebooks: starts, measures, figures, pages"


def shares(study: Path) -> pd.Series:
    """Return the seconds of each part of a study."""
    seconds: Counter[str] = Counter()
    for path in study.glob("*/provenance.json"):
        for name, artefact in json.loads(path.read_text(encoding="utf-8"))["artefacts"].items():
            if name.startswith("notebooks/"):
                seconds[REST] += artefact["seconds"]
                continue
            part = next(part for part, starts in PARTS.items() if name.startswith(starts))
            seconds[part] += artefact["seconds"]
            seconds[REST] -= artefact["seconds"]
    overall = json.loads((study / "notebooks/06_statistics.ipynb.manifest.json").read_text(encoding="utf-8"))
    seconds["notebook 06"] = overall["summary"]["seconds"]
    return pd.Series(seconds).sort_values(ascending=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path)
    for study in parser.parse_args().studies:
        seconds = shares(study)
        table = pd.DataFrame({"seconds": seconds.round(), "share": (seconds / seconds.sum()).map("{:.0%}".format)})
        print(f"\n{study}: {seconds.sum():.0f} s of notebooks\n{table.to_string()}")


if __name__ == "__main__":
    main()
