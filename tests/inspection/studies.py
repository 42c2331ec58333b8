"""Small studies of plates on which production models are fitted: DRAEM and PatchCore, one model and two."""

from lib.pipeline.run import open_run
from tests.pipeline.plates import draw_plates

RUNS = {"DRAEM": {}, "PatchCore, two-class model": {"map_source": "patchcore", "binary": "separate"}}
SETTINGS = {"weights": "random-init", "leak_check": "none", "baselines": True}


def study_run(tmp_path_factory, name):
    """Return a run on freshly drawn plates; what it needs is made when asked for."""
    folder = tmp_path_factory.mktemp("study")
    data = draw_plates(folder / "plates")
    return open_run("plates", "smoke", str(data), str(folder / "study"), SETTINGS | RUNS[name])
