"""The exported model: it says what the study says, without torch, whatever is done to files."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from lib.batch.finished_study import export_request
from lib.cli import parser
from lib.config import UsageError
from lib.datasets.errors import printable
from lib.deployment import onnx_export
from lib.deployment.onnx_export import TOLERANCE, ExportError, export_model, write_onnx
from lib.deployment.onnx_predict import ModelFileError, images_in, load_pipeline, main
from lib.inspection.new_images import features_of_new, read_folder, tabulate
from lib.inspection.production_model import fitted_production_model, threshold_of
from lib.pipeline.dataset import index
from lib.pipeline.run import PROJECT, open_run
from tests.inspection.studies import SETTINGS
from tests.pipeline.plates import draw_plates

FEATURES = "image_map_stats"
NEW = 200
# maps that vary: a DRAEM of four steps gives columns that hardly do, in which the last bit of a sum decides
# and 64 px: of 32, a backbone with ImageNet weights leaves columns that hardly vary, too
MEMORY = {"map_source": "patchcore", "weights": "auto", "feature_size": 64}
DRAEM = {"weights": "auto", "feature_size": 64, "draem_steps": 60}


@pytest.fixture(scope="module")
def new_pictures(tmp_path_factory):
    """Draw pictures that no study has seen, some of them of other sizes and exposures."""
    folder, rng = tmp_path_factory.mktemp("new"), np.random.default_rng(1)
    for number in range(NEW):
        height, width = (40, 56) if number % 10 else (80, 90)
        picture = rng.normal(128 if number % 7 else 180, 12, (height, width, 3)).clip(0, 255).astype(np.uint8)
        if number % 3:
            row, column = rng.integers(4, 26), rng.integers(4, 42)
            picture[row : row + 9, column : column + 9] = (250, 5)[number % 2]
        Image.fromarray(picture).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the run, its model and threshold, the file that they were exported to, and how that compared."""
    folder = tmp_path_factory.mktemp("exported")
    path, data = folder / "plates.onnx", draw_plates(folder / "plates")
    run = open_run("plates", "smoke", str(data), str(folder / "study"), SETTINGS | MEMORY)
    model = fitted_production_model(run, FEATURES)
    threshold = threshold_of(run, model, 0.9)
    return run, model, threshold, path, export_model(run, model, threshold, path)


def stacks(folder, names):
    return [np.asarray(Image.open(folder / name).convert("RGB")) for name in names]


def agree(run, model, threshold, path, folder):
    """Return the largest difference of a probability, having compared the verdicts, on new images."""
    exported, images = load_pipeline(path), read_folder(folder)
    features = features_of_new(run, folder, images.names, model.blocks)
    wanted = tabulate(model, threshold, images, features)
    scored = exported.score(stacks(folder, images.names))
    rows = exported.verdicts(images.names, scored)
    for column in ("verdict", "reason", "class", "width", "height"):
        assert [row[column] for row in rows] == wanted[column].tolist(), column
    np.testing.assert_allclose([row["distance"] for row in rows], wanted["distance"], rtol=1e-3, atol=1e-5)
    assert {"pass", "review"} <= set(wanted["verdict"])
    return np.abs(scored["probabilities"] - model.probabilities(features)).max()


def test_two_hundred_new_pictures_get_the_studys_probabilities_and_verdicts(made, new_pictures):
    run, model, threshold, path, said = made
    assert agree(run, model, threshold, path, new_pictures) < TOLERANCE
    parity = load_pipeline(path).about["parity"]
    assert (parity["images"], parity["above_tolerance"], parity["changed_verdicts"]) == (48, 0, 0)
    assert 0 < parity["largest"] < TOLERANCE
    assert said.startswith("compared on 48 labelled images") and said.endswith("in their verdict: 0")


def test_one_picture_at_a_time_gives_what_many_give(made, new_pictures):
    exported = load_pipeline(made[3])
    pictures = stacks(new_pictures, [f"{number:03d}.png" for number in range(9)])
    together = exported.score(pictures)
    for row, picture in enumerate(pictures):
        for name, value in exported.score([picture]).items():
            np.testing.assert_allclose(value[0], together[name][row], atol=1e-3 if "map" in name else 1e-4)


def test_the_file_asks_for_bytes_at_its_own_sides(made):
    exported = load_pipeline(made[3])
    assert [given.shape[1:] for given in exported.session.get_inputs()] == [[64, 64, 3]]
    assert {given.type for given in exported.session.get_inputs()} == {"tensor(uint8)"}
    for wrong in (np.zeros((1, 64, 64, 3), np.float32), np.zeros((1, 32, 32, 3), np.uint8)):
        with pytest.raises(Exception, match=r"(?i)unexpected input data type|invalid dimensions"):
            exported.session.run(None, {"pictures_64": wrong})


def test_its_metadata_say_what_it_is_and_nothing_of_this_machine(made):
    run, model, threshold, path, _ = made
    about = load_pipeline(path).about
    assert about["classes"] == ["good", "dent", "hole"]
    assert about["threshold"] == vars(threshold)
    assert about["out_of_distribution"]["limit"] == model.reference.limit
    assert about["settings"]["image_size"] == 32
    assert (about["dataset"], about["preset"], about["features"]) == ("plates", "smoke", FEATURES)
    assert about["backbone"] == "efficientnet_lite0 (ImageNet)"
    assert "Apache-2.0" in about["licence"]
    assert about["stand_in"] is False
    assert about["parity"]["images"] == 48
    content = path.read_bytes()
    for place in (PROJECT, Path(run.study_dir).parent, Path.home()):
        assert str(place).encode() not in content
    onnx.checker.check_model(onnx.load(path), full_check=True)
    elsewhere = replace(run, study=replace(run.study, groups="/some/where/groups.csv"))
    assert onnx_export.metadata(elsewhere, model, threshold)["settings"]["groups"] == "groups.csv"


def test_a_file_of_version_0_1_is_still_read(made, tmp_path):
    """It says foreign instead of out_of_distribution."""
    about = {item.key: item.value for item in onnx.load(made[3]).metadata_props}
    about["foreign"] = about.pop("out_of_distribution")
    write_onnx(onnx.load(made[3]), tmp_path / "old.onnx", about)
    assert load_pipeline(tmp_path / "old.onnx").about == load_pipeline(made[3]).about


def test_scoring_imports_nothing_but_pillow_numpy_and_onnxruntime(made, new_pictures, tmp_path):
    heavy = ("torch", "torchvision", "sklearn", "scipy", "pandas", "matplotlib", "onnx", "psutil")
    program = (
        "import sys; from lib.deployment.onnx_predict import main; "
        f"status = main({[str(made[3]), str(new_pictures), '--csv', str(tmp_path / 'out.csv')]!r}); "
        f"print('imported:', [name for name in {heavy!r} if name in sys.modules]); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PROJECT, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "imported: []" in done.stdout
    assert f"{NEW} images: " in done.stdout
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == NEW
    assert sum(float(rows[0][f"p:{name}"]) for name in ("good", "dent", "hole")) == pytest.approx(1, abs=1e-5)


def test_bad_files_are_refused_by_name_and_the_rest_is_judged(made, new_pictures, tmp_path, capsys):
    (tmp_path / ".hidden").mkdir()
    whole = (new_pictures / "001.png").read_bytes()
    for name, content in {
        "a b=1.png": whole,
        "cut.png": whole[: len(whole) // 2],
        "text.png": b"no picture",
        "notes.txt": b"not a picture by its name",
        "moving.gif": b"GIF89a",
        ".hidden/x.png": whole,
    }.items():
        (tmp_path / name).write_bytes(content)
    assert main([str(made[3]), str(tmp_path), str(tmp_path / "gone.png"), "--batch", "2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    names = [re.match(r".{8}(.*?)\.(?:png|gif)  ", line) for line in lines]
    verdict = {Path(name[1]).name: name[0].split()[0] for name in names if name}
    assert verdict.pop("a b=1") in ("pass", "reject", "review")
    assert verdict == {"cut": "refused", "text": "refused", "gone": "refused", "moving": "refused"}
    assert any(line.startswith("5 images: 4 refused") for line in lines)
    assert main([str(made[3]), str(tmp_path / "text.png")]) == 2
    assert main([str(made[3]), str(tmp_path / ".hidden" / "none")]) == 2


@pytest.mark.parametrize("content", [None, b"", b"no model at all", "half"])
def test_a_damaged_file_is_refused_with_the_way_out(made, tmp_path, content):
    path, whole = tmp_path / "x.onnx", made[3].read_bytes()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    message = "no such file" if content is None else "damaged"
    with pytest.raises(ModelFileError, match=f"x.onnx: .*{message}.*export"):
        load_pipeline(path)
    assert main([str(path), str(tmp_path)]) == 2


@pytest.mark.parametrize(("name", "text", "said"), [
    ("threshold", None, "lacks threshold"), ("resize", None, "lacks resize"), ("classes", "[", "damaged"),
])  # fmt: skip
def test_damaged_metadata_are_refused_with_the_way_out(made, tmp_path, name, text, said):
    about = {item.key: item.value for item in onnx.load(made[3]).metadata_props}
    about.pop(name)
    write_onnx(onnx.load(made[3]), tmp_path / "x.onnx", about | ({name: text} if text else {}))
    with pytest.raises(ModelFileError, match=rf"x\.onnx: .*{said}.*export it again"):
        load_pipeline(tmp_path / "x.onnx")


@pytest.mark.parametrize("place", ["beside.bin", "../outside.bin", "absolute"])
def test_a_model_that_reads_other_files_is_refused(made, tmp_path, place):
    """Beside the model, too: who sends one with numbers in another file could name any file."""
    folder = tmp_path / "model"
    folder.mkdir()
    model = onnx.load(made[3])
    onnx.save_model(model, folder / "x.onnx", save_as_external_data=True, location="beside.bin", size_threshold=0)
    location = str(tmp_path / "outside.bin") if place == "absolute" else place
    if place != "beside.bin":
        (folder / "beside.bin").rename(tmp_path / "outside.bin")
    model = onnx.load(folder / "x.onnx", load_external_data=False)
    kept = [one for one in model.graph.initializer if one.data_location == onnx.TensorProto.EXTERNAL]
    for entry in (entry for one in kept for entry in one.external_data if entry.key == "location"):
        entry.value = location
    (folder / "x.onnx").write_bytes(model.SerializeToString())
    assert kept
    with pytest.raises(ModelFileError, match=r"(?i)x\.onnx: .*external data.*export it again"):
        load_pipeline(folder / "x.onnx")


def test_the_predictor_and_the_inspection_leave_out_the_same_masks(tmp_path):
    names = ("1.png", "1_GT.png", "2.png", "2_mask.png", "a/ground_truth/1.png", "MASK/1.png", "a/masks_x/3.png")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 40), 90).save(tmp_path / name)
    found = [path.relative_to(tmp_path).as_posix() for path in images_in([tmp_path])]
    assert found == list(read_folder(tmp_path).names) == ["1.png", "2.png", "a/masks_x/3.png"]


def test_texts_of_a_model_reach_neither_the_terminal_nor_a_spreadsheet_as_commands(
    made, new_pictures, tmp_path, monkeypatch, capsys
):
    about = {item.key: item.value for item in onnx.load(made[3]).metadata_props}
    classes = ["=good", "+1\x1b[2J", "-1"]
    about |= {"classes": json.dumps(classes), "dataset": "plates\x1b[31m"}
    write_onnx(onnx.load(made[3]), tmp_path / "x.onnx", about)
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        (tmp_path / f"=cmd{number}.png").write_bytes((new_pictures / f"{number:03d}.png").read_bytes())
    main(["x.onnx", *(f"=cmd{number}.png" for number in range(3)), "--csv", "out.csv"])
    assert "\x1b" not in capsys.readouterr().out
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [f"'=cmd{number}.png" for number in range(3)]
    assert {row["class"] for row in rows} - {""} <= {f"'{printable(name)}" for name in classes}


def test_another_onnx_file_is_refused(made, tmp_path):
    model = onnx.load(made[3])
    write_onnx(model, tmp_path / "bare.onnx", {})
    with pytest.raises(ModelFileError, match="no exported study"):
        load_pipeline(tmp_path / "bare.onnx")


def test_a_model_that_says_something_else_is_not_written(made, tmp_path, monkeypatch):
    run, model, threshold, path, _ = made
    exported = onnx.load(path)
    last = model.models["multiclass"][1].biases[-1].astype(np.float32)
    values = {item.name: onnx.numpy_helper.to_array(item) for item in exported.graph.initializer}
    (bias,) = (item for item in exported.graph.initializer if np.array_equal(values[item.name], last))
    moved = last + np.array([4, 0, 0], np.float32)
    bias.CopyFrom(onnx.numpy_helper.from_array(moved, bias.name))
    monkeypatch.setattr(onnx_export, "export_onnx", lambda pipeline: exported)
    with pytest.raises(ExportError, match="not written, as it would not say what the study says"):
        export_model(run, model, threshold, tmp_path / "moved.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--export", "x.bin"], "name a file.onnx in a folder that is there"),
        (["--export", "gone/x.onnx"], "in a folder that is there"),
        (["--export", "x.onnx", "--inspect", "."], "one at a time"),
        (["--export", "x.onnx"], "no such study"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_starts(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    given = parser().parse_args([*arguments, "--output", str(tmp_path), "--study", "none"])
    with pytest.raises(UsageError, match=message):
        export_request(given, parser().parse_args([]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "features"),
    [
        (MEMORY, "guided_all"),
        (MEMORY, "combined"),
        (MEMORY | {"feature_size": 96}, "guided"),
        (DRAEM | {"map_fit": "cross_fitted", "binary": "separate", "map_encoding": "jet"}, "image_map_stats"),
        (DRAEM | {"image_size": 64, "feature_size": 96}, "image_map_stats"),
        (MEMORY | {"tiles": 3}, "combined"),
        (MEMORY | {"region": "0.1,0,0.9,0.8"}, "image_map_stats"),
        (DRAEM | {"tiles": 2}, "image_map_stats"),
    ],
)
def test_every_kind_of_model_says_what_its_study_says(tmp_path, new_pictures, settings, features):
    data = draw_plates(tmp_path / "plates")
    run = open_run("plates", "smoke", str(data), str(tmp_path / "study"), SETTINGS | settings)
    model = fitted_production_model(run, features)
    threshold = threshold_of(run, model, 0.9)
    export_model(run, model, threshold, tmp_path / "x.onnx")
    assert agree(run, model, threshold, tmp_path / "x.onnx", new_pictures) < 10 * TOLERANCE
    assert len(index(run)) == 48
