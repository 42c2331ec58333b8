"""Verdicts of pictures with chosen scores."""

import numpy as np
import pytest

from lib.datasets.errors import DatasetError
from lib.inspection.folder import read_folder
from lib.inspection.verdicts import LOOK, PASS, REJECT, decide, in_order, tabulate
from tests.inspection import made_up


def test_the_ends_of_the_threshold_decide_and_what_is_foreign_is_looked_at():
    scores = np.array([0.39, 0.4, 0.59, 0.6, 0.99, 0.0])
    verdicts, reasons = decide(scores, made_up.threshold(), [()] * 4 + [("too dark",)] * 2)
    assert verdicts == [PASS, LOOK, LOOK, REJECT, LOOK, LOOK]
    assert reasons == ["", "uncertain", "uncertain", "", "foreign", "foreign"]


def test_class_and_probability_follow_the_verdict():
    chances = [(0.7, 0.1, 0.2), (0.5, 0.2, 0.3), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)]
    away = np.zeros((4, 4))
    away[3] = 50
    found = tabulate(
        made_up.line(), made_up.threshold(), made_up.folder("abcd"), made_up.measured(chances, away)
    )
    assert found["verdict"].tolist() == [PASS, LOOK, REJECT, LOOK]
    assert found["class"].tolist() == ["good", "hole", "dent", ""], "of the foreign one nothing is guessed"
    np.testing.assert_allclose(found["probability"], [0.7, 0.3, 0.8, np.nan], atol=1e-6)
    np.testing.assert_allclose(found[["p:good", "p:dent", "p:hole"]], chances, atol=1e-6)
    assert "limit" in found["details"][3]


def test_what_a_person_should_see_comes_first():
    chances = [(0.9, 0.05, 0.05), (0.55, 0.4, 0.05), (0.49, 0.5, 0.01), (0.2, 0.4, 0.4), (0.1, 0.4, 0.5),
               (0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.5, 0.25, 0.25)]  # fmt: skip
    away = np.zeros((8, 4))
    away[6], away[7] = 50, 60
    found = tabulate(
        made_up.line(), made_up.threshold(), made_up.folder("abcdefgh"), made_up.measured(chances, away)
    )
    assert "".join(in_order(found)["file"]) == "hgcbedfa"


def test_the_same_picture_twice_is_told():
    found = tabulate(made_up.line(), made_up.threshold(), made_up.folder("abc", pixels="xyx"),
                     made_up.measured([(0.8, 0.1, 0.1)] * 3))  # fmt: skip
    assert found["same_as"].tolist() == ["", "", "a"]


def test_a_folder_without_a_usable_picture_is_refused_with_every_fault(tmp_path):
    with pytest.raises(DatasetError, match="no usable picture"):
        read_folder(tmp_path)
    (tmp_path / "a.png").write_text("x")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DatasetError) as told:
        read_folder(tmp_path)
    assert {issue.file for issue in told.value.issues} == {str(tmp_path), "a.png", "b.png"}
