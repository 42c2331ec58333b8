import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib.datasets.errors import DatasetError
from lib.datasets.image_io import CONVERSION_RULE, RESIZE_RULES, examine, load_stack, read_rgb, resize_rgb
from lib.datasets.masks import load_masks, read_mask, resize_mask

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def test_plain_images_come_back_as_they_were(tmp_path):
    for suffix in ("png", "bmp", "tif", "PNG"):
        np.testing.assert_array_equal(read_rgb(save(tmp_path / f"a.{suffix}", Image.fromarray(RGB))), RGB)
    jpeg = save(tmp_path / "a.jpg", Image.fromarray(RGB), quality=90)
    np.testing.assert_array_equal(read_rgb(jpeg), np.asarray(Image.open(jpeg)))
    palette = Image.fromarray(RGB).quantize(16)
    for image, expected in (
        (Image.fromarray(GREY), np.stack([GREY] * 3, axis=2)),
        (palette, np.asarray(palette.convert("RGB"))),
        (Image.fromarray(GREY > 100), np.stack([np.where(GREY > 100, 255, 0)] * 3, axis=2)),
    ):
        rgb = read_rgb(save(tmp_path / "a.png", image))
        assert rgb.dtype == np.uint8
        np.testing.assert_array_equal(rgb, expected)


def test_alpha_is_composited_on_black(tmp_path):
    alpha = np.full(GREY.shape, 128, np.uint8)
    alpha[0], alpha[1] = 0, 255
    rgb = read_rgb(save(tmp_path / "a.png", Image.fromarray(np.dstack([RGB, alpha]))))
    assert (rgb[0] == 0).all()
    np.testing.assert_array_equal(rgb[1], RGB[1])
    np.testing.assert_allclose(rgb[2:], RGB[2:] * (128 / 255), atol=1)


def test_a_transparent_palette_colour_becomes_black(tmp_path):
    palette = Image.fromarray(np.zeros((10, 10), np.uint8), "P")
    palette.putpalette([200, 100, 50] + [0] * 765)
    assert (read_rgb(save(tmp_path / "a.png", palette)) == (200, 100, 50)).all()
    assert (read_rgb(save(tmp_path / "b.png", palette, transparency=0)) == 0).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_divided_by_257(tmp_path, suffix):
    deep = np.full((10, 10), 65535, np.uint16)
    deep[0, :4] = [0, 257, 128, 129]
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(deep))
    assert Image.open(path).mode.startswith("I;16")
    rgb = read_rgb(path)
    assert rgb[0, :4].tolist() == [[0] * 3, [1] * 3, [0] * 3, [1] * 3]
    assert (rgb[1:] == 255).all()


def test_big_endian_sixteen_bits(tmp_path):
    values = np.array([[0, 257], [65535, 25700]], ">u2").repeat(5, 0).repeat(5, 1)
    rgb = read_rgb(save(tmp_path / "a.tif", Image.frombytes("I;16B", (10, 10), values.tobytes())))
    assert rgb[::5, ::5, 0].tolist() == [[0, 1], [255, 100]]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_sixteen_bits_with_a_transparent_grey_are_refused_not_misread(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(np.zeros((10, 10), np.uint16)))
    assert (read_rgb(path) == 0).all()
    data = path.read_bytes()
    path.write_bytes(data[:33] + chunk(b"tRNS", b"\0\0") + data[33:])  # after the signature and the header
    assert "I;16" in refusal(path)


def test_sixteen_bit_colour_keeps_its_high_byte(tmp_path):
    rows = b"".join(b"\0" + np.array([[0x12FF, 0xFF00, 0x0080]] * 8, ">u2").tobytes() for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    assert (read_rgb(path) == (0x12, 0xFF, 0x00)).all()


def test_exif_orientation_is_applied_to_pixels_and_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise shows it upright
    path = save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    np.testing.assert_array_equal(read_rgb(path), np.rot90(RGB, -1))
    facts = examine(path)
    assert (facts.width, facts.height) == (12, 20)


def refusal(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        examine(path)
    with pytest.raises(DatasetError):
        read_rgb(path)
    (issue,) = caught.value.issues
    assert issue.file == str(path) and issue.remedy
    return issue.issue


def test_other_formats_are_read_and_of_several_pictures_the_first(tmp_path):
    first, second = (Image.fromarray(array) for array in (RGB, RGB[::-1]))
    webp = save(tmp_path / "a.webp", first, lossless=True, save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_rgb(webp), RGB)
    grey = [Image.fromarray(array) for array in (GREY, GREY[::-1])]
    gif = save(tmp_path / "a.gif", grey[0], save_all=True, append_images=grey[1:])
    np.testing.assert_array_equal(read_rgb(gif)[..., 0], GREY)
    assert examine(webp).first_of == examine(gif).first_of == 2
    assert examine(save(tmp_path / "b.webp", first, lossless=True)).first_of == 1
    assert examine(save(tmp_path / "b.jfif", first)).first_of == 1


def test_what_is_refused_comes_with_the_command_that_converts_it(tmp_path):
    def converted(name, image, **options):
        path = save(tmp_path / name, image, **options)
        with pytest.raises(DatasetError, match="python -c ") as caught:
            examine(path)
        code = caught.value.issues[0].remedy.partition("python -c ")[2].strip('"')
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
        return read_rgb(tmp_path / f"{path.stem}-1.png")

    assert (converted("it is.jpg", Image.new("CMYK", (10, 10), (0, 255, 255, 0)))[0, 0] // 10 == (25, 0, 0)).all()
    ramp = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    np.testing.assert_allclose(converted("f.tif", Image.fromarray(ramp))[..., 0], 255 * ramp, atol=1)
    whole = Image.fromarray((65535 * ramp).astype(np.int32))
    np.testing.assert_allclose(converted("i.tif", whole)[..., 0], 255 * ramp, atol=1)
    pages = {"save_all": True, "append_images": [Image.fromarray(RGB[::-1])]}
    np.testing.assert_array_equal(converted("p.tif", Image.fromarray(RGB), **pages), RGB)


def test_masks_in_alpha_of_any_colour(tmp_path):
    drawn = np.zeros((10, 10), bool)
    drawn[2:5, 3:6] = True
    for colour in (0, 255):
        rgba = np.full((10, 10, 4), colour, np.uint8)
        rgba[..., 3] = np.where(drawn, 255, 0)
        np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", Image.fromarray(rgba))), drawn)
    opaque = np.dstack([np.where(drawn, 255, 0)] * 3 + [np.full((10, 10), 255)]).astype(np.uint8)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", Image.fromarray(opaque))), drawn)


def test_other_colour_modes_and_several_pages_are_refused_by_name(tmp_path):
    for mode, suffix in (("CMYK", "jpg"), ("F", "tif"), ("I", "tif"), ("LAB", "tif")):
        assert f"mode {mode}" in refusal(save(tmp_path / f"a.{suffix}", Image.new(mode, (10, 10))))
    page = Image.fromarray(RGB)
    assert "3 pages" in refusal(save(tmp_path / "b.tif", page, save_all=True, append_images=[page, page]))


def encoded(suffix: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(stream, suffix)
    return stream.getvalue()


@pytest.mark.parametrize("suffix", ["jpeg", "png", "bmp", "tiff"])
def test_a_truncated_file_is_refused(tmp_path, suffix):
    data, path = encoded(suffix), tmp_path / f"a.{suffix}"
    for share in (0.3, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        assert ("truncated" in refusal(path)) >= (suffix == "jpeg")


def test_damage_to_a_png_is_noticed_though_its_pixels_can_be_read(tmp_path):
    path, data = tmp_path / "a.png", bytearray(encoded("png"))
    path.write_bytes(data[:-16])  # its end is gone
    np.asarray(Image.open(path))
    assert "damaged" in refusal(path)
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert "damaged" in refusal(path)


def test_empty_foreign_absent_and_forbidden_files(tmp_path, monkeypatch):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not an image")
    Image.fromarray(RGB).save(tmp_path / "tga.png", "TGA")
    assert "0 bytes" in refusal(tmp_path / "empty.png")
    assert "not a JPEG" in refusal(tmp_path / "text.jpg")
    assert "not a JPEG" in refusal(tmp_path / "tga.png")
    assert "cannot be read" in refusal(tmp_path / "absent.png")

    def forbidden(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    assert "cannot be read (Permission denied)" in refusal(tmp_path / "text.jpg")


def test_absurd_sizes_are_refused_and_the_limits_themselves_pass(tmp_path):
    for width, height in ((7, 100), (100, 7), (8, 161), (20_001, 1001)):
        path = save(tmp_path / "a.png", Image.new("1", (width, height)))
        assert refusal(path) == f"{width} x {height} pixels"
    assert examine(save(tmp_path / "a.png", Image.new("1", (8, 160)))).height == 160


@pytest.mark.parametrize("size", [(10_000, 9_500), (20_000, 20_000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, size):
    path = save(tmp_path / "a.bmp", Image.new("1", (8, 8)))
    data = bytearray(path.read_bytes())
    data[18:26] = struct.pack("<ii", *size)
    path.write_bytes(data)
    assert "decompression bomb" in refusal(path)


def test_masks_are_cut_at_half_of_white_or_hold_zero_and_one_in_grey_colour_or_bits(tmp_path):
    values = np.zeros((10, 10), np.uint8)
    values[0, :3] = [127, 128, 255]
    mask = read_mask(save(tmp_path / "a.png", Image.fromarray(values)))
    assert mask.dtype == bool and mask.sum() == 2 and mask[0, :3].tolist() == [False, True, True]
    drawn = np.zeros((10, 10), bool)
    drawn[3, 4] = True
    red = np.zeros((10, 10, 3), np.uint8)
    red[drawn] = (255, 0, 0)
    for image in (drawn, drawn.astype(np.uint8), red):
        np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", Image.fromarray(image))), drawn)
    numbers = Image.fromarray(drawn * np.uint8(5))  # VisA's masks hold numbers of defects
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", numbers)), drawn)
    assert read_mask(save(tmp_path / "a.png", Image.new("L", (10, 10), 1))).all()
    for name, value in (("a.png", 5), ("b.png", 100)):  # dark pictures, and noise of a JPEG, are no masks
        with pytest.raises(DatasetError, match=f"brightest value is {value}"):
            read_mask(save(tmp_path / name, Image.new("L", (10, 10), value)))
    with pytest.raises(DatasetError, match="grey tones"):
        read_mask(save(tmp_path / "a.png", Image.fromarray(GREY)))
    half = Image.fromarray(np.repeat(np.uint8([0, 20]), 50).reshape(10, 10))
    assert read_mask(save(tmp_path / "a.png", half)).mean() == 0.5
    with pytest.raises(DatasetError, match="brightest value is"):
        read_mask(save(tmp_path / "a.jpg", half))


def test_squash_averages_pad_repeats_the_edge_and_crop_takes_the_middle():
    stripes = np.zeros((8, 32, 3), np.uint8)
    stripes[:, ::2] = 200
    small = resize_rgb(stripes, 8)
    assert small.shape == (8, 8, 3) and small.dtype == np.uint8
    assert small.min() >= 80 and small.max() <= 120  # without antialiasing the stripes would stay 0 or 200
    rgb = np.zeros((10, 20, 3), np.uint8)
    rgb[0], rgb[-1] = 50, 250
    padded = resize_rgb(rgb, 20, "pad")
    assert (padded[:6] == 50).all() and (padded[6:14] == 0).all() and (padded[14:] == 250).all()
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 250
    assert (resize_rgb(wide, 10, "crop") == 250).all()


@pytest.mark.parametrize("how", RESIZE_RULES)
@pytest.mark.parametrize("shape", [(33, 60), (60, 33), (9, 9), (100, 400)])
@pytest.mark.parametrize("side", [16, 33])
def test_image_and_mask_are_moved_alike(how, shape, side):
    mask = np.zeros(shape, bool)
    mask[shape[0] // 5 : shape[0] // 2, shape[1] // 4 : 2 * shape[1] // 3] = True  # off centre, off the edges
    rgb = np.repeat(np.where(mask, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2)
    image, moved = resize_rgb(rgb, side, how), resize_mask(mask, side, how)
    assert image.shape == (side, side, 3) and moved.shape == (side, side) and moved.dtype == bool
    image_says = image[:, :, 0] > 127
    outline = moved ^ np.roll(moved, 1, 0) | moved ^ np.roll(moved, 1, 1)
    outline |= np.roll(outline, -1, 0) | np.roll(outline, -1, 1)
    assert ((image_says == moved) | outline).mean() > 0.97


def test_no_tiny_defect_vanishes_and_no_large_one_grows():
    mask = np.zeros((200, 300), bool)
    mask[10, 20] = mask[150, 290] = True
    mask[80:120, 100:200] = True
    small = resize_mask(mask, 20)
    assert small[1, 1] and small[15, 19]
    small[1, 1] = small[15, 19] = False
    expected = np.zeros((20, 20), bool)
    expected[8:12, 7:13] = True  # columns 100-200 of 300 are 6.67 to 13.33 of 20
    np.testing.assert_array_equal(small, expected)


def test_a_tiny_defect_stays_one_pixel_when_enlarged_masks_are_cropped():
    mask = np.zeros((10, 10), bool)
    mask[2, 7] = True
    np.testing.assert_array_equal(resize_mask(mask, 10), mask)
    np.testing.assert_array_equal(resize_mask(mask, 30), mask.repeat(3, 0).repeat(3, 1))
    for side in range(11, 30):
        assert resize_mask(mask, side).sum() <= (side // 10 + 1) ** 2


def test_an_empty_mask_stays_empty_and_padding_is_never_defective():
    assert not resize_mask(np.zeros((10, 20), bool), 8, "pad").any()
    full = resize_mask(np.ones((10, 20), bool), 20, "pad")
    assert full[5:15].all() and not full[:5].any() and not full[15:].any()


@pytest.fixture
def folder(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "b.png")
    Image.fromarray(RGB[::-1]).save(tmp_path / "a.png")
    mask = np.zeros((12, 20), np.uint8)
    mask[:6, :10] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    index = pd.DataFrame({"path": ["b.png", "a.png"], "mask": [pd.NA, "m.png"]}, dtype="string").assign(
        height=12, width=20
    )
    return tmp_path, index


def test_load_stack_fills_rows_in_order(folder, tmp_path):
    root, index = folder
    out = np.lib.format.open_memmap(tmp_path / "s.npy", "w+", np.uint8, (2, 8, 8, 3))
    assert load_stack(root, index, 8, "squash", out) is out
    np.testing.assert_array_equal(out[0], resize_rgb(RGB, 8))
    np.testing.assert_array_equal(out[1], resize_rgb(RGB[::-1], 8))


def test_load_stack_names_every_lost_file(folder):
    root, index = folder
    for name in ("a.png", "b.png"):
        (root / name).unlink()
    with pytest.raises(DatasetError, match="could be read before") as caught:
        load_stack(root, index, 8, "squash", np.zeros((2, 8, 8, 3), np.uint8))
    assert [issue.file for issue in caught.value.issues] == ["b.png", "a.png"]


def test_load_masks_yields_none_without_a_mask(folder):
    root, index = folder
    none, mask = load_masks(root, index, 4, "squash")
    assert none is None
    np.testing.assert_array_equal(mask, np.array([[1, 1, 0, 0]] * 2 + [[0] * 4] * 2, bool))


def test_the_rule_is_stated_and_a_deployed_model_needs_neither_pandas_nor_torch():
    for word in ("EXIF", "palette", "alpha", "257", "CMYK"):
        assert word in CONVERSION_RULE
    heavy = "{'torch', 'pandas', 'scipy', 'sklearn', 'matplotlib'}"
    code = f"import sys, lib.datasets.image_io; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)
