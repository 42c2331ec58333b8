"""What all figures share: palette, fonts, odd names, captions, legends, and how they are saved.

Every figure function draws on new axes, ends with `footnote`, returns the figure, and never shows or saves it.
"""

from __future__ import annotations

import base64
import io
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lib.artifacts import atomic

# After Okabe and Ito: told apart by colour-blind readers, and in grey by lightness, dash, marker and hatch.
PALETTE = {"image": "#0072B2", "map": "#E69F00", "image_map": "#00473A"}
LINES = PALETTE | {
    "guided_logistic": "#CC79A7"
}  # where a fourth feature set goes beside the paper's, at every level
DASHES = {"image": (4, 1.5), "map": (1, 1), "image_map": "", "guided_logistic": (6, 1, 1, 1)}
MARKERS = {"image": "s", "map": "o", "image_map": "D", "guided_logistic": "^"}
HATCHES = {"image": "", "map": "..", "image_map": "//"}
NAMES = {
    "image": "image",
    "map": "anomaly map",
    "image_map": "image + anomaly map",
    "guided_logistic": "image where the map points, logistic",
}
MAP_COLOURS = "inferno"
OUTLINE = "#D55E00"
CLASS_MARKERS = ("o", "X", "s", "P", "D", "^", "v", "<", ">", "*")
PHOTO_DPI = 100  # of sheets of photographs: about one of their pixels per pixel of a page
_EMBEDDED = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")


def set_style() -> None:
    """Set fonts, grid and resolution for all figures of a notebook."""
    sns.set_theme(context="paper", style="whitegrid", font_scale=1.05)
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 160,
            "svg.fonttype": "path",
            "svg.hashsalt": "study",
            "axes.titlesize": 10,
        }
    )


def escape_mathtext(text: str, length: int | None = None) -> str:
    """Return text from the data so that matplotlib shows it as it is (a dollar sign starts no formula).

    What is longer than `length` characters is cut, and ends in an ellipsis.
    """
    shown = str(text).replace("\n", "⏎")
    if length is not None and len(shown) > length:
        shown = shown[: length - 1] + "…"
    return shown.replace("$", r"\$")


def class_colours(classes: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """Return a colour per class: light grey for the good one, which stands first, and by lightness for the defects."""
    shades = mpl.colormaps["plasma"](np.linspace(0.02, 0.88, max(1, len(classes) - 1)))
    colours = [(0.78, 0.78, 0.78), *((float(r), float(g), float(b)) for r, g, b, _ in shades)]
    return dict(zip(classes, colours, strict=False))


def save_figure(figure: Figure, folder: Path, name: str, alt: str) -> None:
    """Write `name.png` and `name.svg` into `folder`, atomically, free of dates, `alt` as their description.

    The PNG holds the caption as its comment. Sheets of photographs are smaller: few colours in the PNG, JPEG in SVG.
    """
    photographs = any(axes.get_images() for axes in figure.axes)
    for suffix, metadata, lighter in (
        (".png", {"Software": None, "Description": alt, "Comment": figure.get_label()}, _fewer_colours),
        (".svg", {"Date": None, "Description": alt}, _embed_jpeg),
    ):
        with atomic(folder / (name + suffix)) as partial:
            figure.savefig(
                partial, bbox_inches="tight", metadata=metadata, facecolor="white",
                dpi=PHOTO_DPI if photographs else mpl.rcParams["savefig.dpi"],
            )  # fmt: skip
            if photographs:
                lighter(partial)


def _fewer_colours(path: Path) -> None:
    """Rewrite a PNG with 250 colours of its own, of which the maps' weigh a fifth, and ours; its description kept."""
    with Image.open(path) as picture:
        described, dpi = PngInfo(), picture.info["dpi"]
        for name in ("Description", "Comment"):
            described.add_itxt(name, picture.info[name])
        drawn = picture.convert("RGB")
    scale = mpl.colormaps[MAP_COLOURS](np.linspace(0, 1, 64), bytes=True)[:, :3]
    share = np.repeat(scale, drawn.width * drawn.height // (4 * len(scale)), axis=0)
    palette = Image.fromarray(np.concatenate([np.asarray(drawn).reshape(-1, 3), share])[None]).quantize(250)
    chosen = np.array((palette.getpalette() or [])[:750])
    chosen = np.where((chosen.reshape(-1, 3) > 245).all(axis=1).repeat(3), 255, chosen)  # paper is white
    ours = [mpl.colors.to_rgb(colour) for colour in ("white", "black", *PALETTE.values(), OUTLINE)]
    palette.putpalette([*chosen.tolist(), *(round(255 * c) for rgb in ours for c in rgb)])
    indexed = drawn.quantize(palette=palette, dither=Image.Dither.NONE)
    indexed.save(path, pnginfo=described, dpi=dpi, optimize=True)


def _embed_jpeg(path: Path) -> None:
    """Rewrite an SVG so that its photographs are JPEG."""

    def recoded(match: re.Match[str]) -> str:
        with Image.open(io.BytesIO(base64.b64decode(match[1]))) as picture:
            drawn = picture.convert("RGBA")
        flat, stream = Image.new("RGBA", drawn.size, "white"), io.BytesIO()
        flat.alpha_composite(drawn)
        flat.convert("RGB").save(stream, "JPEG", quality=85)
        return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()

    path.write_text(_EMBEDDED.sub(recoded, path.read_text(encoding="utf-8")), encoding="utf-8")


def hide_ticks(axes: Axes) -> None:
    """Take ticks and grid from axes that hold a picture."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)


def add_caption(figure: Figure, caption: str, key: str = "") -> None:
    """Write the caption (data set, preset, folds, backbone) under everything that the figure holds, after its key.

    The key says what signs mean that no legend names. Both, as given, are also the figure's label, for pages that
    show it as text.
    """
    caption = f"{key} · {caption}" if key else caption
    figure.set_label(caption)
    figure.canvas.draw()
    box = figure.get_tightbbox()
    lowest, middle = box.y0 / figure.get_figheight(), (box.x0 + box.x1) / 2 / figure.get_figwidth()
    text = textwrap.fill(escape_mathtext(caption), max(70, int(box.width * 17)))
    figure.text(
        middle, lowest - 0.08 / figure.get_figheight(), text, ha="center", va="top", fontsize=7, color="0.35"
    )


def named_legend(figure: Figure, found: Sequence[str], *, bars: bool = False) -> None:
    """Write the feature sets among `found` above the figure, in words, drawn as its lines (or bars) are."""
    names = [name for name in (PALETTE if bars else LINES) if name in set(found)]
    handles: list[Artist] = [
        Patch(facecolor=PALETTE[name], edgecolor="0.2", linewidth=0.5, hatch=HATCHES[name])
        if bars
        else Line2D(
            [], [], color=LINES[name], marker=MARKERS[name], ms=5, mec="white", mew=0.5,
            dashes=DASHES[name] or (None, None),
        )
        for name in names
    ]  # fmt: skip
    figure.legend(
        handles, [NAMES[name] for name in names], loc="lower center", bbox_to_anchor=(0.5, 0.99),
        borderaxespad=0.2, ncols=max(1, len(names) if len(names) < 4 else 2), frameon=False, handlelength=3,
    )  # fmt: skip
