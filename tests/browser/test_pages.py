"""The index page and every rendered notebook in a headless browser, from files, with the network off."""

from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from tests.whole import HOSTILE, QUOTED

pytestmark = pytest.mark.browser
# What axe-core calls serious or critical, and the order of headings and the landmarks that a screen reader goes by.
GRAVE = ("serious", "critical", "moderate")


def pages_of(study):
    return [study / "index.html", *sorted(study.rglob("notebooks/*.html"))]


@pytest.fixture(scope="module")
def studies(standin, own):
    return {"stand-in": standin[0], "own": own[0]}


@pytest.fixture
def offline(browser):
    """A page with the network off that notes what it asks for and what it complains about."""
    context = browser.new_context(offline=True, viewport={"width": 1100, "height": 900})
    page = context.new_page()
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    context.close()


@pytest.mark.parametrize("which", ["stand-in", "own"])
def test_pages_open_from_files_and_ask_for_nothing(studies, offline, which):
    paths = pages_of(studies[which])
    assert len(paths) == 8
    for path in paths:
        offline.goto(path.as_uri())
        assert offline.title(), path
        left = [url for url in offline.asked if urlparse(url).scheme not in ("file", "data")]
        assert not left, f"{path} asks for {left}"
    assert not offline.complaints


@pytest.mark.parametrize("which", ["stand-in", "own"])
def test_every_link_resolves_and_every_picture_shows(studies, offline, which):
    for path in pages_of(studies[which]):
        offline.goto(path.as_uri())
        links = offline.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
        assert links, path
        for link in links:
            target = Path(unquote(urlparse(link).path))
            assert target.is_file(), f"{path}: {link} leads nowhere"
            fragment = urlparse(link).fragment  # compared with ids as it is, as browsers do
            if fragment and target == path:
                found = offline.evaluate("id => document.getElementById(id) !== null", fragment)
                assert found, f"{path}: nothing is called #{fragment}"
        sizes = offline.eval_on_selector_all("img", "all => all.map(i => [i.alt, i.complete && i.naturalWidth])")
        assert all(alt and width for alt, width in sizes), f"{path}: {sizes}"
    assert sizes, "the last notebook has figures"


@pytest.mark.parametrize("which", ["stand-in", "own"])
def test_no_page_scrolls_sideways_on_a_phone(studies, offline, which):
    offline.set_viewport_size({"width": 380, "height": 800})
    for path in pages_of(studies[which]):
        offline.goto(path.as_uri())
        wide = offline.evaluate("document.documentElement.scrollWidth")
        assert wide <= 380, f"{path} is {wide} pixels wide"


def test_code_is_folded_and_one_click_away(studies, offline):
    page = studies["stand-in"] / "deco_cap-synthetic" / "notebooks" / "04_classification.html"
    offline.goto(page.as_uri())
    folded = offline.locator("details.code")
    assert folded.count() > 5
    code = folded.nth(3).locator("pre")
    assert not code.is_visible()
    folded.nth(3).locator("summary").click()
    assert code.is_visible()
    last = folded.last.locator("pre")
    assert not last.is_visible()
    if offline.locator("#all-code").is_visible():  # where the browser can unfold by style alone
        offline.locator("#all-code").check()
        assert last.is_visible()


def test_the_notebooks_lead_from_one_to_the_next_and_back_to_the_index(studies, offline):
    offline.goto((studies["stand-in"] / "index.html").as_uri())
    offline.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    offline.locator("a[href$='00_dataset.html']").first.click()
    seen = [offline.title()]
    for _ in range(6):
        offline.locator("nav.around a").last.click()
        seen.append(offline.title())
    assert [title[:2] for title in seen] == ["00", "01", "02", "03", "04", "05", "06"]
    offline.locator("nav.around a").last.click()
    assert offline.url.endswith("/index.html")


def test_a_page_says_with_which_parameters_it_ran(studies, offline):
    offline.goto((studies["own"] / "notebooks" / "06_statistics.html").as_uri())
    made = offline.locator("details.setup")
    assert not made.locator("pre").is_visible()
    offline.get_by_text("How this page was made").click()
    shown = made.locator("pre").inner_text()
    assert "leak_check" in shown and "DATASETS" in shown and made.locator(".provenance").is_visible()


def test_names_from_the_data_are_shown_as_text(studies, offline):
    dialogs = []
    offline.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for path in pages_of(studies["own"]):
        offline.goto(path.as_uri())
        assert offline.evaluate("document.querySelectorAll('script').length") == 0, path
        text = offline.evaluate("document.body.textContent")
        if path.stem in ("index", "00_dataset", "06_statistics"):
            assert HOSTILE in text, path
            assert QUOTED in text, path
    assert not dialogs


@pytest.mark.parametrize("look", ["light", "dark", "print"])
def test_axe_finds_nothing_grave(studies, browser, look):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(bypass_csp=True, offline=True, color_scheme="dark" if look == "dark" else "light")
    page, issues = context.new_page(), []
    for path in pages_of(studies["own"]):
        if look != "light" and path.stem not in ("index", "04_classification"):  # the others have the same style
            continue
        page.goto(path.as_uri())
        page.emulate_media(media="print" if look == "print" else "screen")
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        found = Axe().run(page).response["violations"]
        issues += [
            f"{path.name}: {issue['id']} ({issue['impact']}): {issue['nodes'][0]['html'][:200]}"
            for issue in found
            if issue["impact"] in GRAVE
        ]
    context.close()
    assert not issues, "\n".join(issues)
