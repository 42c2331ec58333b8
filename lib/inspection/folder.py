"""A folder of new pictures: which can be judged, and which are refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.datasets.catalog import map_files
from lib.datasets.errors import DatasetError, Issue, as_table
from lib.datasets.image_io import examine
from lib.datasets.layouts import GROUND_TRUTH, walk


@dataclass(frozen=True)
class Folder:
    """Pictures below `root`.

    names: of the usable ones, POSIX paths below the root, sorted; sizes (n, 2), upright width and height in pixels;
    pixels: digests, equal where files show the same picture. refused: file, fault, way_out of those that cannot be
    used. notes: what else was left out, in sentences.
    """

    root: Path
    names: tuple[str, ...]
    sizes: NDArray[np.int64]
    pixels: tuple[str, ...]
    refused: pd.DataFrame
    notes: tuple[str, ...]


def read_folder(root: Path) -> Folder:
    """Find and fully decode all pictures below `root`, by the rules of `lib.datasets.image_io`.

    A bad file is listed and the rest goes on. Raises DatasetError with every fault where no picture can be used.
    """
    listing = walk(root)
    masks = [name for name in listing.images if GROUND_TRUTH in name.split("/")[:-1]]
    found, bad = map_files(root, [name for name in listing.images if name not in set(masks)], examine)
    issues = sorted([*listing.structural, *listing.issues, *bad.values()])
    if not found:
        nothing = Issue(str(root), "no usable picture in it", "name a folder with jpg, png, bmp or tif files")
        raise DatasetError([nothing, *issues])
    names = tuple(sorted(found))
    notes = [f"{note[:1].upper()}{note[1:]}." for note in listing.notes]
    if masks:
        notes.append(f"Masks, in folders called {GROUND_TRUTH}, were left out: {len(masks)}.")
    return Folder(
        root=root,
        names=names,
        sizes=np.array([(found[name].width, found[name].height) for name in names], dtype=np.int64),
        pixels=tuple(found[name].pixels for name in names),
        refused=as_table(issues),
        notes=tuple(notes),
    )
