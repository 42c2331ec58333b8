"""Small studies of plates on which lines are fitted: one per reading of the maps and of the two-class task."""

from lib.pipeline.run import open_run
from tests.pipeline.plates import draw_plates

RUNS = {
    "as written": {},
    "PatchCore, two-class model": {"map_source": "patchcore", "binary": "separate"},
}
SETTINGS = {"weights": "random-init", "leak_check": "none", "baselines": True}


def line_run(tmp_path_factory, name):
    """Return a run on freshly drawn plates; what it needs is made when asked for."""
    folder = tmp_path_factory.mktemp("line")
    data = draw_plates(folder / "plates")
    return open_run("plates", "smoke", str(data), str(folder / "study"), SETTINGS | RUNS[name])
