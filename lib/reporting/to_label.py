"""What a person gets who is to label images: a contact sheet and a list, and what the model thinks in a file apart.

Someone who sees the model's suggestion tends to agree with it, and its errors come back as labels. So the sheet and
`labels-next.csv` say why an image was chosen, never which class is suspected; that stands in `labels-next-model.csv`,
to be opened when the labels are made.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.artifacts import Store
from lib.reporting.style import add_caption, escape_mathtext, hide_ticks

ACROSS = 6  # pictures beside each other: large enough to judge, small enough for a page
LISTED, APART = "labels-next.csv", "labels-next-model.csv"


def write_label_suggestions(chosen: pd.DataFrame, verdicts: pd.DataFrame, folder: Path) -> tuple[Path, Path]:
    """Write both lists into `folder`, proven as artefacts of the verdicts, and return their paths.

    `chosen` as `suggest_labels` gives it, its `row` counting in `verdicts`, which holds `file` and a
    column `p:<class>` per class. The list to label by: rank, file, uncertainty, distance, reason. Apart: rank, file,
    predicted, probability (of the predicted class). Raises ValueError where `verdicts` lacks a column or a row.
    """
    columns = [str(name) for name in verdicts.columns if str(name).startswith("p:")]
    if "file" not in verdicts.columns or not columns:
        raise ValueError(
            f"verdicts hold {list(verdicts.columns)}: need file and a column p:<class> per class"
        )
    rows = chosen["row"].to_numpy(int)
    if len(rows) == 0:
        raise ValueError("no images were chosen: nothing to label")
    if rows.min() < 0 or rows.max() >= len(verdicts):
        raise ValueError(f"rows {rows.min()} to {rows.max()} chosen of {len(verdicts)} verdicts")
    about = verdicts.iloc[rows]
    listed = chosen.reset_index()[["rank", "uncertainty", "distance", "reason"]]
    listed.insert(1, "file", about["file"].astype(str).to_numpy())
    chances = about[columns].to_numpy(float)
    apart = listed[["rank", "file"]].assign(
        predicted=[columns[k].removeprefix("p:") for k in chances.argmax(1)], probability=chances.max(1)
    )
    first, second = (
        Store(folder).keep_text(name, frame.to_csv(index=False, float_format="%.4f", lineterminator="\n"))
        for name, frame in ((LISTED, listed), (APART, apart))
    )
    return first, second


def forget_label_lists(folder: Path) -> None:
    """Remove the lists of an earlier inspection, where nothing is left to label."""
    Store(folder).forget(LISTED, APART)
    for name in (LISTED, APART):
        (folder / name).unlink(missing_ok=True)


def label_sheet(chosen: pd.DataFrame, pictures: np.ndarray, files: Sequence[str], caption: str) -> Figure:
    """Draw the chosen pictures in their order: rank, file, uncertainty and distance, and the reason in words.

    `chosen` (n rows) as `next_labels` gives it, `pictures` uint8 (n, H, W, 3) and `files` (n,) those chosen. Without
    anything drawn over the pictures: a map would point where the model looks. Raises ValueError on other numbers of
    them, and on none.
    """
    count = len(chosen)
    if not count:
        raise ValueError("no images were chosen: nothing to label")
    if not len(files) == len(pictures) == count:
        raise ValueError(f"{len(files)} files and {len(pictures)} pictures for {count} chosen")
    across = min(ACROSS, count)
    down = -(-count // across)
    figure, grid = plt.subplots(down, across, figsize=(1.75 * across + 0.2, 2.5 * down), squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    told_of = zip(grid.flat, chosen.index, pictures, files, chosen.to_dict("records"), strict=False)
    for axes, rank, picture, file, about in told_of:
        axes.imshow(picture)
        hide_ticks(axes)
        axes.set_title(f"{rank}   {escape_mathtext(Path(file).name, 20)}", fontsize=8, pad=3, loc="left")
        far = "–" if np.isnan(about["distance"]) else f"{about['distance']:.2f}"
        told = f"uncertainty {about['uncertainty']:.2f} · distance {far}"
        axes.set_xlabel(f"{told}\n{textwrap.fill(about['reason'], 30)}", fontsize=6.5, loc="left")
    figure.tight_layout(pad=0.4, h_pad=1.0)
    key = "uncertainty 1: two classes equally likely · distance 1: as far apart as two random images"
    add_caption(figure, caption, key)
    return figure
