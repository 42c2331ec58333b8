"""Presets and overrides: checked by name and value, all faults at once."""

import dataclasses

import pytest

from lib.cli import parser, plan
from lib.config import PRESETS, Study, UsageError
from lib.reporting.display import settings_table


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_sound(preset):
    assert Study.of(preset).preset == preset


def test_paper_preset_is_the_papers():
    study = Study.of("paper")
    assert (study.image_size, study.reconstructive_width, study.discriminative_width) == (256, 128, 64)
    assert (study.draem_epochs, study.draem_batch, study.draem_lr, study.folds) == (700, 8, 1e-4, 10)
    assert (study.mlp, study.keep, study.selection) == ((512, 100), (0.25, 0.5, 0.75, 1.0), "sqrt_n")
    assert study.steps_for(100) == 700 * 100 // 8


def test_text_overrides_take_the_fields_type():
    study = Study.of("smoke", {"folds": "3", "keep": "0.5,1", "mlp": "7", "skip_bad": "true", "draem_lr": "2e-4"})
    assert (study.folds, study.keep, study.mlp, study.skip_bad, study.draem_lr) == (3, (0.5, 1.0), (7,), True, 2e-4)


def test_steps_and_epochs_replace_each_other():
    assert Study.of("paper", {"draem_steps": 5}).steps_for(1000) == 5
    assert Study.of("quick", {"draem_epochs": 2}).steps_for(80) == 40


def test_cross_fitted_halves_share_counted_steps_and_epochs_scale_by_themselves():
    quick, paper = Study.of("quick", {"draem_steps": 251}), Study.of("paper")
    assert (quick.steps_for(80), quick.steps_for(40, sharing=2)) == (251, 126)
    assert paper.steps_for(40, sharing=2) == paper.steps_for(80) // 2


def test_maps_are_made_as_in_the_paper_unless_asked_for():
    assert Study.of("quick").map_method == Study.of("paper").map_method == "in_sample"
    crossed = {"map_fit": "cross_fitted"}
    assert Study.of("quick", crossed).map_method == "cross_fitted"
    assert Study.of("quick", crossed | {"map_source": "patchcore"}).map_method == "patchcore"


def test_all_faults_are_named_at_once():
    bad = {"fold": 3, "image_size": 50, "cv": "groupd", "keep": "0.5", "mlp": "a", "folds": "x"}
    with pytest.raises(UsageError) as caught:
        Study.of("quick", bad)
    message = str(caught.value)
    for part in (
        "'fold'",
        "did you mean 'folds'",
        "image_size=50",
        "did you mean 'grouped'",
        "keep=",
        "mlp=",
        "folds='x'",
    ):
        assert part in message


def test_unknown_preset_proposes_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'quick'"):
        Study.of("quik")


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        ({"groups": "a.csv", "group_regex": "x"}, "contradict"),
        ({"cv": "stratified", "group_regex": "x"}, "ignores groups"),
        ({"draem_steps": 0}, "exactly one"),
        ({"draem_steps": 3, "draem_epochs": 3}, "exactly one"),
        ({"synthetic_scale": 2}, "synthetic_scale"),
        ({"synthetic_side": 5000}, "at most 4096"),
        ({"keep": "0.5,0.5,1"}, "each share once"),
        ({"folds": "1e400"}, "finite"),
        ({"folds": None}, "expected a number"),
        ({"draem_lr": "nan"}, "finite"),
        ({"keep": {}}, "expected a number"),
        ({"preset": "paper"}, "--preset"),
        ({"draem_weights": "x", "draem_start": "scratch"}, "leave out draem_checkpoint and draem_start=scratch"),
        ({"draem_weights": "x", "map_source": "patchcore"}, "patchcore trains no DRAEM: leave out draem_weights"),
        ({"draem_weights": "x", "draem_checkpoint": "y"}, "draem_weights are for training from them"),
        ({"draem_checkpoint": "x", "map_fit": "cross_fitted"}, "two trained here"),
    ],
)
def test_contradictions_are_refused(overrides, part):
    with pytest.raises(UsageError, match=part):
        Study.of("quick", overrides)


def test_seeds_differ_by_purpose_and_not_by_order():
    study = Study.of("quick")
    assert study.seed_for("a", 1) == study.seed_for("a", 1)
    seeds = {study.seed_for("a", 1), study.seed_for("a", 2), study.seed_for("b", 1), study.seed_for("a1")}
    assert len(seeds) == 4
    assert Study.of("quick", {"seed": 1}).seed_for("a", 1) not in seeds


def test_description_names_every_field_and_marks_changes():
    table = settings_table(Study.of("quick", {"folds": 5}))
    assert set(table.index) == {item.name for item in dataclasses.fields(Study)}
    assert table.loc["folds", "changed from"] == "preset quick: 3"
    assert (table["changed from"] != "").sum() == 1
    assert table["meaning"].str.len().min() > 10


def test_settings_need_an_equals_sign(tmp_path):
    given = ["--set", "a=1", "--set", "folds", "--set", "folds=2", "--set", "folds=3", "--output", str(tmp_path)]
    with pytest.raises(UsageError) as told:
        plan(parser().parse_args(given))
    for part in ("expected FIELD=VALUE, got: folds", "folds=2 and --set folds=3 contradict", "unknown setting 'a'"):
        assert part in str(told.value)


def test_the_lines_settings_are_checked():
    study = Study.of("quick", {"required": "0.9,0.99", "prevalence": "0.02"})
    assert (study.required, study.prevalence) == ((0.9, 0.99), 0.02)
    for bad in ({"required": "1.2"}, {"required": "0"}, {"prevalence": 0}, {"prevalence": 1}):
        with pytest.raises(UsageError, match=next(iter(bad))):
            Study.of("quick", bad)


@pytest.mark.parametrize(
    ("name", "value", "now"),
    [
        ("patch_size", 96, "use feature_size"),
        ("weights", "embedded", "use weights=auto"),
        ("compare_map_fit", True, ".*--compare"),
        ("compare_map_source", True, ".*--compare"),
        ("guided_baseline", "none", ".*mean of good training images"),
    ],
)
def test_a_setting_of_the_last_release_is_answered_with_what_there_is_instead(name, value, now):
    with pytest.raises(UsageError, match=f"{name}={value}: does not exist any more; {now}"):
        Study.of("quick", {name: value})


@pytest.mark.parametrize("name", ["folds", "keep", "mlp", "image_size", "synthetic_scale", "draem_lr"])
def test_numbers_below_their_bounds_are_refused(name):
    with pytest.raises(UsageError, match=rf"{name}=-1(\.0)?: must be"):
        Study.of("quick", {name: "-1"})


def test_tiles_make_whole_images_of_a_multiple_of_the_patches_stride():
    study = Study.of("quick", {"tiles": 3, "image_size": 64, "feature_size": 160})
    assert (study.map_side, study.feature_side) == (3 * 64 - 2 * 16, 3 * 160 - 2 * 40)
    assert (Study.of("quick").map_side, Study.of("quick").feature_side) == (64, 160)
    with pytest.raises(UsageError, match="feature_size: must be a multiple of 8"):
        Study.of("quick", {"tiles": 2, "feature_size": 100})
    assert Study.of("quick", {"feature_size": 100}).feature_side == 100
    epochs = {"draem_epochs": 4, "draem_batch": 8}
    assert Study.of("quick", epochs | {"tiles": 2}).steps_for(10) == 4 * 10 * 4 // 8
