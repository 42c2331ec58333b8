"""The index page of a study: answer, the paper's tables, maps, conclusions, and links to everything else."""

from __future__ import annotations

import base64
import io
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from PIL import Image

from lib.artifacts import write_text
from lib.execution.software import mixture
from lib.pipeline.dataset import in_test_fold, index, parse_split, primary_splits
from lib.pipeline.maps import scores
from lib.pipeline.run import Run
from lib.reporting.display import provenance, settings_table, table
from lib.reporting.figures_maps import colour_map, read_thumbnails
from lib.reporting.html_pages import NOTEBOOKS, TEMPLATES, render

FIGURES = ("samples", "recalls", "recall-and-false-rejects", "degradation-by-class", "hits-and-misses")
FIGURES_OVER_ALL = ("degradation", "label-economy")
MAIN_TABLES = {"table2": "Table 2: recalls and false rejects", "table3": "Table 3: fewer and fewer defects"}
TABLES = {
    "table1": "Table 1: data",
    "comparisons": "Every comparison",
    "comparisons-by-class": "Every comparison, by class",
    "map-quality": "What the maps find",
    "map-source": "Map sources compared",
    "methods": "Every method, and which is recommended",
    "operating-points": "What a recall costs",
    "aql": "AQL: what escapes (Eq. 1)",
    "label-economy": "How many labelled defects it takes",
    "table2-beside-paper": "Table 2 beside the paper's",
    "table3-beside-paper": "Table 3 beside the paper's",
}
PACKAGES = ("torch", "torchvision", "timm", "scikit-learn", "scipy", "statsmodels", "pandas", "numpy", "pillow",
            "seaborn", "joblib", "distributed", "papermill")  # fmt: skip
PAPERS_BACKBONE = "resnet18 (ImageNet)"
SIDE = 144  # pixels of an image in the strip


def write_index(
    runs: Sequence[Run], home: Path, command: str, *, embed: bool = True, photographs: bool = True
) -> Path:
    """Write the study's index page and return its path.

    `home`, the study's folder or a copy, holds what the notebooks wrote. With `embed` the page holds its images;
    without `photographs` none of the data's own.
    """
    findings = pd.read_csv(home / "tables" / "conclusions.csv", keep_default_na=False)
    answers = pd.read_csv(home / "tables" / "answer.csv", index_col="dataset", keep_default_na=False)[
        "answer"
    ]
    study, name, software = runs[0].study, Path(runs[0].study_dir).name, versions()
    statistics = f"notebooks/{NOTEBOOKS[-1]}.html"
    page = render(
        "index.html.j2",
        title=f"Image, anomaly map, or both? Study {name}",
        css=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        badges=[
            *(f"study {name}", f"preset {study.preset}", *sorted(set(map(_backbone, runs)))),
            *(f"{study.folds} folds", f"seed {study.seed}"),
            *(f"{part} {software['version'][part]}" for part in ("Python", "torch")),
        ],
        embed=embed,
        warnings=_warnings(runs),
        datasets=[
            {
                "name": run.name,
                "anchor": f"dataset-{number}",
                "caption": provenance(run),
                "answer": re.split(r"(?<=\.) (?=[A-Z\d])", answers[run.name]),
                "answers": findings[findings["dataset"] == run.name].to_dict("records"),
                "strip": strip(run) if photographs else [],
                "figures": _figures(home, home / run.name / "figures", FIGURES, embed),
                "more": _figures(home, home / run.name / "figures"),
                "notebooks": _notebooks(home, run.name),
            }
            for number, run in enumerate(runs)
        ],
        main_tables=_tables(home, MAIN_TABLES),
        tables=_tables(home, TABLES),
        figures=_figures(home, home / "figures", FIGURES_OVER_ALL, embed),
        settings=table(settings_table(study)).data,
        times=table(times(runs), digits=1).data,
        versions=table(software).data,
        command=command,
        statistics=statistics if (home / statistics).exists() else "",
        finished=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(home / "index.html", page)
    return home / "index.html"


def versions() -> pd.DataFrame:
    """Return the versions of Python, the system and the packages that the figures depend on."""
    rows = {"Python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    rows |= {name: version(name) for name in PACKAGES}
    return pd.DataFrame({"version": rows}).rename_axis("software")


def strip(run: Run) -> list[dict[str, str]]:
    """Return for each class, good first, its middle test image by anomaly score: label, image, map (both embedded)."""
    images, names = index(run), primary_splits(run)
    tested = [images.assign(score=scores(run, name))[in_test_fold(run, name)] for name in names]
    ranked = pd.concat(tested).sort_index().sort_values("score", kind="stable")
    of_class = {label: ranked["id"][ranked["label"] == label] for label in images.attrs["classes"]}
    middle = {label: ids.iloc[(len(ids) - 1) // 2] for label, ids in of_class.items() if len(ids)}
    found = read_thumbnails(run, parse_split(names[0]).scheme, middle.values(), SIDE)
    coloured = {name: colour_map(one.anomaly_map).round().astype(np.uint8) for name, one in found.items()}
    return [
        {"label": str(label), "image": _jpeg(found[name].image), "map": _jpeg(coloured[name])}
        for label, name in middle.items()
    ]


def times(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the seconds that each notebook's last run took, per data set."""
    columns = {}
    for run in runs:
        manifests = {name: run.store.manifest(f"notebooks/{name}.ipynb") for name in NOTEBOOKS[:-1]}
        columns[run.name] = {name: one["summary"]["seconds"] for name, one in manifests.items() if one}
    return pd.DataFrame(columns).reindex(list(NOTEBOOKS[:-1])).rename_axis("seconds")


def _data_url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def _jpeg(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=88)
    return _data_url(buffer.getvalue(), "jpeg")


def _backbone(run: Run) -> str:
    return str((run.store.manifest("features/image.npy") or {})["summary"]["backbone"])


def _warnings(runs: Sequence[Run]) -> list[str]:
    """Return what a reader must know before the figures."""
    drawn = [run.name for run in runs if run.synthetic]
    backbones = sorted(set(map(_backbone, runs)))
    found = []
    if drawn:
        found.append(
            f"{', '.join(drawn)}: drawn stand-ins with the classes of the paper's products. Their figures show that "
            "the method runs and what its output looks like; they replicate nothing."
        )
    if (preset := runs[0].study.preset) != "paper":
        smaller = "a smaller DRAEM, fewer steps and " if runs[0].study.map_source == "draem" else ""
        found.append(f"Preset {preset}: {smaller}fewer folds than the paper's; preset paper has its own.")
    if any(name != PAPERS_BACKBONE for name in backbones):
        other = "not from the paper's ResNet-18 (--backbone resnet18 --weights imagenet)."
        found.append(f"Features come from {', '.join(backbones)}, {other}")
    return [*found, *filter(None, [mixture(run.store for run in runs)])]


def _notebooks(home: Path, dataset: str) -> list[dict[str, str]]:
    """Return links to the data set's pages that exist, inspections by it last."""
    folder = home / dataset
    pages = {name.replace("_", " "): folder / "notebooks" / f"{name}.html" for name in NOTEBOOKS[:-1]}
    for page in sorted((folder / "inspection").glob("*/notebooks/*.html")):
        pages[f"inspection of {page.parents[1].name}"] = page
    found = {text: page.relative_to(home).as_posix() for text, page in pages.items() if page.exists()}
    return [{"text": text, "href": quote(page)} for text, page in found.items()]


def _tables(home: Path, titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the tables that exist: some need what not every study has."""
    return [
        {"title": title, "name": name, "html": (home / "tables" / f"{name}.html").read_text(encoding="utf-8")}
        for name, title in titles.items()
        if (home / "tables" / f"{name}.html").exists()
    ]


def _figures(
    home: Path, folder: Path, names: Sequence[str] | None = None, embed: bool = True
) -> list[dict[str, Any]]:
    """Return the figures that exist, all or those named; alternative text and caption are in the PNG itself."""
    entries, found = [], {path.stem: path for path in sorted(folder.glob("*.png"))}
    for path in [found[name] for name in names or found if name in found]:
        with Image.open(path) as image:
            texts = dict(image.info)
        kinds = [kind for kind in ("png", "svg") if path.with_suffix(f".{kind}").exists()]
        stem = quote(path.with_suffix("").relative_to(home).as_posix())
        source = _data_url(path.read_bytes(), "png") if embed and names else f"{stem}.png"
        about = {"alt": str(texts.get("Description", path.stem)), "caption": str(texts.get("Comment", ""))}
        entries.append(about | {"source": source, "files": {kind: f"{stem}.{kind}" for kind in kinds}})
    return entries
