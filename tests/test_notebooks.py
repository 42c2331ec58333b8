"""The whole series through run_all.py on preset smoke: a stand-in, and a folder per class with odd names."""

import csv
import html
import io
import json
import re

import numpy as np
import pandas as pd
from PIL import Image

from lib.artifacts import MANIFEST, Store, fingerprint
from lib.batch.notebooks import WRITES
from lib.execution.source_code import ASIDE
from lib.reporting.html_pages import NOTEBOOKS
from tests.whole import QUOTED, run_all

OF_INDEX = ("curve", "class-recalls", "confusion", "learning-curve")  # figures that the index page shows


def test_everything_that_is_promised_is_there(standin):
    study, _, done = standin
    folder = study / "deco_cap-synthetic"
    for name in NOTEBOOKS:
        home = study if name == NOTEBOOKS[-1] else folder
        assert (home / "notebooks" / f"{name}.ipynb").is_file()
        assert (home / "notebooks" / f"{name}.html").is_file()
        assert name in done.stdout
    for name in ("index.parquet", "folds.parquet", "draem/history.csv", "maps/stratified-0.npy",
                 "features/image.npy", "predictions/classification.parquet",
                 "predictions/imbalance.parquet"):  # fmt: skip
        assert Store(folder).issue(name) == ""
    for name in ("table1", "table2", "table3", "costs", "methods", "label-economy"):
        assert {p.suffix for p in (study / "tables").glob(f"{name}.*")} == {".csv", ".html"}
    for name in ("conclusions", "verdicts", "checks", "comparisons", "operating-points", "learning-curves", "folds"):
        assert {p.suffix for p in (study / "tables").glob(f"{name}.*")} == {".csv"}
    for name, kinds in (("samples", {".png"}), ("image-and-map", {".png"}), ("simulation", {".png"}),
                        ("losses", {".png", ".svg"}),
                        ("degradation", {".png", ".svg"}),
                        *((name, {".png", ".svg"}) for name in OF_INDEX)):  # fmt: skip
        assert {p.suffix for p in (folder / "figures").glob(f"{name}.*")} == kinds


def test_predictions_cover_every_image_once_per_cell(standin):
    folder = standin[0] / "deco_cap-synthetic"
    found = pd.read_parquet(folder / "predictions" / "imbalance.parquet")
    index = pd.read_parquet(folder / "index.parquet")
    assert set(found["keep"]) == {0.5, 1.0}
    for _, part in found.groupby(["features", "keep", "task"]):
        assert sorted(part["id"]) == sorted(index["id"])
        probabilities = part[[c for c in part if c.startswith("p:")]].dropna(axis=1).sum(axis=1)
        assert np.allclose(probabilities, 1, atol=1e-5)
    assert found.groupby("id")["label"].first().to_dict() == index.set_index("id")["label"].to_dict()
    wide = found[found["keep"] == 1.0].pivot_table("p:good", "id", "features")
    assert wide["image"].corr(wide["map"]) < 0.999, "the feature sets must differ"


def test_pages_say_once_what_is_reduced_and_what_is_synthetic(standin):
    pages = {path.stem: path.read_text() for path in standin[0].rglob("notebooks/*.html")}
    assert len(pages) == len(NOTEBOOKS)
    for name, page in pages.items():
        assert page.count('class="note provenance"') == 1, name
        told = re.search(r'class="note provenance">([^<]*)<', page)[1]
        assert "synthetic" in told and "reduced" in told, name
        assert page.count(html.escape(told, quote=False)) == 1 or page.count(told) == 1, name
    assert "random-init" in pages["06_statistics"]


def test_a_second_run_does_nothing_and_a_harmed_artefact_is_redone(standin):
    study, command, _ = standin
    again = run_all(*command)
    assert again.stdout.count("proven, nothing to do") == len(NOTEBOOKS)
    assert "differ in what made them" not in again.stdout
    before = (study / "tables" / "table2.csv").read_bytes()
    weights = study / "deco_cap-synthetic" / "draem" / "stratified-0.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    assert "1 at fault" in run_all("--verify", "--preset", "smoke", "--output", study.parent, check=False).stdout
    mended = run_all(*command)
    assert "01_draem_training" in mended.stdout
    assert "00_dataset           proven" in mended.stdout
    assert (study / "tables" / "table2.csv").read_bytes() == before
    assert run_all("--verify", "--preset", "smoke", "--output", study.parent).returncode == 0


def test_a_study_made_by_two_versions_says_so_and_is_kept(standin):
    study, command, _ = standin
    store, name = Store(study / "deco_cap-synthetic"), "predictions/classification/stratified-0.parquet"
    manifest = store.path(name + MANIFEST)
    before, record = manifest.read_text(), store.manifest(name)
    record["made_with"]["scikit-learn"] = "0.1"
    manifest.write_text(json.dumps(record | {"seal": fingerprint(record)}))
    told = re.compile(r"Artefacts of this study differ in what made them.* 1 with 0\.1.*--force")
    try:
        again = run_all(*command)
        assert again.stdout.count("proven, nothing to do") == len(NOTEBOOKS)
        assert len(told.findall(again.stdout)) == 1 and told.search((study / "index.html").read_text())
        verified = run_all("--verify", "--preset", "smoke", "--output", study.parent)
        assert len(told.findall(verified.stdout)) == 1
        assert "0.1" in json.loads(store.path("provenance.json").read_text())["made_with"]["scikit-learn"]
    finally:
        manifest.write_text(before)
    redone = (*ASIDE, *(prefix for prefixes in WRITES.values() for prefix in prefixes))
    assert not [name for name in store.names() if not name.startswith(redone)], "--force is a way out"
    assert not told.search(run_all(*command).stdout + (study / "index.html").read_text())


def test_own_images_with_hostile_names_are_shown_as_text(own):
    study, _, _, _ = own
    pages = [study / "index.html", *study.rglob("*/notebooks/*.html"), *study.glob("notebooks/*.html")]
    assert len(pages) == 8
    for page in pages:
        text = page.read_text()
        assert "<script" not in text.lower(), page
        assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", text), f"{page} loads from elsewhere"
        assert f"'{QUOTED}" not in html.unescape(text), f"{page} shows what is for spreadsheets only"
    shown = [file.read_text(encoding="utf-8") for file in study.rglob("tables/*.html")]
    for notebook in study.rglob("notebooks/*.ipynb"):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", ())]
        shown += ["".join(data.get(f"text/{kind}", "")) for data in outputs for kind in ("html", "markdown")]
    assert not [text for text in shown if "<script" in text.lower()]
    assert any("&lt;script&gt;" in text for text in shown)
    for name in study.rglob("*.csv"):
        rows = [*csv.reader(io.StringIO(name.read_text(encoding="utf-8"), newline=""))]
        told = [cell for row in rows for cell in row if not re.fullmatch(r"-?(inf|[\d.]+(e[-+]?\d+)?)", cell)]
        assert not [cell for cell in told if cell.startswith(("=", "+", "-", "@", "\t", "\r"))], name
    assert f"'{QUOTED}" in (study / "tables" / "table2.csv").read_text(encoding="utf-8").replace('""', '"')
    table = (study / "tables" / "table2.html").read_text()
    assert "&lt;script&gt;" in table
    assert "{x}" in table


def test_grouped_folds_come_with_the_leaking_ones_beside(own):
    study, data, _, _ = own
    folder = study / data.name
    folds = pd.read_parquet(folder / "folds.parquet").merge(pd.read_parquet(folder / "index.parquet")[["id", "group"]])
    grouped = folds[folds["scheme"] == "grouped"]
    assert (grouped.groupby("group")["fold"].nunique() == 1).all()
    leak = pd.read_csv(study / "tables" / "leak.csv")
    assert set(leak["folds"]) == {"grouped", "stratified (leaking)"}
    assert set(leak["features"]) == {"image", "map", "image_map"}


def test_an_executed_notebook_says_with_what_it_ran(own):
    study, data, _, _ = own
    notebook = json.loads((study / data.name / "notebooks" / "04_classification.ipynb").read_text())
    injected = [c for c in notebook["cells"] if "injected-parameters" in c["metadata"].get("tags", [])]
    assert len(injected) == 1
    assert "leak_check" in "".join(injected[0]["source"])


def test_a_corrupt_picture_is_refused_by_name_before_anything_runs(own, tmp_path):
    _, data, _, _ = own
    for label in ("good", "bad"):
        (tmp_path / "p" / label).mkdir(parents=True)
        for k, file in enumerate(sorted((data / "good").iterdir())[:4]):
            picture = Image.open(file).rotate(90 * (label == "bad"), expand=True)
            picture.save(tmp_path / "p" / label / f"{k}.png")
    (tmp_path / "p" / "good" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    done = run_all("--data", tmp_path / "p", "--preset", "smoke", "--output", tmp_path / "o", check=False)
    assert done.returncode == 2
    assert "good/broken.png" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "o").rglob("*.ipynb"))
    skipped = run_all("--data", tmp_path / "p", "--preset", "smoke", "--output", tmp_path / "o", "--skip-bad",
                      "--only", "00")  # fmt: skip
    assert "00_dataset" in skipped.stdout
    assert "broken.png" in next((tmp_path / "o").rglob("00_dataset.html")).read_text()


def test_all_faults_of_a_command_are_named_at_once(tmp_path):
    done = run_all("--dataset", "shat", "--preset", "quik", "--textures", tmp_path / "none", "--from", "04",
                   "--only", "05", "--workers", "2", "--scheduler", "tcp://x", "--output", tmp_path,
                   check=False)  # fmt: skip
    assert done.returncode == 2
    for part in ("did you mean 'shaft'", "did you mean 'quick'", "none: no such folder", "--from and --only",
                 "--workers and --scheduler"):  # fmt: skip
        assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_list_and_dry_run_run_nothing(tmp_path):
    listed = run_all("--list").stdout
    assert "map_encoding" in listed
    assert "paper" in listed
    dry = run_all("--preset", "smoke", "--output", tmp_path, "--weights", "random-init", "--dry-run").stdout
    assert dry.count("01_draem_training") == 3
    assert "in all, " in dry
    assert "a rough guess" in dry, "a smoke run tells nothing of this machine"
    assert re.search(r"01_draem_training +about .* [\d,]+ MB +\d+ MB", dry), "memory and disk"
    assert not list(tmp_path.rglob("*.ipynb"))
    assert not list(tmp_path.rglob("*.png"))
