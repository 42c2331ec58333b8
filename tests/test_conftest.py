"""Tests spread over workers: what shares a study goes to one of them."""

from tests.conftest import STUDIES, file_of


def test_files_that_use_the_studies_go_to_one_worker(request):
    users = {
        file_of(item.nodeid)
        for item in request.session.items
        for name in ("standin", "own")
        if name in item.fixturenames and not hasattr(item.module, name)  # a file may have its own of that name
    }
    assert users <= set(STUDIES), "name them in STUDIES, or each worker makes the studies anew"
