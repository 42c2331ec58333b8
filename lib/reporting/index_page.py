"""The index page of a study: verdicts, curves, costs, pictures, checks and what to run next; details folded."""

import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image

from lib.classification.feature_sets import FEATURE_SETS
from lib.config import Study
from lib.datasets.csv_text import read_csv
from lib.evaluation.checks import PILLS
from lib.evaluation.metrics import at_keep, binary_predictions, where
from lib.evaluation.objects import per_verdict
from lib.evaluation.operating_points import points_of, rejected
from lib.evaluation.published_results import display_name
from lib.execution.source_code import mixture
from lib.pipeline.classification import calibration, predictions
from lib.pipeline.dataset import index
from lib.pipeline.run import Run
from lib.reporting.display import provenance, settings_table, table
from lib.reporting.figures_maps import KINDS, draw_overlay, examples, map_level, read_thumbnails
from lib.reporting.html_pages import INDEX_TABLES, NOTEBOOKS, data_url, embedded, render

FIGURES = ("curve", "class-recalls", "confusion", "learning-curve")  # of each data set, half a page wide
PACKAGES = ("torch", "torchvision", "timm", "scikit-learn", "scipy", "statsmodels", "pandas", "numpy", "pillow",
            "seaborn", "joblib", "distributed", "papermill")  # fmt: skip
COSTED = ("image", "map", "image_map", "image_logistic")  # methods compared with the recommended one
WORST = ("bad", "warn", "none", "good")
STATE_OF = {"caught": "good", "missed": "bad", "rejected": "warn"}
EACH, SIDE = 3, 150  # pictures of a kind in the gallery, and their side in pixels


def index_html(
    runs: Sequence[Run],
    home: Path,
    command: str,
    *,
    embed: bool = True,
    pictures: bool = True,
    pages: Sequence[Mapping[str, str]] = (),
) -> str:
    """Return the study's index page.

    `home`, the study's folder or a copy, holds what the notebooks wrote. With `embed` the page holds its figures;
    without `pictures` none of the data's own images. With `pages` (title, html), which are folded into it, it links no
    other file.
    """
    read = {name: _read(home, name) for name in (*INDEX_TABLES, "operating-points")}
    study, linked, points = runs[0].study, not pages, read["operating-points"]
    cards = {row["dataset"]: row for row in read["verdicts"].to_dict("records")}
    drawn = [run for run in runs if run.synthetic]
    datasets = [
        {
            "name": display_name(run.name) if len(drawn) < len(runs) else _short(run.name),
            "card": cards[run.name],
            "figures": {one["name"]: one for one in _figures(home, run.name, embed)},
            "costs": costs(points, run.name, cards[run.name]["features"], study) if len(points) else [],
            "gallery": list(gallery(run, cards[run.name]["features"])) if pictures else [],
            "findings": where(read["conclusions"], {"dataset": run.name}).to_dict("records"),
            "notebooks": _notebooks(home, run.name) if linked else [],
            "provenance": provenance(run),
        }
        for run in runs
    ]
    listed = checklist(read["checks"])
    counts = {pill: sum(one["pill"] == pill for one in listed) for pill in PILLS.values()}
    counted = (f"{n} {pill}{'s' * (n > 1 and pill == 'warning')}" for pill, n in counts.items() if n)
    written, statistics = home / "tables" / f"{INDEX_TABLES[0]}.csv", f"notebooks/{NOTEBOOKS[-1]}.html"
    return render(
        "index.html.j2",
        study=Path(runs[0].study_dir).name,
        embed=embed,
        demo=bool(drawn),
        images=f"{sum(len(index(run)) for run in runs):,}",
        folds=study.folds,
        unit=study.verdict_per,
        finished=datetime.fromtimestamp(written.stat().st_mtime, UTC),
        warning=mixture(run.store for run in runs),
        datasets=datasets,
        checks=listed,
        counted=", ".join(counted),
        commands=list(next_commands(read["checks"], command, bool(drawn)))[:3],
        tables={path.stem: path.read_text(encoding="utf-8") for path in (home / "tables").glob("*.html")},
        statistics=statistics if linked and (home / statistics).exists() else "",
        pages=pages,
        settings=table(settings_table(study)).data,
        times=table(times(runs), digits=1).data,
        versions=table(versions()).data,
        command=command,
    )


def _read(home: Path, name: str) -> pd.DataFrame:
    """Return a table of notebook 06, names of data sets and classes as texts; no rows where it was not written."""
    path, as_text = home / "tables" / f"{name}.csv", name in INDEX_TABLES
    look: Any = {"dtype": str if as_text else {"dataset": str, "class": str}, "keep_default_na": False}
    return read_csv(path, na_values=[] if as_text else [""], **look) if path.exists() else pd.DataFrame()


def costs(points: pd.DataFrame, dataset: str, method: str, study: Study) -> list[dict[str, Any]]:
    """Return for each method shown its operating points (`cells`) for the target recall and the next."""
    rows, shown = [], [one for one in study.recalls if one >= study.target_recall][:2]
    for name in dict.fromkeys((*COSTED, method)):
        mine = points_of(points, dataset=dataset, features=name)
        cells = mine[mine["required"].isin(shown)].sort_values("required").to_dict("records")
        row = {"key": name, "name": FEATURE_SETS[name].title, "cells": cells, "recommended": name == method}
        rows += [row] * bool(cells)
    return rows


def gallery(run: Run, features: str) -> Iterator[dict[str, Any]]:
    """Yield caught defects, missed defects and false rejects of a feature set, images and overlays embedded."""
    found, good = predictions(run, "classification")[0], str(index(run).attrs["good"])
    scheme, binary = found["scheme"].iloc[0], run.study.binary
    tested = binary_predictions(where(at_keep(found, 1.0), {"features": features, "scheme": scheme}), binary)
    known = per_verdict(calibration(run), good, run.study.verdict_per)
    out = rejected(tested, known, good, run.study.target_recall, binary)
    chosen = examples(tested, out, good, EACH)
    thumbnails, level = read_thumbnails(run, scheme, chosen["id"], SIDE), map_level(run)
    for kind, state in STATE_OF.items():
        images = [
            {
                "label": str(one["label"]),
                "caption": str(one["label"]) if kind != "rejected" else "",
                "score": f"{one['score']:.2f}",
                "image": embedded(Image.fromarray(thumbnails[str(one["id"])].image).save, "jpeg", quality=85),
                "overlay": _drawn(thumbnails[str(one["id"])], level),
            }
            for one in chosen[chosen["kind"] == kind].to_dict("records")
        ]
        yield {"title": KINDS[kind], "state": state, "images": images}


def checklist(checked: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the checks, each once: its worst state, the data sets that have it, and a line for every data set."""
    rows = []
    for name, part in checked.groupby("check", sort=False):
        worst = min(part["state"], key=WORST.index)
        row = part[part["state"] == worst].iloc[0].to_dict() | {"name": name, "state": worst}
        there = {pill: ", ".join(map(_short, of["dataset"])) for pill, of in part.groupby("pill", sort=False)}
        first = there.pop(row["pill"])
        others = [f"{pill!s}: {where}" for pill, where in there.items() if pill != PILLS["good"]]
        row["where"] = "; ".join([first, *others]) if worst != "good" and part["pill"].nunique() > 1 else ""
        row["lines"] = [f"{_short(d)}: {r}" for d, r in zip(part["dataset"], part["result"], strict=True)]
        rows.append(row)
    return rows


def next_commands(checked: pd.DataFrame, command: str, drawn: bool) -> Iterator[dict[str, str]]:
    """Yield the commands that the checks ask for, the most useful first; of demo data first that for own images."""
    asked = checked[checked["options"] != ""]
    if drawn:
        own = "python run_all.py --data FOLDER --groups FILE"
        yield {"why": "Run your own images; say which show the same object.", "command": own}
        asked = asked[~asked["options"].isin(["--groups FILE", "--preset paper --study paper"])]
    for row in asked.drop_duplicates("check").to_dict("records"):
        yield {"why": row["action"], "command": with_options(command, row["options"])}


def with_options(command: str, options: str) -> str:
    """Return the command with options in place of those of the same name, or of the same field of `--set`."""
    old, new = (
        {re.sub(r"^--set ([^=]*)=.*|(--\S+) .*", r"\1\2", part): part for part in re.split(r" (?=--)", text)}
        for text in (command, options)
    )
    return " ".join([*(part for name, part in old.items() if name not in new), *new.values()])


def versions() -> pd.DataFrame:
    """Return the versions of Python, the system and the packages that the figures depend on."""
    rows = {"Python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    rows |= {name: version(name) for name in PACKAGES}
    return pd.DataFrame({"version": rows}).rename_axis("software")


def times(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the seconds that each notebook's last run took, per data set."""
    columns = {}
    for run in runs:
        manifests = {name: run.store.manifest(f"notebooks/{name}.ipynb") for name in NOTEBOOKS[:-1]}
        took = {name: one["summary"]["seconds"] for name, one in manifests.items() if one}
        columns[display_name(run.name)] = took
    return pd.DataFrame(columns).reindex(list(NOTEBOOKS[:-1])).rename_axis("seconds of")


def _short(dataset: str) -> str:
    """Return a data set's name without the note that it is demo data, which the page says once."""
    return display_name(dataset).removesuffix(" (demo data)")


def _drawn(thumbnail: Any, level: float) -> str:
    """Return the image under its map with both contours, embedded."""
    figure = plt.figure(figsize=(1, 1), dpi=SIDE)
    draw_overlay(figure.add_axes((0, 0, 1, 1)), thumbnail, level)
    plt.close(figure)
    return embedded(figure.savefig, "jpeg", dpi=SIDE, pil_kwargs={"quality": 85})


def _notebooks(home: Path, dataset: str) -> list[dict[str, str]]:
    """Return links to the data set's pages that exist, inspections by it last."""
    folder = home / dataset
    pages = {name.replace("_", " "): folder / "notebooks" / f"{name}.html" for name in NOTEBOOKS[:-1]}
    for page in sorted((folder / "inspection").glob("*/notebooks/*.html")):
        pages[f"inspection of {page.parents[1].name}"] = page
    found = {text: page.relative_to(home).as_posix() for text, page in pages.items() if page.exists()}
    return [{"text": text, "href": quote(page)} for text, page in found.items()]


def _figures(home: Path, dataset: str, embed: bool) -> Iterator[dict[str, Any]]:
    """Yield each figure of a data set: name, what it shows (which the PNG says), its files, and its source."""
    for path in sorted((home / dataset / "figures").glob("*.png")):
        with Image.open(path) as image:
            alt = str(image.info.get("Description", path.stem))
        stem = path.with_suffix("").relative_to(home).as_posix()
        kinds = [kind for kind in ("png", "svg") if path.with_suffix(f".{kind}").exists()]
        files = {kind: quote(f"{stem}.{kind}") for kind in kinds}
        source = data_url(path.read_bytes()) if embed and path.stem in FIGURES else files["png"]
        yield {"name": path.stem, "alt": alt, "files": files, "source": source}
