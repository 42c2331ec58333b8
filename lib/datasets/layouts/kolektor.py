"""KolektorSDD2: train/10000.png and, beside it, 10000_GT.png; a defect is what a mask marks."""

from __future__ import annotations

from lib.datasets.image_io import map_files
from lib.datasets.layouts.listing import Layout, Listing
from lib.datasets.layouts.mask_names import MASK_END, assign, class_of, part_masks
from lib.datasets.masks import read_mask


def fits(listing: Listing, _dataset: str) -> bool:
    """Tell whether images lie in no class folder, and about every second one is the mask of another."""
    masks = [name for name in listing.images if MASK_END.search(name.rpartition(".")[0])]
    return not any(map(class_of, listing.images)) and len(listing.images) <= 3 * len(masks)


def read(listing: Listing, _dataset: str, good: str) -> None:
    """Fill in the entries: images whose mask marks nothing, or without one, are `good`, others `defect`."""
    images, masks = part_masks(listing.images)
    marked, bad = map_files(listing.root, masks, lambda path: bool(read_mask(path).any()))
    listing.issues += bad.values()
    assign(listing, dict.fromkeys(images, ""), list(marked))
    for place, entry in enumerate(listing.entries):
        defect = entry.mask is not None and marked[entry.mask]
        listing.entries[place] = entry._replace(label="defect" if defect else good or "good")
    bare = sum(entry.mask is None for entry in listing.entries)
    listing.notes.append(f"classes by masks, splits pooled; images without a mask, taken as good: {bare}")


KOLEKTOR = Layout("KolektorSDD2: <N>.png with the mask <N>_GT.png beside it, in train/ and test/", fits, read)
