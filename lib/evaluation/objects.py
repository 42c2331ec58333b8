"""Verdicts per object: its most suspicious picture decides, and it is defective where any of its pictures is."""

import pandas as pd

from lib.datasets.groups import groups_of_rows
from lib.evaluation.metrics import Good, defect_scores, good_class

_KEYS = ("dataset", "scheme", "fold", "inner", "features", "task", "keep", "repeat")


def per_verdict(rows: pd.DataFrame, good: Good, unit: str) -> pd.DataFrame:
    """Return predictions as verdicts count them: as they are for the unit `image`; for `object` a row per object.

    That is the prediction of the object's picture with the highest 1 - p(good); `label` is that of its most suspicious
    defective picture, if any; `id` names the object. A picture of unknown group is an object of its own.
    """
    if unit == "image" or rows.empty:
        return rows
    found = []
    for dataset, part in rows.groupby("dataset", sort=False):
        name, keys = good_class(good, str(dataset)), [*(key for key in _KEYS if key in part), "object"]
        part = part.assign(object=groups_of_rows(part), score=defect_scores(part, name))
        falling = part.sort_values("score", ascending=False, kind="stable")
        first = falling.drop_duplicates(keys).set_index(keys)
        bad = falling[falling["label"] != name].drop_duplicates(keys).set_index(keys)["label"]
        first["label"] = bad.reindex(first.index).fillna(first["label"])
        found.append(first.assign(id=first["group"].fillna(first["id"])).reset_index())
    return pd.concat(found, ignore_index=True)[list(rows)]
