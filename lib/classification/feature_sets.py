"""What each feature set holds, what learns from it, and its one name: the paper's three, and those beside them."""

from dataclasses import dataclass
from typing import Literal

# Where columns come from, in the order in which they are counted.
COLUMN_BLOCKS = ("image", "map", "stats", "score", "patch", "guided")


@dataclass(frozen=True)
class FeatureSet:
    """The columns of a feature set, the classifier fitted on them, and its name."""

    key: str  # in settings and CSV files
    group: Literal["main", "baseline", "guided", "combined"]
    title: str  # in tables, figures and sentences
    description: str = ""  # in notes below a table
    selected_columns: tuple[str, ...] = ()  # blocks whose columns go through the study's selection
    all_columns: tuple[str, ...] = ()  # blocks of which every column is used
    scores: tuple[str, ...] = ()  # blocks of few columns, which `stacked` adds to the logits of the rest
    # the study's network, a logistic regression, or one on the logits of another and on `scores`
    model: Literal["network", "logistic", "stacked"] = "network"

    @property
    def phrase(self) -> str:
        """The title within a sentence."""
        return self.title[0].lower() + self.title[1:]

    @property
    def blocks(self) -> tuple[str, ...]:
        """Every block of columns that the set needs, in the order in which columns are counted."""
        return tuple(sorted(self.selected_columns + self.all_columns + self.scores, key=COLUMN_BLOCKS.index))


_LIST = (
    FeatureSet("image", "main", "Image", selected_columns=("image",)),
    FeatureSet("map", "main", "Anomaly map", selected_columns=("map",)),
    FeatureSet("image_map", "main", "Image + map", selected_columns=("image", "map")),
    FeatureSet("score", "baseline", "Anomaly score, logistic",  # is the map source's own verdict enough?
        "the map source's image score alone, logistic regression",
        all_columns=("score",), model="logistic"),
    FeatureSet("stats", "baseline", "Map statistics",
        "maximum, mean, 95th and 99th percentile and area above thresholds of the map alone, the study's network",
        all_columns=("stats",)),
    FeatureSet("image_map_stats", "baseline", "Image + map + map statistics",  # do they add anything?
        "the selected features of image and map and all statistics of the map",
        selected_columns=("image", "map"), all_columns=("stats",)),
    FeatureSet("image_logistic", "baseline", "Image, logistic",  # is a network needed? what does the map add to it?
        "all features of the image, logistic regression",
        all_columns=("image",), model="logistic"),
    FeatureSet("image_map_all", "baseline", "Image + map, all features",  # is selection needed?
        "all features of image and map, nothing selected, the study's network",
        all_columns=("image", "map")),
    FeatureSet("image_map_logistic", "baseline", "Image + map, logistic",
        "all features of image and map, logistic regression",
        all_columns=("image", "map"), model="logistic"),
    FeatureSet("guided", "guided", "Map-guided",
        "the backbone's middle stages at the places where the map is highest (settings guided_…), all features, the "
        "study's network",
        all_columns=("guided",)),
    FeatureSet("guided_all", "guided", "Image + map-guided",
        "map-guided features, all features of the image and the map's statistics, the study's network",
        all_columns=("image", "stats", "guided")),
    FeatureSet("guided_logistic", "guided", "Image + map-guided, logistic",
        "map-guided features, all features of the image and the map's statistics, logistic regression",
        all_columns=("image", "stats", "guided"), model="logistic"),
    FeatureSet("patch", "combined", "Patch classifier, logistic",
        "a linear discriminant on patches, taught by masks, or without masks by the highest places of maps; logistic "
        "regression on its score for each class",
        all_columns=("patch",), model="logistic"),
    FeatureSet("combined", "combined", "Combined, stacked",
        "logistic regression on the logits of image + map-guided, logistic, out of fold, beside the anomaly score and "
        "the patch classifier's scores",
        all_columns=("image", "stats", "guided"), scores=("score", "patch"), model="stacked"),
)  # fmt: skip
FEATURE_SETS = {one.key: one for one in _LIST}
MAIN, BASELINES, GUIDED, COMBINED = (
    tuple(one.key for one in _LIST if one.group == group) for group in ("main", "baseline", "guided", "combined")
)
