"""Rendered notebooks: anchors, folded code, captions, parameters; whatever comes from data is text."""

import re

import nbformat
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lib.reporting.display import table
from lib.reporting.html_pages import notebook_html
from lib.reporting.table import Table

EVIL = '<img src=x onerror="alert(1)">'


def rendered(tmp_path, cells, parameters=None, name="04_classification"):
    notebook = new_notebook(cells=[new_markdown_cell("# 04 · Title"), *cells])
    notebook.metadata["papermill"] = {"parameters": parameters or {}}
    path = tmp_path / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return notebook_html(path, name, "plates")


def test_the_set_up_is_one_fold_at_the_end(tmp_path):
    cells = [
        new_code_cell("import os", metadata={"tags": ["setup"]}),
        new_code_cell(f"DATASET = '{EVIL}'", metadata={"tags": ["injected-parameters"]}),
        new_code_cell("print(1)"),
    ]
    page = rendered(tmp_path, cells)
    assert EVIL not in page and "&lt;img src=x" in page
    assert page.count('<details class="more setup">') == page.count('<details class="code">') == 1
    assert page.index('<details class="code">') < page.index('<details class="more setup">')


def test_a_page_says_what_it_is_of_and_links_the_other_data_sets(tmp_path):
    home = tmp_path / "quick" / "shaft-synthetic" / "notebooks"
    home.mkdir(parents=True)
    told = new_output("display_data", {"text/plain": "x"}, metadata={"provenance": "3 folds <i>"})
    setup = new_code_cell("2", metadata={"tags": ["setup"]})
    nbformat.write(new_notebook(cells=[setup, new_code_cell("1", outputs=[told])]), home / "n.ipynb")
    sets = ["shaft-synthetic", "a b"]
    page = notebook_html(home / "n.ipynb", "02_anomaly_maps", sets[0], datasets=sets)
    assert "<strong>Shaft (demo data)</strong> · study quick · 3 of 7" in page
    assert re.findall(r"<p>also: (.*)</p>", page) == ['<a href="../../a%20b/notebooks/02_anomaly_maps.html">a b</a>']
    assert page.count("3 folds &lt;i&gt;") == 1 and page.index("How this page was made") < page.index(
        "3 folds &lt;i&gt;"
    )
    new = home.parent / "inspection" / "line 1" / "notebooks"
    new.mkdir(parents=True)
    (new / "n.ipynb").write_bytes((home / "n.ipynb").read_bytes())
    inspected = notebook_html(new / "n.ipynb", "07_inspection", "line 1")
    assert "<strong>Shaft (demo data)</strong> · images line 1 · study quick" in inspected
    over_all = notebook_html(home / "n.ipynb", "06_statistics", "quick", datasets=sets)
    assert len(re.findall(r'href="../(?:shaft-synthetic|a%20b)/notebooks/0[0-5]_', over_all)) == 12


def test_pictures_carry_alternative_text_note_width_and_links(tmp_path):
    told = {"alt": EVIL, "caption": "bands: 95 %", "file": "../figures/recalls", "width": 480, "fold": "More"}
    output = new_output("display_data", {"image/png": "aGk=", "text/plain": "x"}, metadata=told)
    (tmp_path / "figures").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "figures" / "recalls.svg").touch()
    page = rendered(tmp_path / "notebooks", [new_code_cell("draw()", outputs=[output])])
    assert EVIL not in page
    assert "recalls.png" not in page, "a file that is not there"
    assert "<figcaption>bands: 95 %" in page and 'width="480"' in page
    assert '<details class="more"><summary>More</summary>' in page
    assert '<a href="../figures/recalls.svg">SVG</a>' in page


def test_progress_is_folded(tmp_path):
    output = new_output("stream", name="stderr", text="maps 1 of 2")
    page = rendered(tmp_path, [new_code_cell("maps()", outputs=[output])])
    assert re.search(r"<summary>Progress</summary><pre>maps 1 of 2\s*</pre></details>", page)


def test_code_and_errors_are_folded_and_escaped(tmp_path):
    error = new_output("error", ename="ValueError", evalue=EVIL, traceback=[f"ValueError: {EVIL}"])
    page = rendered(tmp_path, [new_code_cell(f"print('{EVIL}')", outputs=[error])])
    assert EVIL not in page
    assert page.count('<details class="code">') == 1
    assert "ValueError: &lt;img" in page


def test_frames_are_rounded_and_have_scopes_and_no_empty_header():
    frame = pd.DataFrame({"a": [1.23456, None], EVIL: [1, 2], "b": ["x y", None]}, index=["r", "s"])
    page = table(frame).data
    assert '<tr><td></td><th scope="col">a</th><th scope="col">&lt;img' in page and EVIL not in page
    assert '<tr><th scope="row" class="name">r</th><td>1.235</td><td>1</td><td>x y</td></tr>' in page
    assert '<tr><th scope="row" class="name">s</th><td>–</td><td>2</td><td>–</td></tr>' in page
    assert 'class="wide-text"' in page
    pairs = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_product([["s"], ["x", "y"]])).rename_axis("label")
    assert '<th scope="colgroup" colspan="2">s</th>' in table(pairs).data
    assert '<th scope="col" rowspan="2" class="left">label</th>' in table(pairs).data


def test_an_interval_goes_below_its_value_whichever_way_it_is_written():
    texts = ["0.5 (0.4–0.6)", "+0.1 (-0.1 to +0.3)", "plain (words)"]
    page = Table("T", "t", [{"Dataset": "toy", "a": text} for text in texts], headers=1).to_html()
    assert "<td>0.5<br><small>(0.4–0.6)</small></td>" in page
    assert "<td>+0.1<br><small>(-0.1 to +0.3)</small></td>" in page
    assert "<td>plain (words)</td>" in page
