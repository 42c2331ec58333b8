"""`provenance.json`: what made what."""

import json
import time
from dataclasses import replace

from lib.batch.provenance import write_provenance
from lib.pipeline.run import open_run


def test_provenance_says_what_made_what(tmp_path):
    run = open_run("deco_cap", "smoke", "", str(tmp_path), {"weights": "random-init", "seed": 3})
    run.store.make("draem/a", {"k": 1}, lambda path: path.write_text("a") and None)
    run.store.make("draem/b", {"k": 1}, lambda path: path.write_text("b") and time.sleep(0.05))
    record = json.loads(write_provenance(run).read_text())
    assert record["settings"]["seed"] == 3
    assert record["draem_start"] == []  # nothing was trained
    assert set(record["artefacts"]) == {"draem/a", "draem/b"}
    assert record["artefacts"]["draem/a"]["sha256"] == run.store.digest("draem/a")
    assert record["artefacts"]["draem/b"]["seconds"] >= 0.05
    assert record["artefacts"]["draem/b"]["peak_bytes"] > 10e6
    assert record["versions"]["torch"] and record["versions"]["Python"].startswith("3.")
    assert record["machine"]["cores"] >= 1 and record["machine"]["memory_bytes"] > 1e8
    other = replace(run, study=replace(run.study, seed=4))
    assert json.loads(write_provenance(other).read_text())["settings"]["seed"] == 4
