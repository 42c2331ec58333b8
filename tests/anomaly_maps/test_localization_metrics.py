import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from lib.anomaly_maps.localization_metrics import image_auroc, pixel_quality, train_test_auroc


@pytest.fixture(scope="module")
def study():
    """Maps that find scratches well, dents badly, and blots not at all."""
    rng = np.random.default_rng(0)
    labels = ["good"] * 6 + ["scratch"] * 4 + ["dent"] * 3 + ["blot"] * 2
    strength = {"scratch": 0.5, "dent": 0.1, "blot": 0.0}
    maps, masks = [], []
    for label in labels:
        mask = np.zeros((16, 24), np.uint8)
        if label != "good":
            mask[3:9, 5 : 5 + int(rng.integers(3, 12))] = 255
        maps.append((rng.beta(1, 8, mask.shape) + strength.get(label, 0) * (mask > 0)).clip(0, 1).astype(np.float16))
        masks.append(mask)
    return maps, masks, labels


def pooled(study, classes):
    maps, masks, labels = study
    chosen = [index for index, label in enumerate(labels) if label in classes]
    truth = np.concatenate([masks[index].ravel() > 0 for index in chosen])
    values = np.concatenate([maps[index].ravel() for index in chosen]).astype(np.float64)
    return roc_auc_score(truth, values), average_precision_score(truth, values)


def test_pixel_figures_are_exactly_those_of_all_pixels_at_once(study):
    maps, masks, labels = study
    quality = pixel_quality(iter(maps), iter(masks), labels, "good")
    assert quality.index.tolist() == ["overall", "blot", "dent", "scratch"]
    for name in quality.index:
        classes = set(labels) if name == "overall" else {"good", name}
        expected = pooled(study, classes)
        assert quality.loc[name, ["pixel_auroc", "pixel_ap"]].tolist() == pytest.approx(expected, abs=1e-12)
    assert quality.images.tolist() == [9, 2, 3, 4] and (quality.left_out == 0).all()
    assert quality.pixel_auroc["scratch"] > quality.pixel_auroc["dent"] > quality.pixel_auroc["blot"]


def test_good_images_need_no_mask_and_count_as_good(study):
    maps, masks, labels = study
    without = [None if label == "good" else mask for mask, label in zip(masks, labels, strict=True)]
    assert pixel_quality(maps, without, labels, "good").equals(pixel_quality(maps, masks, labels, "good"))
    worse = [np.ones_like(m) if label == "good" else m for m, label in zip(maps, labels, strict=True)]
    assert (
        pixel_quality(worse, masks, labels, "good").pixel_auroc["scratch"]
        < pixel_quality(maps, masks, labels, "good").pixel_auroc["scratch"]
    )


def test_defective_images_with_empty_masks_are_left_out_and_counted(study):
    maps, masks, labels = study
    emptied = list(masks)
    emptied[6], emptied[13], emptied[14] = np.zeros((16, 24), np.uint8), None, np.zeros((16, 24), np.uint8)
    quality = pixel_quality(maps, emptied, labels, "good")
    keep = [index for index in range(15) if index not in (6, 13, 14)]
    rest = ([maps[i] for i in keep], [masks[i] for i in keep], [labels[i] for i in keep])
    assert quality.pixel_auroc["overall"] == pytest.approx(pooled(rest, set(labels))[0], abs=1e-12)
    assert quality.left_out.to_dict() == {"overall": 3, "blot": 2, "dent": 0, "scratch": 1}
    assert quality.images.to_dict() == {"overall": 6, "blot": 0, "dent": 3, "scratch": 3}
    assert np.isnan(quality.pixel_auroc["blot"]) and np.isnan(quality.pixel_ap["blot"])


def test_values_above_one_and_coarse_types_are_ranked_too():
    masks = [np.zeros((1, 4)), np.array([[0, 0, 1, 1]])]
    maps = [np.array([[0.0, 1.0, 2.0, 3.0]]), np.array([[-0.0, 5.0, 40.0, 60000.0]])]
    quality = pixel_quality(maps, masks, ["good", "dent"], "good")
    assert quality.pixel_auroc["overall"] == 1.0 and quality.pixel_ap["overall"] == 1.0


def test_image_auroc_is_per_class_against_good():
    scores = np.array([0.1, 0.2, 0.3, 0.9, 0.8, 0.15, 0.05])
    labels = np.array(["good", "good", "good", "dent", "dent", "blot", "blot"])
    aurocs = image_auroc(scores, labels, "good")
    assert aurocs.to_dict() == pytest.approx({"overall": 7 / 12, "blot": 1 / 6, "dent": 1.0})


def test_wrong_inputs_are_named(study):
    maps, masks, labels = study
    with pytest.raises(ValueError, match=r"need good \('ok'\)"):
        image_auroc(np.zeros(15), labels, "ok")
    with pytest.raises(ValueError, match="need good"):
        image_auroc(np.zeros(2), ["good", "good"], "good")
    with pytest.raises(ValueError, match="'overall': rename"):
        image_auroc(np.zeros(2), ["good", "overall"], "good")
    with pytest.raises(ValueError, match="image 0: labelled 'good'"):
        pixel_quality(maps, [masks[-1], *masks[1:]], labels, "good")


def test_unseen_told_from_seen_compares_good_images_within_each_split():
    rows = [
        (cleaner, split, label, tested, score)
        for cleaner in (0.2, 0.0)
        for split, level in (("grouped-1", 0.0), ("grouped-0", 0.5))  # each split's DRAEM has a level of its own
        for label, tested, scores in (
            ("good", False, (0.20, 0.30)),
            ("good", True, (0.20 + cleaner, 0.30 + cleaner)),
            ("dent", True, (0.0, 0.0)),  # defects do not count
        )
        for score in (value + level for value in scores)
    ]
    table = pd.DataFrame(rows, columns=["cleaner", "split", "label", "tested", "score"])
    seen, alike = (table[table["cleaner"] == one] for one in (0.2, 0.0))
    told = train_test_auroc(seen, "good")
    assert told.index.tolist() == ["grouped-1", "grouped-0"]
    assert (told == 1).all() and (train_test_auroc(alike, "good") == 0.5).all()
    cleaner_tests = seen.assign(score=-seen["score"])
    assert (train_test_auroc(cleaner_tests, "good") == 0).all()
    without = seen[~(seen["tested"] & (seen["split"] == "grouped-1"))]
    assert np.isnan(train_test_auroc(without, "good")["grouped-1"])


def test_aupro_counts_each_connected_defect_alike(study):
    """Against a threshold by threshold count; and small defects weigh as much as large ones."""
    maps, masks, labels = study
    values = np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]
    marked, overlap = [0.0], [0.0]
    negatives = np.concatenate([m[mask == 0] for m, mask in zip(maps, masks, strict=True)])
    blobs = []
    for m, mask in zip(maps, masks, strict=True):
        found, count = ndimage.label(mask > 0, structure=np.ones((3, 3)))
        blobs += [m[found == k] for k in range(1, count + 1)]
    for value in values:
        marked.append((negatives >= value).mean())
        overlap.append(np.mean([(blob >= value).mean() for blob in blobs]))
    fine = np.linspace(0, 0.3, 200_001)
    expected = np.interp(fine, marked, overlap).mean()
    assert pixel_quality(maps, masks, labels, "good").aupro["overall"] == pytest.approx(expected, abs=1e-4)

    small, large = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    small[:2, :2], large[5:15, 5:15] = True, True
    good, told = np.zeros((20, 20)), np.where(large, 0.9, 0.0)  # finds the large one only
    quality = pixel_quality([good, told], [None, small | large], ["good", "dent"], "good")
    assert quality.aupro["dent"] == pytest.approx(0.5 + 0.5 * 0.3 / 2, abs=1e-6)  # then all at once
