"""What ways of making maps are called in captions."""

from __future__ import annotations

from lib.anomaly_maps.detectors import detector
from lib.config import Study


def maps_of(study: Study) -> str:
    """Say in a caption's words how the maps are made that the results rest on."""
    return detector(study.map_source).caption(study)
