"""JupyterLab as `make lab` starts it, driven in a browser: notebook 04 runs, the explorer's threshold is moved."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pandas as pd
import pytest

from lib.pipeline.run import open_run
from lib.reporting.explorer import OWN, describe_results, results, scored_images

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
TOKEN = "for-this-test-only"
SECONDS = 120  # for a notebook, on a machine that is busy
WEIGHTS = {"weights": "random-init"}


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs") / "smoke"


@pytest.fixture(scope="module")
def lab(tmp_path_factory, output):
    """Yield the address of a JupyterLab on a copy of two notebooks, on preset smoke."""
    home = tmp_path_factory.mktemp("lab")
    (home / "notebooks").mkdir()
    for name in ("04_classification", "explore"):
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
        cell.source += f'\nPRESET = "smoke"\nOUTPUT_DIR = {str(output)!r}\nOVERRIDES = {WEIGHTS}'
        nbformat.write(notebook, home / "notebooks" / f"{name}.ipynb")
    command = re.search(r"-m (jupyter lab .*)", (ROOT / "Makefile").read_text())[1].split()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "RUNTIME", "DATA")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "spaces")}
    environment = os.environ | own | {"PYTHONPATH": str(ROOT), "JUPYTER_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
    environment.pop("STUDY_BATCH", None)
    log = (home / "lab.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", *command, "--no-browser", f"--port={port}", "--ServerApp.port_retries=0",
         "--allow-root"],
        cwd=home, env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/api?token={TOKEN}", server, home / "lab.log")
        yield address
    finally:
        server.terminate()
        server.wait(20)
        log.close()
        shutil.rmtree(home, ignore_errors=True)


def _wait_for(address, server, log):
    for _ in range(300):
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not answer\n{log.read_text()}")


@pytest.fixture
def page(browser):
    """Yield a page that asks no other host than this machine."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    asked = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url)))
    yield page
    page.close()
    elsewhere = {place.netloc for place in asked if place.scheme not in ("data", "blob")}
    assert {host.split(":")[0] for host in elsewhere} == {"127.0.0.1"}, elsewhere


def run_all(page, lab, name):
    """Open a notebook, run all its cells, and wait until each has a number and the kernel is idle."""
    page.goto(f"{lab}/lab/workspaces/{name}/tree/{name}.ipynb?token={TOKEN}", timeout=60_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    begun = page.locator(".jp-InputPrompt").filter(has_text=re.compile(r"\[[*\d]")).first
    asked = page.get_by_role("button", name="Select", exact=True)  # where the kernel is not connected yet
    begun.or_(asked).first.wait_for(timeout=60_000)
    if asked.is_visible():
        asked.click()
    page.wait_for_function(
        """() => {
          const numbers = [...document.querySelectorAll('.jp-CodeCell .jp-InputArea .jp-InputPrompt')]
          const status = document.querySelector('.jp-Notebook-ExecutionIndicator').dataset.status
          const failed = document.querySelector('.jp-OutputArea [data-mime-type="application/vnd.jupyter.error"]')
          return failed || (status == 'idle' && numbers.length
            && numbers.every(place => /^\\[\\d+\\]:$/.test(place.textContent.trim())))
        }""",
        timeout=SECONDS * 1000,
    )
    failed = page.locator('[data-mime-type="application/vnd.jupyter.error"]')
    assert failed.count() == 0, failed.first.inner_text()


@pytest.mark.slow
def test_notebook_04_runs_from_nothing_and_shows_its_figures(lab, page):
    run_all(page, lab, "04_classification")
    sizes = page.eval_on_selector_all(
        ".jp-OutputArea img", "images => images.map(i => [i.alt, i.naturalWidth, i.naturalHeight])"
    )
    assert len(sizes) >= 4
    assert all(width > 100 and height > 100 for _, width, height in sizes), sizes
    assert page.locator(".jp-OutputArea table").count() >= 3


def numbers(page):
    return page.locator(".explorer-numbers").inner_text().strip()


def test_the_explorers_threshold_moves_the_numbers_as_the_functions_do(lab, page, output):
    run_all(page, lab, "explore")
    run = open_run("deco_cap", "smoke", "", str(output), WEIGHTS)
    found = pd.read_parquet(run.store.path("predictions/classification.parquet"))
    images = scored_images(found, "good")
    both = images[images["features"] == "image_map"]
    assert page.locator(".jp-RenderedImage img").count() == 1, "the figure that a saved copy has, once"
    before = numbers(page)
    assert before == describe_results(results(both, "good", OWN))
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    expectations = set()
    for key in [*["ArrowRight"] * 4, "End", *["ArrowLeft"] * 4, "Home", *["ArrowRight"] * 4]:
        readout = page.locator(".widget-slider .widget-readout").first.inner_text()
        page.keyboard.press(key)
        page.wait_for_function(
            "was => document.querySelector('.widget-slider .widget-readout').textContent != was", arg=readout
        )
        level = page.locator(".widget-slider .widget-readout").first.inner_text()
        expected = describe_results(results(both, "good", OWN if level.startswith("the") else float(level)))
        page.wait_for_function(
            "told => document.querySelector('.explorer-numbers').textContent.trim() == told", arg=expected,
            timeout=10_000,
        )  # fmt: skip
        expectations.add(expected)
    assert len(expectations | {before}) > 2, "the threshold must change something"
