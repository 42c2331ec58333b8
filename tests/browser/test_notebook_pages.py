"""The notebooks' pages of three data sets, as committed for readers: how long, how wide, what is seen first."""

import re
from pathlib import Path

import pytest

from lib.reporting.html_pages import NOTEBOOKS

pytestmark = pytest.mark.browser
HOME = Path(__file__).parents[2] / "outputs" / "reference" / "demo"
PAGES = sorted(HOME.rglob("notebooks/*.html"))
WORDS = dict(zip(NOTEBOOKS, (250, 250, 300, 150, 500, 300, 1200), strict=True))  # that are seen unasked
HEIGHT = 8000
UNFOLD = "document.querySelectorAll('details.more').forEach(one => { one.open = true })"


@pytest.fixture
def page_at(browser):
    """Open a page in a window of a width, with the network off."""
    context = browser.new_context(offline=True)

    def open_page(path, width):
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(path.as_uri())
        return page

    yield open_page
    context.close()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_page_is_read_in_minutes(page_at, name):
    paths = [path for path in PAGES if path.stem == name]
    assert len(paths) == (1 if name == NOTEBOOKS[-1] else 3)
    for path in paths:
        page = page_at(path, 1200)
        words = re.findall(r"\S*\w\S*", page.evaluate("document.body.innerText"))
        assert len(words) <= WORDS[name], path
        assert page.evaluate("document.documentElement.scrollHeight") <= HEIGHT, path
        assert page.locator("p.headline").bounding_box()["y"] < 200, f"{path}: the result comes first"
        assert page.locator("p.headline .pill").count() == page.locator("h1").count() == 1
        assert page.locator(".provenance").count() == 1 and not page.locator(".provenance").is_visible()


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_cut(page_at, width):
    for path in PAGES:
        page = page_at(path, width)
        page.evaluate(UNFOLD)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        tables = page.eval_on_selector_all(
            ".table", "all => all.map(one => [one.innerText.slice(0, 60), one.clientWidth, one.scrollWidth])"
        )
        if width > 1000:
            assert not [one for one in tables if one[2] > one[1] + 1], path


def test_the_first_number_of_each_table_is_seen_on_a_phone(page_at):
    for path in PAGES:
        page = page_at(path, 390)
        page.evaluate(UNFOLD)
        ends = page.eval_on_selector_all(
            ".table table:not(.conclusions) tbody tr:first-child",
            """rows => rows.filter(row => row.querySelector('td')).map(row => {
                const range = document.createRange()
                range.selectNodeContents(row.querySelector('td').firstChild)
                return [row.innerText.slice(0, 60), range.getBoundingClientRect().right]
            })""",
        )
        late = [one for one in ends if one[1] > 390]
        assert not late, path


def test_figures_have_one_width_and_scroll_on_a_phone(page_at):
    for path in PAGES:
        page, widths = page_at(path, 1200), "all => all.map(one => [one.alt, Math.round(one.width)])"
        page.evaluate(UNFOLD)
        assert not [one for one in page.eval_on_selector_all("figure img", widths) if one[1] != 960], path
        page = page_at(path, 390)
        page.evaluate(UNFOLD)
        assert not [one for one in page.eval_on_selector_all("figure img", widths) if one[1] != 700], path
