"""Verdicts on images with chosen scores, and what reads and writes them."""

import subprocess
import sys

import numpy as np
import pytest

from lib.datasets.errors import DatasetError
from lib.inspection.decisions import OOD, PASS, REJECT, REVIEW, UNCERTAIN, decide
from lib.inspection.new_images import by_urgency, read_folder, read_verdicts, tabulate
from tests.inspection import made_up


def test_the_ends_of_the_threshold_decide_and_what_is_out_of_distribution_is_reviewed():
    scores = np.array([0.39, 0.4, 0.59, 0.6, 0.99, 0.0])
    verdicts, reasons = decide(scores, 0.4, 0.6, [()] * 4 + [("too dark",)] * 2)
    assert verdicts == [PASS, REVIEW, REVIEW, REJECT, REVIEW, REVIEW]
    assert reasons == ["", UNCERTAIN, UNCERTAIN, "", OOD, OOD]
    assert decide(scores, 0.4, 0.6)[0] == [PASS, REVIEW, REVIEW, REJECT, REJECT, PASS]


def test_class_and_probability_follow_the_verdict_and_doubles_are_named():
    probabilities = [(0.7, 0.1, 0.2), (0.5, 0.2, 0.3), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)]
    embeddings = np.zeros((4, 3))
    embeddings[3] = 50
    folder = made_up.folder("abcd", pixels="xyxz")
    found = tabulate(
        made_up.model(), made_up.threshold(), folder, made_up.features(probabilities, embeddings)
    )
    assert found["verdict"].tolist() == [PASS, REVIEW, REJECT, REVIEW]
    assert found["class"].tolist() == ["good", "hole", "dent", ""], "out of distribution nothing is guessed"
    np.testing.assert_allclose(found["probability"], [0.7, 0.3, 0.8, np.nan], atol=1e-6)
    np.testing.assert_allclose(found[["p:good", "p:dent", "p:hole"]], probabilities, atol=1e-6)
    assert found["details"].tolist()[:3] == ["", "score 0.5 within 0.4 to 0.6", ""]
    assert "limit" in found["details"][3]
    assert found["same_as"].tolist() == ["", "", "a", ""]


def test_what_a_person_should_see_comes_first():
    probabilities = [(0.9, 0.05, 0.05), (0.55, 0.4, 0.05), (0.49, 0.5, 0.01), (0.2, 0.4, 0.4), (0.1, 0.4, 0.5),
                     (0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.5, 0.25, 0.25)]  # fmt: skip
    embeddings = np.zeros((8, 3))
    embeddings[6], embeddings[7] = 50, 60
    found = tabulate(made_up.model(), made_up.threshold(), made_up.folder("abcdefgh"),
                     made_up.features(probabilities, embeddings))  # fmt: skip
    assert "".join(by_urgency(found, made_up.threshold())["file"]) == "hgcbedfa"


def test_former_names_are_read_by_todays(tmp_path):
    (tmp_path / "verdicts.csv").write_text("file,verdict,reason\nlook,look,foreign\nb,pass,\n")
    found = read_verdicts(tmp_path / "verdicts.csv")
    assert found.to_numpy().tolist() == [["look", REVIEW, OOD], ["b", PASS, ""]]


def test_the_rules_import_numpy_alone():
    heavy = ("torch", "pandas", "scipy", "sklearn", "PIL")
    program = (
        f"import sys, lib.inspection.decisions; print([name for name in {heavy} if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_a_folder_without_a_usable_image_is_refused_with_every_issue(tmp_path):
    with pytest.raises(DatasetError, match="no usable picture"):
        read_folder(tmp_path)
    (tmp_path / "a.png").write_text("x")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DatasetError) as raised:
        read_folder(tmp_path)
    assert {issue.file for issue in raised.value.issues} == {str(tmp_path), "a.png", "b.png"}
