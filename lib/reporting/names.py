"""How feature sets and ways of making maps are called in tables and in sentences."""

from __future__ import annotations

from lib.config import MapMethod, Study

FEATURE_NAMES = {
    "image": "Image",
    "map": "Anom. map",
    "image_map": "Image + Anom. map",
    "score": "Anomaly score alone, logistic",
    "stats": "Map statistics alone",
    "image_map_stats": "Image + Anom. map + map statistics",
    "image_map_all": "Image + Anom. map, no selection",
    "image_map_logistic": "Image + Anom. map, no selection, logistic",
    "image_two_maps": "Image + both map sources",
    "guided": "Image where the map points",
    "guided_all": "Image + map statistics + image where the map points",
    "guided_logistic": "Image + map statistics + image where the map points, logistic",
    "guided_two_maps": "The same with both map sources, logistic",
}
SPOKEN = {
    "image": "the image",
    "map": "the anomaly map",
    "image_map": "image and map together",
    "score": "the anomaly score alone",
    "stats": "the map's statistics alone",
    "image_map_stats": "image and map with the map's statistics",
    "image_map_all": "image and map without selection",
    "image_map_logistic": "logistic regression on all columns of image and map",
    "image_two_maps": "the image and the maps of both sources",
    "guided": "the image where the map points",
    "guided_all": "the image, the map's statistics and the image where the map points",
    "guided_logistic": "logistic regression on the image, the map's statistics and the image where the map points",
    "guided_two_maps": "logistic regression on the image, both maps' statistics and the image where each points",
}
MAKERS: dict[MapMethod, str] = {
    "in_sample": "DRAEM",
    "cross_fitted": "DRAEM, cross-fitted",
    "patchcore": "PatchCore",
}


def maps_of(study: Study) -> str:
    """Say in a caption's words how the maps are made that the results rest on."""
    if study.map_method == "patchcore":
        return (
            f"maps: PatchCore of {study.coreset_size} patches at {study.patch_size} px, cross-fitted, "
            f"shown at {study.image_size} px"
        )
    length = f"{study.draem_epochs} epochs" if study.draem_epochs else f"{study.draem_steps} steps"
    widths = f"{study.reconstructive_width}/{study.discriminative_width}"
    kind = study.map_fit.replace("_", " ")
    return f"DRAEM {study.image_size} px, widths {widths}, {length} · maps {kind}"
