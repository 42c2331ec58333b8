"""What a reader meets first: README's length, how each document begins, where links lead, how long sentences are."""

import re
from pathlib import Path

import pytest

from lib.config import Study

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = (*ROOT.glob("*.md"), *DOCS, ROOT / "lib/draem/weights/README.md", ROOT / "outputs/reference/README.md")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
ENDS = re.compile(r"(?<=[.?!])[)*\"]*\s+(?=[\"*(`\[A-Z0-9~])")


def name(path):
    return str(path.relative_to(ROOT))


def words(text):
    """Return what stands between blanks and has a letter or digit in it."""
    return [word for word in text.split() if re.search(r"\w", word)]


def anchors(path):
    """Return what the headings of a document are called in links, as hosting sites make it."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sentences(text):
    """Return the sentences of a document's paragraphs and lists: no code, no tables, no headings, no pictures."""
    text = LINK.sub(lambda found: "" if found[1] else found[2], CODE.sub("\n", text))
    text = re.sub(r"^( {4}|\||#).*$", "", text, flags=re.MULTILINE)
    blocks = re.split(r"\n\s*\n", re.sub(r"^ *([-*]|\d+\.) ", "\n\n", text, flags=re.MULTILINE))
    joined = (re.sub(r"\be\.g\.|\bet al\.", "et al", " ".join(block.split())) for block in blocks)
    return [sentence for block in joined for sentence in ENDS.split(block) if sentence]


def test_sentences_are_found_as_a_reader_finds_them():
    text = (
        "# A title\n\nOne two\nthree. *Four* of 1.5 `a.b c`!\n\n- five [six](a.md) seven\n- eight\n\n"
        "```\ncode. x\n```\n| t. | a |\n![seen. not](a.png)\n"
    )
    assert sentences(text) == ["One two three.", "*Four* of 1.5 `a.b c`!", "five six seven", "eight"]


def test_the_readme_is_read_in_a_minute():
    text = README.read_text(encoding="utf-8")
    assert text.count("\n") <= 95
    assert len(text.split()) <= 650


@pytest.mark.parametrize("path", (*DOCS, *PAGES[-2:]), ids=name)
def test_a_document_begins_with_its_question_its_answer_and_when_to_use_it(path):
    title, blank, *first = path.read_text(encoding="utf-8").split("\n")[:5]
    assert title.startswith("# ") and not blank
    for line, start in zip(first, ("Question", "Answer", "Use when"), strict=True):
        assert line.startswith(f"- **{start}:** ") and line.endswith(("?", "."))


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_no_sentence_is_longer_than_25_words(path):
    long = [one for one in sentences(path.read_text(encoding="utf-8")) if len(words(one)) > 25]
    assert not long


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path):
    lost = []
    for _, _, target in LINK.findall(CODE.sub("", path.read_text(encoding="utf-8"))):
        file, _, anchor = target.partition("#")
        if "://" in file:
            continue
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(target)
    assert not lost


def test_what_code_and_notebooks_say_of_documents_is_there():
    lost = []
    for path in (*ROOT.glob("*.py"), *ROOT.glob("[lnt]*/**/*")):
        if path.suffix in (".py", ".ipynb", ".j2") and path != Path(__file__):
            found = re.findall(r"\b(docs/[\w-]+\.\w+)(?:#([\w-]+))?", path.read_text(encoding="utf-8"))
            lost += [
                (name(path), file, anchor)
                for file, anchor in found
                if not (ROOT / file).exists() or (anchor and anchor not in anchors(ROOT / file))
            ]
    assert not lost


def test_the_verdicts_settings_have_the_defaults_that_the_page_on_the_method_names():
    text = (ROOT / "docs/method.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"`(\w+)` \((\d+(?: %)?)\)", text))
    assert set(told) == {"least_good", "target_recall", "usable_rejects", "presort_rejects"}
    study = Study.of("quick")
    for setting, value in told.items():
        known = getattr(study, setting)
        assert value == (f"{100 * known:g} %" if isinstance(known, float) else str(known))
