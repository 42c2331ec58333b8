"""What each feature set holds: the paper's three, and the simpler ones that they should beat."""

from __future__ import annotations

from dataclasses import dataclass

# Where columns come from, in the order in which they are counted; `other…`: by the map of the study's other map source.
COLUMN_BLOCKS = ("image", "map", "stats", "score", "other", "guided", "other_stats", "other_guided")


@dataclass(frozen=True)
class FeatureSet:
    """The columns of a feature set and what learns from them."""

    selected: tuple[str, ...] = ()  # sources whose columns go through the study's selection
    whole: tuple[str, ...] = ()  # sources of which every column is used
    linear: bool = False  # a logistic regression instead of the study's network

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source that the set needs."""
        return self.selected + self.whole


MAIN = ("image", "map", "image_map")
FEATURE_SETS: dict[str, FeatureSet] = {
    "image": FeatureSet(selected=("image",)),
    "map": FeatureSet(selected=("map",)),
    "image_map": FeatureSet(selected=("image", "map")),
    "score": FeatureSet(whole=("score",), linear=True),  # is the map source's own verdict enough?
    "stats": FeatureSet(whole=("stats",)),  # does a handful of numbers say what 512 features of the map say?
    "image_map_stats": FeatureSet(selected=("image", "map"), whole=("stats",)),  # do they add anything?
    "image_map_all": FeatureSet(whole=("image", "map")),  # is selection needed?
    "image_map_logistic": FeatureSet(whole=("image", "map"), linear=True),  # is a network needed?
    "image_two_maps": FeatureSet(selected=("image", "map", "other")),  # do two map sources say more than one?
    "guided": FeatureSet(whole=("guided",)),  # does the map do better as a guide to the image's own features?
    "guided_all": FeatureSet(
        whole=("image", "stats", "guided")
    ),  # and beside what image and map say otherwise?
    "guided_logistic": FeatureSet(whole=("image", "stats", "guided"), linear=True),
    # do two guides, which find different defects, point better than one?
    "guided_two_maps": FeatureSet(
        whole=("image", "stats", "guided", "other_stats", "other_guided"), linear=True
    ),
}
GUIDED = ("guided", "guided_all", "guided_logistic")
COMBINED_DETECTORS = {
    "image_two_maps": "image_map",
    "guided_two_maps": "guided_logistic",
}  # and what one source gives in the same way
BASELINES = tuple(name for name in FEATURE_SETS if name not in (*MAIN, *GUIDED, *COMBINED_DETECTORS))
# fitted in a second, so also at every level
LINEAR_BASELINES = tuple(name for name in BASELINES if FEATURE_SETS[name].linear)
LINEAR_GUIDED = tuple(name for name in GUIDED if FEATURE_SETS[name].linear)
