from lib.classification.feature_sets import (
    BASELINES,
    COLUMN_BLOCKS,
    COMBINED,
    COMBINED_DETECTORS,
    FEATURE_SETS,
    GUIDED,
    MAIN,
)


def test_every_feature_set_is_named_and_stands_in_one_group():
    assert MAIN == ("image", "map", "image_map")
    assert sorted(FEATURE_SETS) == sorted((*MAIN, *BASELINES, *GUIDED, *COMBINED, *COMBINED_DETECTORS))
    for key, one in FEATURE_SETS.items():
        assert one.key == key and one.title and one.phrase
        assert [*one.blocks] == [name for name in COLUMN_BLOCKS if name in one.blocks], (
            "as columns are counted"
        )
        assert (one.group in ("main", "two_sources")) == (not one.description)
    assert len({one.title for one in FEATURE_SETS.values()}) == len(FEATURE_SETS)


def test_a_set_of_two_sources_uses_the_columns_of_its_one_source_set_twice():
    for both, alone in COMBINED_DETECTORS.items():
        theirs, mine = FEATURE_SETS[both], FEATURE_SETS[alone]
        assert set(mine.blocks) < set(theirs.blocks) and mine.model == theirs.model
