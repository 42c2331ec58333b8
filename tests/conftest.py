"""Two small studies that several tests look at: a stand-in, and folders whose names try to break a page."""

import pytest

from tests.whole import ODD_FOLDER, draw_products, run_all


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
    command = ("--data", data, "--preset", "smoke", "--output", output, "--study", "plates", "--offline",
               "--group-regex", regex, "--set", "leak_check=all", "--set", "keep=1.0")  # fmt: skip
    return output / "plates", data, command, run_all(*command)
