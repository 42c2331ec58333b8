"""The index page of three data sets, as committed for readers: how long, how wide, how high it is."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
PAGE = Path(__file__).parents[2] / "outputs" / "reference" / "demo" / "index.html"
WORDS, HEIGHT = 700, 6000


@pytest.fixture
def page_at(browser):
    """Open the page in a window of a width, with the network off."""
    contexts = []

    def open_page(width, height=900):
        context = browser.new_context(offline=True, viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.goto(PAGE.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_it_is_read_in_minutes(page_at):
    page = page_at(1200)
    words = re.findall(r"\S*\w\S*", page.evaluate("document.body.innerText"))  # a lone % is none
    assert len(words) <= WORDS
    assert page.evaluate("document.documentElement.scrollHeight") <= HEIGHT


def test_the_verdicts_stand_on_the_first_screen(page_at):
    page = page_at(1200)
    boxes = [card.bounding_box() for card in page.locator(".card").all()]
    assert len(boxes) == 3 and all(box["y"] + box["height"] < 900 for box in boxes)
    for card in page.locator(".card").all():
        assert re.search(r"To catch \d", card.inner_text())
        assert card.locator(".pill").count() == 1


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_cut(page_at, width):
    page = page_at(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate("""[...document.querySelectorAll('main table, main img, main dl')].filter(one => {
        const box = one.getBoundingClientRect(), parent = one.closest('.table, .scroll');
        return box.width && !parent && (box.right > innerWidth || box.left < 0);
    }).map(one => one.outerHTML.slice(0, 80))""")
    assert not wide
    assert page.locator("table.costs td").first.bounding_box()["x"] < width - 60, "the first number can be read"


def test_its_reading_order_is_verdict_first(page_at):
    page = page_at(1200)
    heads = [one.inner_text() for one in page.locator("h2").all()]
    assert heads[0] == "Verdicts" and "For reviewers" in heads[-1]
    checks = [one for one in heads if one.startswith("Can you trust it? 15 checks")]
    assert checks and page.locator(".checks details").count() == 15
    first = page.locator(".checks details").first
    assert not first.locator("p").is_visible()
    first.locator("summary").click()
    assert first.locator("p").is_visible()
