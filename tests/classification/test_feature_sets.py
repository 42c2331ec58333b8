from lib.classification.feature_sets import BASELINES, COLUMN_BLOCKS, COMBINED, FEATURE_SETS, GUIDED, MAIN


def test_every_feature_set_is_named_and_stands_in_one_group():
    assert MAIN == ("image", "map", "image_map")
    assert sorted(FEATURE_SETS) == sorted((*MAIN, *BASELINES, *GUIDED, *COMBINED))
    for key, one in FEATURE_SETS.items():
        assert one.key == key and one.title and one.phrase
        assert [*one.blocks] == [name for name in COLUMN_BLOCKS if name in one.blocks], "as columns are counted"
        assert (one.group == "main") == (not one.description)
    assert len({one.title for one in FEATURE_SETS.values()}) == len(FEATURE_SETS)
