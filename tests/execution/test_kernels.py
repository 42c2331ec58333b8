"""A kernel executes one notebook after the other, and none sees what another has left."""

import os
import signal

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from lib.execution import kernels as module
from lib.execution.kernels import AT_START, Kernels


@pytest.fixture(scope="module")
def pool():
    with Kernels() as kernels:
        yield kernels


def executed(kernel, *sources):
    """Return what the cells print, and the number of the first one."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, km=kernel, extra_arguments=list(AT_START)).execute()
    told = [output["text"].strip() for cell in notebook.cells for output in cell.outputs if "text" in output]
    return told, notebook.cells[0].execution_count


def one(pool, *sources):
    with pool.one() as kernel:
        return executed(kernel, *sources)


def killed(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def children():
    alive = (one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE)
    return [child for child in alive if "ipykernel_launcher" in child.cmdline()]


def test_the_next_notebook_has_the_modules_but_nothing_else(pool):
    mine = "import os; print(os.getpid(), os.getcwd(), 'LEFT' in os.environ, os.environ['HOME'])"
    before, number = one(
        pool,
        f"{mine}; import colorsys, matplotlib.pyplot as plt; plt.figure(); plt.rcParams['font.size'] = 40",
        "import gc\nclass Left: pass\nleft = Left()\nleft",
        "os.chdir('/'); os.environ['LEFT'] = os.environ['HOME'] = '/left'",
    )
    assert number == 1
    after, number = one(
        pool,
        mine,
        "import sys; print('colorsys' in sys.modules, len(Out))",
        "import gc; print(sum(type(item).__name__ == 'Left' for item in gc.get_objects()))",
        "import matplotlib.pyplot as plt; print(plt.get_fignums(), plt.rcParams['font.size'])",
    )
    assert (after, number) == ([before[0], "True 0", "0", "[] 10.0"], 1)
    with pytest.raises(CellExecutionError, match="NameError"):
        one(pool, "left")


def test_a_kernel_whose_notebook_failed_is_replaced(pool):
    mine = "import os; print(os.getpid())"
    (first,), _ = one(pool, mine)
    with pytest.raises(CellExecutionError):
        one(pool, "1 / 0")
    assert not psutil.pid_exists(int(first))
    (second,), _ = one(pool, mine)
    assert second != first and one(pool, mine) == ([second], 1)
    killed(int(second))  # for want of memory, say
    (third,), _ = one(pool, mine)
    assert third != second


def test_a_kernel_that_dies_while_it_is_made_new_fails_no_notebook(pool):
    with pool.one() as kernel:
        (pid,), _ = executed(kernel, "import os; print(os.getpid())")
        killed(int(pid))
    assert one(pool, "print(1)") == (["1"], 1)


def test_one_that_imported_other_code_is_not_used_again(pool, monkeypatch):
    mine = "import os; print(os.getpid())"
    first = one(pool, mine)
    monkeypatch.setattr(module, "library_digest", lambda: "another")
    assert one(pool, mine) != first


def test_notebooks_side_by_side_have_a_kernel_each_and_none_stays():
    before = len(children())
    with Kernels() as kernels:
        with kernels.one() as kernel, kernels.one() as other:
            assert executed(kernel, "print(1)") == executed(other, "print(1)")
            assert len(children()) == before + 2
        assert one(kernels, "print(1)")
        assert len(children()) == before + 2
    assert len(children()) == before
