"""How ways of making maps are called in tables and in sentences."""

from __future__ import annotations

from lib.config import Study


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
