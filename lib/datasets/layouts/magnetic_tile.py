"""The magnetic tiles of Huang et al.: a folder MT_<Class>/Imgs per class, each image's mask beside it."""

from __future__ import annotations

import re

from lib.datasets.errors import Issue
from lib.datasets.layouts.listing import Layout, Listing
from lib.datasets.layouts.mask_names import assign

TILE_NAME = re.compile(r"MT_(\w+)/Imgs/exp\d+_num_(?P<number>\d+)\.(jpg|png)\Z")
PLACE = "MT_<Class>/Imgs/exp<E>_num_<N>.jpg"


def read(listing: Listing, _dataset: str, good: str) -> None:
    """Fill in the entries: a .jpg is an image, the .png of its name its mask."""
    labels, masks = dict[str, str](), list[str]()
    for image in listing.images:
        if (match := TILE_NAME.match(image)) and image.endswith(".png"):
            masks.append(image)
        elif match:
            labels[image] = match[1].lower()
        elif image != "dataset.jpg":  # an overview of the set
            issue = f"image outside {PLACE} or .png"
            listing.issues.append(Issue(image, issue, "move it to its class or remove it"))
    assign(listing, labels, masks, good)


def fits(listing: Listing, dataset: str) -> bool:
    """Tell whether a folder has the data set's name, or is arranged as it."""
    return dataset == "magnetic_tile" or any(re.fullmatch(r"MT_\w+/Imgs", name) for name in listing.folders)


MAGNETIC_TILE = Layout(f"{PLACE} with the mask .png beside it", fits, read)
