"""The index page of a study: answer, the paper's tables, maps, conclusions, and links to everything else."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib as mpl
import numpy as np
import pandas as pd
from PIL import Image

from lib.artifacts import write_text
from lib.pipeline.dataset import in_test_fold, index, load_images, splits
from lib.pipeline.maps import maps, scores
from lib.pipeline.run import Run
from lib.reporting.display import caption
from lib.reporting.html_pages import accessible, embedded, render_index, versions
from lib.reporting.style import MAP_COLOURS

SHOWN = ("samples", "recalls", "recall-and-false-rejects", "degradation-by-class", "hits-and-misses")
SHOWN_OVER_ALL = ("degradation", "label-economy")
MAIN_TABLES = {"table2": "Table 2: recalls and AUC", "table3": "Table 3: fewer and fewer defects"}
TABLES = {
    "table1": "Table 1: data",
    "comparisons": "Every comparison",
    "comparisons-by-class": "Every comparison, by class",
    "map-fit": "Maps as written, and cross-fitted",
    "map-quality": "What the maps find",
    "map-source": "Map sources compared",
    "guided": "The map as a guide",
    "baselines": "What could do as well",
    "operating-points": "What a recall costs",
    "operating-points-by-class": "What the recall of a class costs",
    "aql": "AQL: what escapes (Eq. 1)",
    "learning-curves": "What a labelled defect buys",
    "label-economy": "How many labelled defects it takes",
    "table2-beside-paper": "Table 2 beside the paper's",
    "table3-beside-paper": "Table 3 beside the paper's",
}
ESTIMATE = "estimate.json"  # seconds that run_all.py expected of each notebook, by data set
SIDE = 144  # pixels of a picture in the strip


def write_index(
    runs: Sequence[Run], home: Path, command: str, series: Sequence[str], *, embed: bool = True
) -> Path:
    """Write the study's index page and return its path.

    `home` holds the tables, figures and pages that the notebooks wrote (the study's folder, or a copy) and gets the
    page; `series` names the notebooks in order. With `embed` pictures are in the page, so that it can be read alone.
    """
    said = pd.read_csv(home / "tables" / "conclusions.csv", keep_default_na=False)
    short = pd.read_csv(home / "tables" / "answer.csv", keep_default_na=False)
    answers = dict(zip(short["dataset"], short["answer"], strict=True))
    study, name = runs[0].study, Path(runs[0].study_dir).name
    software = versions()
    statistics = f"notebooks/{series[-1]}.html"
    page = render_index(
        title=f"Image, anomaly map, or both? Study {name}",
        badges=[
            f"study {name}",
            f"preset {study.preset}",
            *sorted({f"{_backbone(run)}" for run in runs}),
            f"{study.folds} folds",
            f"seed {study.seed}",
            *(f"{part} {software['version'][part]}" for part in ("Python", "torch")),
        ],
        embed=embed,
        warnings=_warnings(runs),
        datasets=[
            {
                "name": run.name,
                "anchor": f"dataset-{number}",
                "caption": caption(run),
                "answer": answers[run.name],
                "answers": said[said["dataset"] == run.name].to_dict("records"),
                "strip": strip(run),
                "figures": _figures(home, home / run.name / "figures", SHOWN, embed),
                "more": _figures(home, home / run.name / "figures"),
                "notebooks": _notebooks(home, run.name, series[:-1]),
            }
            for number, run in enumerate(runs)
        ],
        main_tables=_tables(home, MAIN_TABLES),
        tables=_tables(home, TABLES),
        figures=_figures(home, home / "figures", SHOWN_OVER_ALL, embed),
        settings=accessible(study.describe().to_html(border=0, index_names=False, classes="wide-text")),
        times=accessible(times(runs, series).to_html(border=0, index_names=False, na_rep="–")),
        versions=accessible(software.to_html(border=0, index_names=False)),
        command=command,
        statistics=statistics if (home / statistics).exists() else "",
        finished=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(home / "index.html", page)
    return home / "index.html"


def strip(run: Run) -> list[dict[str, str]]:
    """Return for each class, good first, one test image and its map as embedded pictures: label, image, map.

    Of each class it is the image in the middle by anomaly score, so neither the best nor the worst map.
    """
    table = index(run)
    first = splits(run, with_maps=True)[0].rsplit("-", 1)[0]
    split = np.full(len(table), "", dtype=object)
    score = np.zeros(len(table), dtype=np.float32)
    for name in splits(run, with_maps=True):
        if name.rsplit("-", 1)[0] == first:
            tested = in_test_fold(run, name)
            split[tested], score[tested] = name, scores(run, name)[tested]
    pairs = []
    for label in table.attrs["classes"]:
        rows = np.flatnonzero((table["label"] == label).to_numpy() & (split != ""))
        if len(rows):
            row = int(rows[np.argsort(score[rows], kind="stable")[(len(rows) - 1) // 2]])
            photo = load_images(run, [row], SIDE)[0][0]
            anomaly = np.asarray(maps(run, str(split[row]))[row], dtype=np.float32)
            coloured = mpl.colormaps[MAP_COLOURS](np.clip(anomaly, 0, 1), bytes=True)[..., :3]
            pairs.append({"label": str(label), "image": _jpeg(photo), "map": _jpeg(coloured)})
    return pairs


def times(runs: Sequence[Run], series: Sequence[str]) -> pd.DataFrame:
    """Return each notebook's seconds per data set: as estimated before the run, and as it took.

    A notebook that was executed again for what had changed took as long as that; the estimate is of the whole.
    """
    path = Path(runs[0].study_dir) / ESTIMATE
    planned = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    columns: dict[str, pd.Series] = {}
    for run in runs:
        taken = {name: run.store.manifest(f"notebooks/{name}.ipynb") for name in series[:-1]}
        if run.name in planned:
            columns[f"{run.name}, estimated"] = pd.Series(planned[run.name])
        columns[f"{run.name}, taken"] = pd.Series(
            {name: record["summary"]["seconds"] for name, record in taken.items() if record}
        )
    return pd.DataFrame(columns).reindex(list(series[:-1])).rename_axis("seconds").round(1)


def _jpeg(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=88)
    return embedded(buffer.getvalue(), "jpeg")


def _backbone(run: Run) -> str:
    return str((run.store.manifest("features/image.npy") or {})["summary"]["backbone"])


def _warnings(runs: Sequence[Run]) -> list[str]:
    """Return what a reader must know before the figures."""
    drawn = [run.name for run in runs if run.synthetic]
    found = []
    if drawn:
        found.append(
            f"{', '.join(drawn)}: drawn stand-ins with the classes of the paper's products. Their figures show that "
            "the method runs and what its output looks like; they replicate nothing."
        )
    if runs[0].study.preset != "paper":
        found.append(
            f"Preset {runs[0].study.preset}: smaller networks, fewer steps and folds than the paper's. "
            "Preset paper has its settings."
        )
    if any("IMAGENET1K_V1" not in _backbone(run) for run in runs):
        found.append(
            f"Features come from {', '.join(sorted({_backbone(run) for run in runs}))}, not from torchvision's "
            "ImageNet weights, which the paper used (--weights FILE)."
        )
    return found


def _notebooks(home: Path, folder: str, names: Sequence[str]) -> list[dict[str, str]]:
    """Return links to the data set's pages that exist, inspections by it last."""
    notebooks = home / folder / "notebooks"
    pages = [(name.replace("_", " "), notebooks / f"{name}.html") for name in names]
    inspected = sorted((home / folder / "inspection").glob("*/notebooks/*.html"))
    pages += [(f"inspection of {page.parents[1].name}", page) for page in inspected]
    found = []
    for text, path in pages:
        if path.exists():
            href = quote(path.relative_to(home).as_posix())
            found.append({"text": text, "href": href, "source": href.removesuffix("html") + "ipynb"})
    return found


def _tables(home: Path, titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the tables that exist: some need what not every study has."""
    return [
        {
            "title": title,
            "html": (home / "tables" / f"{name}.html").read_text(encoding="utf-8"),
            "links": [{"href": f"tables/{name}.{kind}", "text": kind.upper()} for kind in ("csv", "md")],
        }
        for name, title in titles.items()
        if (home / "tables" / f"{name}.html").exists()
    ]


def _figures(
    home: Path, folder: Path, names: Sequence[str] | None = None, embed: bool = True
) -> list[dict[str, Any]]:
    """Return the figures that exist, all or those named; alternative text and caption stand in the PNG itself."""
    entries = []
    for path in (folder / f"{name}.png" for name in names or sorted(p.stem for p in folder.glob("*.png"))):
        if not path.exists():
            continue
        with Image.open(path) as picture:
            told = dict(picture.info)
        kinds = [kind for kind in ("png", "svg") if path.with_suffix(f".{kind}").exists()]
        stem = quote(path.with_suffix("").relative_to(home).as_posix())
        entries.append(
            {
                "alt": str(told.get("Description", path.stem)),
                "caption": str(told.get("Comment", "")),
                "source": embedded(path.read_bytes()) if embed and names else f"{stem}.png",
                "files": {kind: f"{stem}.{kind}" for kind in kinds},
            }
        )
    return entries
