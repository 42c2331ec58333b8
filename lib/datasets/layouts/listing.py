"""What a data folder holds: its images and what lies beside them, found in one walk; what a layout makes of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lib.artifacts import walk_linked
from lib.datasets.errors import Issue, undecodable
from lib.datasets.image_io import FOREIGN_SUFFIXES, SUFFIXES

GOOD_NAMES = ("good", "ok", "normal", "free")
BESIDE = frozenset({".csv", ".parquet", ".json", ".txt"})  # suffixes of lists and annotations


class Entry(NamedTuple):
    """One image: its id (POSIX path below the data folder), its class, and its mask's files with `masks.SEPARATOR`."""

    id: str
    label: str
    mask: str | None = None


@dataclass
class Listing:
    """What a data folder holds; `issues` are of single files and may be skipped, `structural` ones not.

    dataset, good: names of the data set and of its good class, where they are given; beside: files with suffixes of
    `BESIDE`; groups: the group of each image, where a list names it.
    """

    root: Path
    dataset: str = ""
    good: str = ""
    layout: str = ""
    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)
    structural: list[Issue] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str, about: object) -> None:
        """Add a note, where there is something that it is about, in place of its {}."""
        if about:
            self.notes.append(text.format(about))

    def refuse(self, issue: str, remedy: str, file: str = "") -> None:
        """Add a structural issue of a file, a class, or the data folder."""
        self.structural.append(Issue(file or str(self.root), issue, remedy))


class Layout(NamedTuple):
    """One way to arrange images.

    about: how, in words; fits: whether a listing looks like it; read: fills in entries, groups, issues and notes.
    """

    about: str
    fits: Callable[[Listing], bool]
    read: Callable[[Listing], None]


def walk(root: Path) -> Listing:
    """List the files below `root` by name, and what cannot be read; hidden files and folders are left out."""
    listing, unread = Listing(root), list[OSError]()
    for folder, inner, files in walk_linked(root, unread.append):
        inner[:] = sorted(name for name in inner if name[0] != "." and name != "__MACOSX")
        for path in [Path(folder, name) for name in (*inner, *files) if name[0] != "."]:
            name, is_folder, suffix = path.relative_to(root).as_posix(), path.is_dir(), path.suffix.lower()
            if is_folder or suffix in SUFFIXES | FOREIGN_SUFFIXES or not path.exists():
                if wrong := _issue_of(path, name, root, circle=is_folder and path.name in files):
                    (listing.structural if is_folder else listing.issues).append(wrong)
                else:
                    (listing.folders if is_folder else listing.images).append(name)
            elif suffix in BESIDE and path.is_file():
                listing.beside.append(name)
    listing.images.sort()
    listing.beside.sort()
    for error in unread:
        name = Path(error.filename).relative_to(root).as_posix().removesuffix(".")
        issue = f"folder cannot be read ({error.strerror})"
        listing.refuse(issue, "check that it is there and may be read", name)
    return listing


def _issue_of(path: Path, name: str, root: Path, *, circle: bool) -> Issue | None:
    """Return what is wrong with a folder or an image file before anything in it is read."""
    if undecodable(name):
        return Issue(name, "name is not valid UTF-8", "rename it")
    if not path.exists():
        return Issue(name, "broken symbolic link", "restore its target or remove it")
    if circle:
        return Issue(name, "symbolic link that leads in a circle", "remove it")
    if path.is_dir():
        return None
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        return Issue(name, "symbolic link that leaves the data folder", "put the real file in its place")
    return None if path.is_file() else Issue(name, "not a regular file", "remove it")
