"""What makes a generated sentence hard to read: its length, its numbers, its grammar, its words."""

import re

MOST_WORDS, MOST_NUMBERS = 25, 2
NAMES = (  # numbers within are part of a name
    r"at 5 % false rejects", r"95 % (CI|intervals?|bootstrap)", r"p < [\d.]+", r"notebooks? 0\d( to 0\d)?",
    r"Eq\. \d", r"\d+ x \d+ [\w;]+", r"Tables? \d", r"Figures? \d", r"`[^`]*`", r"--[\w-]+( [\w.]+=\S+| [A-Z]+)?",
    r"\w*[A-Za-z]\w*[-.]?\d[\w.]*", r"ISO \d+", r"1 - p\(good\)", r"\b\d{4}\)",
)  # fmt: skip
_NUMBER = r"[+−]?\d[\d,.]*\d|[+−]?\d"
_INTERVAL = rf"[ ,(]*(95 % CI )?(?:{_NUMBER})(?: or fewer)?(?: %)? to (?:(?:{_NUMBER})(?: %)?|not reached)\)?"
_PLURALS = (
    "images pictures products folds classes defects labels methods thresholds features pixels fits trainings steps "
    "files objects patches places repeats seeds models maps groups rows sets columns draws points comparisons"
)
GRAMMAR = {
    "a plural of one": rf"(?<![\d.,])1 (?:\w+ )?(?:{'|'.join(_PLURALS.split())})\b",
    "equal ends": rf"(?<!CI )(?<!\()(?<!; )(?<![\d.,])(?P<end>{_NUMBER})(?: %)? to (?P=end)(?![\d.,]*\d)",
    "two stops or colons": r"\.\.(?!\.)(?<!\.\.\.)|::|;\.|:\.|,\.|\. \.",
    "lower case after a full stop": r"(?<!e\.g)(?<!i\.e)(?<!vs)(?<!Eq)(?<!et al)[.!?] [a-z](?!\w*([_(=/]|\.\w))",
    "a hyphen as minus": r"(?<![\w.)-])-\d",
    "not a number": r"\b(nan|NaN|inf|None|NaT)\b",
    "two spaces": r"  |^ | $| [,.;:](?!\w)",
}
BANNED = (
    "flatter", r"holds? zero", "told apart", "tells? apart", r"(in|out of) reach", "stands? beside", "as written",
    "doubt", "refuses?", "promise[sd]?", "stand-ins?", r"look for\b", "columns of (image|the image|both)", "swallow",
    "betray", "embarrass", "image where the map points", "called by its name", "what came", "patch memory",
    "beyond chance", "all columns", r"escapes?(?!\W+(per million|\())", "is shown not",
)  # fmt: skip


def sentences(text: str) -> list[str]:
    """Return the sentences of a text."""
    return [one for one in re.split(r"(?<=[.!?])\s+(?=[A-Z0-9−+(`\"“])", text.strip()) if one]


def faults(text: str, *, numbers: int = MOST_NUMBERS, words: int = MOST_WORDS) -> list[str]:
    """Return what is wrong with a text: each fault with the sentence."""
    found = []
    for one in sentences(text):
        if (n := len(re.findall(r"\S*\w\S*", one))) > words:
            found.append(f"{n} words: {one}")
        bare = re.sub("|".join(NAMES), "", one)
        if (n := len(re.findall(_NUMBER, re.sub(_INTERVAL, "", bare)))) > numbers:
            found.append(f"{n} numbers: {one}")
    found += [f"{why}: {text}" for why, pattern in GRAMMAR.items() if re.search(pattern, text)]
    return found + banned(text)


def banned(text: str) -> list[str]:
    """Return the words of a text, code aside, for which the glossary has a better one."""
    plain = re.sub("`[^`]*`", "", text)
    return [f"{word!r}: {text}" for word in BANNED if re.search(rf"\b{word}\b", plain, re.IGNORECASE)]
