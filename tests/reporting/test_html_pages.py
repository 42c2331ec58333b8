"""Rendered notebooks: anchors, folded code, captions, parameters; whatever comes from data is text."""

import html
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


def test_the_contents_lead_to_the_parts(tmp_path):
    page = rendered(
        tmp_path,
        [new_markdown_cell("## Does it help?\n\n### Détail"), new_markdown_cell("## Why (é) & how?")],
    )
    links = re.findall(r'<li><a href="#([^"]*)">([^<]*)</a></li>', page)
    assert [text for _, text in links] == ["Does it help?", "Why (é) &amp; how?"]
    assert re.findall(r'<h2 id="([^"]*)"', page) == [anchor for anchor, _ in links]


def test_parameters_stand_at_the_top_and_are_escaped(tmp_path):
    page = rendered(tmp_path, [], {"DATASET": EVIL, "OVERRIDES": {"folds": 5}})
    assert EVIL not in page
    assert "&lt;img src=x" in page
    assert '{"folds": 5}' in html.unescape(page)


def test_pictures_carry_alternative_text_caption_and_links(tmp_path):
    told = {"alt": EVIL, "caption": "plates · 3 folds", "file": "../figures/recalls"}
    output = new_output("display_data", {"image/png": "aGk=", "text/plain": "x"}, metadata=told)
    (tmp_path / "figures").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "figures" / "recalls.svg").touch()
    page = rendered(tmp_path / "notebooks", [new_code_cell("draw()", outputs=[output])])
    assert EVIL not in page
    assert "recalls.png" not in page, "a file that is not there"
    assert "<small>plates · 3 folds</small>" in page
    assert '<a href="../figures/recalls.svg">SVG</a>' in page


def test_code_and_errors_are_folded_and_escaped(tmp_path):
    error = new_output("error", ename="ValueError", evalue=EVIL, traceback=[f"ValueError: {EVIL}"])
    page = rendered(tmp_path, [new_code_cell(f"print('{EVIL}')", outputs=[error])])
    assert EVIL not in page
    assert page.count('<details class="code">') == 1
    assert "ValueError: &lt;img" in page


def test_frames_are_rounded_and_have_scopes_and_no_empty_header():
    frame = pd.DataFrame({"a": [1.23456, None], EVIL: [1, 2], "b": ["x y", None]}, index=["r", "s"])
    page = table(frame, "title").data
    assert '<tr><td></td><th scope="col">a</th><th scope="col">&lt;img' in page and EVIL not in page
    assert '<tr><th scope="row">r</th><td>1.235</td><td>1</td><td>x y</td></tr>' in page
    assert '<tr><th scope="row">s</th><td>–</td><td>2</td><td>–</td></tr>' in page
    assert "title</div></caption>" in page and 'class="wide-text"' in page
    pairs = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_product([["s"], ["x", "y"]])).rename_axis(
        "label"
    )
    assert '<th scope="colgroup" colspan="2">s</th>' in table(pairs).data
    assert '<th scope="col" rowspan="2" class="left">label</th>' in table(pairs).data


def test_an_interval_goes_below_its_value_whichever_way_it_is_written():
    texts = ["0.5 (0.4–0.6)", "+0.1 (-0.1 to +0.3)", "plain (words)"]
    page = Table("T", "t", "", [{"Dataset": "toy", "a": text} for text in texts], headers=1).to_html()
    assert "<td>0.5<br><small>(0.4–0.6)</small></td>" in page
    assert "<td>+0.1<br><small>(-0.1 to +0.3)</small></td>" in page
    assert "<td>plain (words)</td>" in page
