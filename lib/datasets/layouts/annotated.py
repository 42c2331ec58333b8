"""Annotations: a COCO file (CVAT, Label Studio) or LabelMe's beside each image; their classes, and masks from them."""

from collections import defaultdict

from lib.datasets.annotations import Drawing, read_annotations
from lib.datasets.errors import first_few
from lib.datasets.layouts.listing import Entry, Layout, Listing
from lib.datasets.layouts.mask_names import class_of
from lib.datasets.masks import SEPARATOR

Drawings = dict[str, tuple[str, str, Drawing]]  # by image: the file, the image's name there, what is drawn


def find(listing: Listing) -> tuple[Drawings, list[str]]:
    """Return what the JSON files of a folder say of its images, and which are damaged; other content says nothing."""
    by_name = defaultdict[str, list[str]](list)
    for image in listing.images:
        by_name[image.rpartition("/")[2]].append(image)
    known, found, damaged = set(listing.images), Drawings(), list[str]()
    for file in (name for name in listing.beside if name.lower().endswith(".json")):
        try:
            drawings = read_annotations(listing.root / file)
        except ValueError as error:
            damaged.append(f"{file} ({error})")
            continue
        for name, drawing in drawings.items():
            tail = name.replace("\\", "/").removeprefix("./")
            near = f"{file.rpartition('/')[0]}/{tail}".removeprefix("/")
            images = [each for each in (near, tail) if each in known] or by_name[tail.rpartition("/")[2]]
            if len(images) == 1 or images[:1] == [near]:
                found[images[0]] = file, name, drawing
    return found, damaged


def add_masks(listing: Listing) -> None:
    """Give entries without a mask the one that annotations draw, and say so."""
    found, damaged = find(listing)
    bare = {entry.id for entry in listing.entries if entry.mask is None}
    drawn = {image: SEPARATOR.join([file, name]) for image, (file, name, drawing) in found.items() if drawing.outlines}
    listing.entries = [entry._replace(mask=entry.mask or drawn.get(entry.id)) for entry in listing.entries]
    boxes = sum(bool(drawing.areas and not drawing.outlines) for _, _, drawing in found.values())
    listing.note("masks drawn by annotations: {}", len(bare & set(drawn)))
    listing.note("images with boxes or points only, which are no masks: {}", boxes)
    listing.note("no annotations could be read from: {}", first_few(damaged))


def fits(listing: Listing) -> bool:
    """Tell whether annotations must name the classes, as folders do not tell any apart."""
    return len(set(map(class_of, listing.images))) == 1 and bool(find(listing)[0])


def read(listing: Listing) -> None:
    """Fill in the entries: the class is that of most area drawn, the good one where nothing is drawn."""
    areas = {image: drawing.areas for image, (_, _, drawing) in find(listing)[0].items()}
    for image in listing.images:
        area, good = areas.get(image, {}), listing.good or "good"
        listing.entries.append(Entry(image, max(area, key=area.__getitem__, default=good)))
    listing.notes.append("classes by annotations")
    listing.note("images that they do not name, taken as good: {}", len(set(listing.images) - set(areas)))
    several = sum(len(area) > 1 for area in areas.values())
    listing.note("images with several classes, of which that of most area counts: {}", several)


ANNOTATED = Layout("a COCO file (CVAT, Label Studio), or LabelMe's .json beside each image", fits, read)
