"""What captions and the index page's warnings say of a study by its settings."""

from lib.pipeline.run import open_run
from lib.reporting.display import caption
from lib.reporting.index_page import MAIN_TABLES, _warnings


def a_run(folder, **settings):
    run = open_run("deco_cap", "smoke", "", str(folder), {"weights": "random-init", **settings})
    for name, summary in {
        "features/image.npy": {"backbone": "random", "backbone_sha256": "0" * 64},
        "draem/stratified-0.safetensors": {"textures": "drawn ones"},
    }.items():
        run.store.make(name, {}, lambda path, summary=summary: path.write_text("x") and summary)
    return run


def test_words_of_draem_stand_where_the_maps_are_its_own(tmp_path):
    draem = a_run(tmp_path / "draem")
    assert "textures: drawn ones" in caption(draem) and "DRAEM 32 px" in caption(draem)
    assert any("a smaller DRAEM, fewer steps and fewer folds" in one for one in _warnings([draem]))
    patchcore = a_run(tmp_path / "patchcore", map_source="patchcore", map_fit="cross_fitted")
    assert "maps: PatchCore" in caption(patchcore) and "drawn ones" not in caption(patchcore)
    (preset,) = [one for one in _warnings([patchcore]) if one.startswith("Preset")]
    assert preset.startswith("Preset smoke: fewer folds") and "DRAEM" not in preset


def test_headings_name_what_the_tables_hold():
    assert "AUC" not in MAIN_TABLES["table2"]
