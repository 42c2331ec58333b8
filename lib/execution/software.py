"""What made the artefacts of a study: versions of software, devices, and whether these differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from lib.artifacts import Store

ASIDE = ("notebooks/", "inspection/", "production_model/", "unseen")  # no result depends on these
UNKNOWN = "software"  # of artefacts made before it was recorded


def made_with(manifests: Iterable[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """Return how many artefacts were made with each version of a package, and on each device, by package."""
    found: dict[str, Counter[str]] = {}
    for manifest in manifests:
        known = manifest.get("made_with", {UNKNOWN: "versions not recorded"})
        for name, version in known.items() if not manifest["artefact"].startswith(ASIDE) else ():
            found.setdefault(name, Counter())[version] += 1
    return found


def mixture(stores: Iterable[Store], now: Mapping[str, str] | None = None) -> str:
    """Say with which different versions and devices a study's artefacts were made; an empty text where none differ.

    `now`: the versions that would make more of them.
    """
    found = made_with(filter(None, (store.manifest(name) for store in stores for name in store.names())))
    for name, version in (now or {}).items():
        found.setdefault(name, Counter())[version] += 0
    parts = []
    for name, counts in found.items():
        if len(counts) > 1 or (name == UNKNOWN and len(found) > 1):
            each = (f"{number or 'from now on'} with {version}" for version, number in counts.items())
            parts.append(f"{name} ({', '.join(each)})")
    told = f"Artefacts of this study differ in what made them, which may change figures: {'; '.join(parts)}."
    remedy = "--force makes all of them anew, another --study leaves these as they are."
    return f"{told} {remedy}" if parts else ""
