"""Two small studies that several tests look at, and how tests are spread over workers (`pytest -n auto`)."""

import os

import psutil
import pytest
from joblib import cpu_count

from tests.whole import ODD_FOLDER, draw_products, run_all

# A file's tests share fixtures, so one worker gets all of them; these files share the two studies below, too.
STUDIES = (
    "tests/test_notebooks.py",
    "tests/browser/test_pages.py",
    "tests/reporting/test_reference_copy.py",
    "tests/batch/test_finished_study.py",
    "tests/benchmarks/test_combined_parts.py",
)
# Started first, the longest before the others, so that no worker is left alone with a long one at the end.
LONGEST = (*STUDIES, "tests/pipeline/test_options.py", "tests/inspection/test_production_model.py")
WORKER_BYTES = 3 * 2**30  # a worker with the run and the kernel that it has started


@pytest.fixture(scope="session")
def standin(tmp_path_factory):
    output = tmp_path_factory.mktemp("standin")
    command = ("--dataset", "deco_cap", "--preset", "smoke", "--output", output, "--weights", "random-init")
    return output / "smoke", command, run_all(*command)


@pytest.fixture(scope="session")
def own(tmp_path_factory):
    data, output = tmp_path_factory.mktemp("plates") / ODD_FOLDER, tmp_path_factory.mktemp("own")
    draw_products(data)
    regex = r"(\d)\.png"
    command = ("--data", data, "--preset", "smoke", "--output", output, "--study", "plates",
               "--group-regex", regex, "--set", "leak_check=all", "--set", "keep=1.0")  # fmt: skip
    return output / "plates", data, command, run_all(*command)


def file_of(nodeid):
    return nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Return the cores granted here, fewer where memory is short: xdist counts the machine's, and physical ones."""
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    room = psutil.virtual_memory().available // WORKER_BYTES
    return max(1, min(int(cpu_count()), room))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes():
    """Give each worker, and what it starts, one thread: torch would take all cores in every one of them."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand out whole files, and what shares the studies as if it were one file, unless `--dist` asks otherwise."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = file_of(nodeid)
            return "studies" if file in STUDIES else file

    config.option.loadscopereorder = False  # in the order of collection, see below
    return ByFile(config, log)


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):  # a worker of xdist; one process alone keeps the order as it is
        place = {file: number for number, file in enumerate(LONGEST)}
        items.sort(key=lambda item: place.get(file_of(item.nodeid), len(place)))
