"""What images say against a study: from files on the disk to groups that --groups takes."""

from dataclasses import replace

import pandas as pd
from PIL import Image

from lib.datasets.shortcuts import SYMPTOMS
from lib.evaluation.checks import PROPOSED
from lib.pipeline.data_checks import data_facts, image_facts, near_duplicates
from lib.pipeline.dataset import index
from lib.pipeline.run import open_run
from tests.pipeline.conftest import SETTINGS
from tests.pipeline.plates import draw_plates


def plates(tmp_path, alter=lambda data: None, **settings):
    data = draw_plates(tmp_path / "plates")
    alter(data)
    return open_run("plates", "smoke", str(data), str(tmp_path / "out"), SETTINGS | settings)


def again(data):
    """Save a good plate again, darker, among the dents, without a group of its own."""
    picture = Image.open(data / "good/5-0.png").point(lambda value: 0.9 * value)
    picture.save(data / "dent/again.jpg", quality=90)
    rows = pd.read_csv(data / "groups.csv")
    rows.loc[len(rows)] = ["dent/again.jpg", "another"]
    rows.to_csv(data / "groups.csv", index=False)


def test_clean_plates_differ_in_their_defects_only(tmp_path):
    run = plates(tmp_path)
    facts, found = data_facts(run), near_duplicates(run)
    assert facts.images == 48 and not facts.across_classes and not facts.variants
    assert {one.fact for one in facts.told} <= set(SYMPTOMS), "white and black holes change the tone"
    assert set(found["label"]) <= {"hole"}, "two plates with a hole in the same place"


def test_a_plate_saved_again_in_another_class_is_found_and_joins_both_groups(tmp_path):
    run = plates(tmp_path, again)
    assert data_facts(run).across_classes == 2
    found = near_duplicates(run).set_index("id")["alike"]
    assert list(found.index[:2]) == ["dent/again.jpg", "good/5-0.png"], "what stands in two classes comes first"
    assert set(found.index[found == found["good/5-0.png"]]) == {"good/5-0.png", "dent/again.jpg"}
    proposed = pd.read_csv(run.store.path(PROPOSED)).set_index("id")["group"]
    mine = {f"{label}/5-{shot}.png" for label in ("good", "dent", "hole") for shot in (0, 1)}
    assert {"dent/again.jpg", *mine} <= set(proposed.index[proposed == proposed["good/5-0.png"]])
    study = replace(run.study, groups=str(run.store.path(PROPOSED)))
    taken = index(replace(run, study=study, study_dir=str(tmp_path / "second")))
    assert taken["group"].tolist() == proposed.tolist()


def test_a_lost_or_altered_proposal_is_made_again(tmp_path):
    run = plates(tmp_path)
    image_facts(run)
    run.store.path(PROPOSED).write_text("id,group\n")
    data_facts(replace(run))
    assert len(pd.read_csv(run.store.path(PROPOSED))) == 48
