"""Verdicts on images with chosen scores; what is out of distribution, against brute force and with its margins."""

import subprocess
import sys

import numpy as np
import pytest

from lib.datasets.errors import DatasetError
from lib.inspection.decisions import OOD, PASS, REJECT, REVIEW, UNCERTAIN, decide, ood_reasons, training_reference
from lib.inspection.new_images import by_urgency, read_folder, tabulate
from tests.inspection import made_up


def test_the_ends_of_the_threshold_decide_and_what_is_out_of_distribution_is_reviewed():
    scores = np.array([0.39, 0.4, 0.59, 0.6, 0.99, 0.0])
    verdicts, reasons = decide(scores, 0.4, 0.6, np.arange(6) > 3)
    assert verdicts.tolist() == [PASS, REVIEW, REVIEW, REJECT, REVIEW, REVIEW]
    assert reasons.tolist() == ["", UNCERTAIN, UNCERTAIN, "", OOD, OOD]
    assert decide(scores, 0.4, 0.6)[0].tolist() == [PASS, REVIEW, REVIEW, REJECT, REJECT, PASS]


def test_class_and_probability_follow_the_verdict_and_doubles_are_named():
    probabilities = [(0.7, 0.1, 0.2), (0.5, 0.2, 0.3), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)]
    embeddings = np.zeros((4, 3))
    embeddings[3] = 50
    features = made_up.features(probabilities, embeddings, digests="xyxz")
    found = tabulate(made_up.model(), made_up.threshold(), made_up.folder("abcd"), features)
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


def test_the_rules_import_numpy_alone():
    heavy = ("torch", "pandas", "scipy", "sklearn", "PIL")
    program = f"import sys, lib.inspection.decisions; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_a_folder_without_a_usable_image_is_refused_with_every_issue(tmp_path):
    with pytest.raises(DatasetError, match="no usable image"):
        read_folder(tmp_path)
    (tmp_path / "a.png").write_text("x")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DatasetError) as raised:
        read_folder(tmp_path)
    assert {issue.file for issue in raised.value.issues} == {str(tmp_path), "a.png", "b.png"}


def labelled(n=150, groups=None):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(n, 6)).astype(np.float32) * np.float32([1, 2, 3, 1, 1, 0])
    sizes = np.column_stack([np.full(n, 60), np.full(n, 40)])
    groups = np.arange(n) if groups is None else groups
    return embeddings, groups, sizes, np.column_stack([np.linspace(0.4, 0.6, n), np.linspace(0.1, 0.2, n)])


def test_distances_are_to_the_nearest_of_another_group():
    embeddings, _, *rest = labelled()
    groups = np.repeat(np.arange(75), 2)
    embeddings[1::2] = embeddings[::2] + 1e-3  # two shots of each object
    reference = training_reference(embeddings, groups, *rest)
    scaled = (embeddings - reference.centre) / reference.spread
    apart = np.sqrt(((scaled[:, None] - scaled[None]) ** 2).mean(axis=2))
    apart[groups[:, None] == groups] = np.inf
    np.testing.assert_allclose(reference.distances, apart.min(axis=1), rtol=1e-4)
    assert reference.distances.min() > 10 * 1e-3
    alone = training_reference(embeddings, np.arange(150), *rest)
    assert alone.limit < reference.limit, "an object's other shot would put every new object out of distribution"


def test_one_in_a_hundred_labelled_images_lies_beyond_the_limit():
    reference = training_reference(*labelled(200))
    assert (reference.distances > reference.limit).sum() == 1
    assert reference.rate == 0.01
    few = training_reference(*labelled(20))
    assert few.limit == few.distances.max()
    assert few.rate == pytest.approx(1 / 21)


def test_new_images_like_the_labelled_ones_rarely_lie_beyond_the_limit():
    reference = training_reference(*labelled(400))
    rng = np.random.default_rng(9)
    new = rng.normal(size=(1000, 6)).astype(np.float32) * np.float32([1, 2, 3, 1, 1, 0])
    distances, _ = reference.nearest(new)
    assert (distances > reference.limit).mean() < 0.03
    assert (reference.nearest(new + 8)[0] > reference.limit).all()


def test_the_nearest_is_named_and_a_labelled_image_is_at_no_distance():
    embeddings, *rest = labelled()
    reference = training_reference(embeddings, *rest)
    distances, rows = reference.nearest(embeddings[[7, 3]])
    assert rows.tolist() == [7, 3]
    assert distances.max() < 1e-6


@pytest.mark.parametrize(
    ("kind", "inside", "outside"),
    [
        ("size", (119, 79), (125, 85)),
        ("size", (31, 21), (29, 19)),
        ("width by height", (70, 40), (80, 40)),
        ("brightness", 0.64, 0.66),
        ("brightness", 0.36, 0.34),
        ("contrast", 0.07, 0.06),
        ("contrast", 0.29, 0.31),
    ],
)
def test_each_range_has_its_margin(kind, inside, outside):
    reference = training_reference(*labelled())

    def reasons(value):
        of = {"size": (60, 40), "brightness": 0.5, "contrast": 0.15}
        of["size" if isinstance(value, tuple) else kind] = value
        exposure = np.array([[of["brightness"], of["contrast"]]])
        return ood_reasons(reference, np.array([of["size"]]), exposure, np.zeros(1))[0]

    assert reasons(inside) == []
    assert len(reasons(outside)) == 1
    assert kind in reasons(outside)[0]


def test_one_group_alone_says_nothing_of_distances():
    embeddings, _, *rest = labelled()
    with pytest.raises(ValueError, match="one group"):
        training_reference(embeddings, np.zeros(150), *rest)
