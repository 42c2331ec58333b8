"""What each feature set holds: the paper's three, and the simpler ones that they should beat."""

from __future__ import annotations

from dataclasses import dataclass

# Where columns come from, in the order in which they are counted; `other…`: by the map of the study's other map source.
SOURCES = ("image", "map", "stats", "score", "other", "guided", "other_stats", "other_guided")


@dataclass(frozen=True)
class Recipe:
    """The columns of a feature set and what learns from them."""

    selected: tuple[str, ...] = ()  # sources whose columns go through the study's selection
    whole: tuple[str, ...] = ()  # sources of which every column is used
    linear: bool = False  # a logistic regression instead of the study's network

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source that the set needs."""
        return self.selected + self.whole


MAIN = ("image", "map", "both")
RECIPES: dict[str, Recipe] = {
    "image": Recipe(selected=("image",)),
    "map": Recipe(selected=("map",)),
    "both": Recipe(selected=("image", "map")),
    "score": Recipe(whole=("score",), linear=True),  # is the map source's own verdict enough?
    "stats": Recipe(whole=("stats",)),  # does a handful of numbers say what 512 features of the map say?
    "both_stats": Recipe(selected=("image", "map"), whole=("stats",)),  # do they add anything?
    "both_all": Recipe(whole=("image", "map")),  # is selection needed?
    "both_logistic": Recipe(whole=("image", "map"), linear=True),  # is a network needed?
    "both_sources": Recipe(selected=("image", "map", "other")),  # do two map sources say more than one?
    "guided": Recipe(whole=("guided",)),  # does the map do better as a guide to the image's own features?
    "guided_all": Recipe(whole=("image", "stats", "guided")),  # and beside what image and map say otherwise?
    "guided_logistic": Recipe(whole=("image", "stats", "guided"), linear=True),
    # do two guides, which find different defects, point better than one?
    "both_guides": Recipe(whole=("image", "stats", "guided", "other_stats", "other_guided"), linear=True),
}
GUIDED = ("guided", "guided_all", "guided_logistic")
TOGETHER = {
    "both_sources": "both",
    "both_guides": "guided_logistic",
}  # and what one source gives in the same way
BASELINES = tuple(name for name in RECIPES if name not in (*MAIN, *GUIDED, *TOGETHER))
# fitted in a second, so also at every level
CHEAP = tuple(name for name in BASELINES if RECIPES[name].linear)
CHEAP_GUIDED = tuple(name for name in GUIDED if RECIPES[name].linear)
