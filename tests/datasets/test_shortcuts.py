"""Facts of files that tell good from defective are named; those that differ by chance, or by few objects, are not."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib.datasets.near_duplicates import small_pictures
from lib.datasets.shortcuts import file_facts, telling_facts, without_good

RNG = np.random.default_rng(0)
BAD = np.arange(120) % 3 == 0
ALONE = np.arange(120)


def saved(root, **facts):
    """Save 120 pictures of noise, every third defective, and return their facts: each a function of the row."""
    size = facts.get("size", lambda row: (40, 40))
    quality, mode = facts.get("quality", lambda row: 90), facts.get("mode", lambda row: "RGB")
    names, stack = [], []
    for row in range(120):
        picture = Image.fromarray(RNG.integers(0, 255, (32, 32, 3), dtype=np.uint8)).resize(size(row))
        names.append(f"{row}.jpg")
        picture.convert(mode(row)).save(root / names[-1], quality=quality(row))
        stack.append(np.asarray(picture.resize((32, 32))))
    table = pd.DataFrame({"path": names, "width": [size(row)[0] for row in range(120)]})
    table["height"] = [size(row)[1] for row in range(120)]
    return file_facts(root, table, small_pictures(np.stack(stack)))


def told(facts, groups=ALONE):
    return {one.fact: one for one in telling_facts(facts, BAD, groups)}


def test_facts_are_those_of_the_files(tmp_path):
    facts = saved(tmp_path, quality=lambda row: 30 + row // 2, mode=lambda row: "L" if row == 5 else "RGB")
    assert facts["JPEG quality"][60] == pytest.approx(60, abs=2) and set(facts["file type"]) == {"JPEG"}
    assert facts["colour mode"].value_counts().to_dict() == {"RGB": 119, "L": 1}
    assert facts["file size"][7] == (tmp_path / "7.jpg").stat().st_size
    assert not told(facts) and not without_good(facts, BAD, ALONE)


def test_defects_saved_at_another_quality_or_larger_are_told_by_it(tmp_path):
    found = told(saved(tmp_path, quality=lambda row: 95 if BAD[row] else 75))
    assert found["JPEG quality"].auc == 1 and "file size" in found
    assert "width" not in found and "mean tone" not in found
    larger = saved(tmp_path, size=lambda row: (48, 40) if BAD[row] else (40, 40))
    assert {"width", "file size"} <= set(told(larger))
    assert without_good(larger, BAD, ALONE) == {"48 x 40 RGB": 40}


def test_what_a_few_objects_differ_in_proves_nothing(tmp_path):
    facts = saved(tmp_path, size=lambda row: (48, 40) if BAD[row] else (40, 40))
    few = np.where(BAD, np.arange(120) // 30, ALONE + 1000)  # the defects are 4 objects in many shots
    assert not told(facts, few)
    assert without_good(facts, BAD, ALONE) and not without_good(facts, BAD, np.where(BAD, -1, ALONE))


def test_a_variant_of_some_defects_is_named_with_its_images(tmp_path):
    facts = saved(tmp_path, mode=lambda row: "L" if BAD[row] and row < 45 else "RGB")
    assert without_good(facts, BAD, ALONE) == {"40 x 40 L": 15}
    assert not without_good(saved(tmp_path, mode=lambda row: "L" if row in (0, 3) else "RGB"), BAD, ALONE)
