import pickle

import pytest

from lib.datasets.errors import SHOWN, DatasetError, Issue, as_table, printable


def test_every_fault_is_kept_and_the_first_fifty_are_told():
    issues = [Issue(f"{i}.png", "empty", f"remove {i}") for i in range(SHOWN + 7)]
    error = DatasetError(issues, "data")
    assert error.issues == tuple(issues)
    lines = str(error).splitlines()
    assert lines[0] == "data: 57 faults"
    assert f"{SHOWN - 1}.png" in lines[-2] and f"remove {SHOWN - 1}" in lines[-2]
    assert lines[-1].strip() == "... and 7 more"


def test_a_single_fault_is_one_line_with_its_way_out():
    assert str(DatasetError([Issue("a.png", "empty", "remove it")])) == "a.png: empty (remove it)"


def test_odd_names_cannot_break_the_table():
    error = DatasetError([Issue("a\nb\x1b[31m\udcff ü.png", "empty", "remove it"), Issue("c", "d", "e")])
    assert len(str(error).splitlines()) == 4
    assert r"a\nb\x1b[31m\udcff ü.png" in str(error)
    str(error).encode()
    assert printable("grün {x} <script>") == "grün {x} <script>"


def test_survives_the_way_back_from_a_worker_process():
    error = DatasetError([Issue("a", "b", "c")], "data")
    again = pickle.loads(pickle.dumps(error))
    assert again.issues == error.issues and str(again) == str(error)


def test_no_faults_is_a_programming_error():
    with pytest.raises(ValueError, match="at least one fault"):
        DatasetError([])


def test_the_table_can_be_stored(tmp_path):
    table = as_table([Issue("a\udcff", "b", "c")])
    table.to_parquet(tmp_path / "t.parquet")
    assert list(table.columns) == ["file", "issue", "remedy"] and table.loc[0, "file"] == "a\\udcff"
    assert as_table([]).empty and list(as_table([]).columns) == list(table.columns)


def test_the_file_with_all_of_them_is_named_and_survives_too():
    error = DatasetError([Issue(f"{i}.png", "empty", "remove") for i in range(SHOWN + 1)], "a\nb", "all.csv")
    again = pickle.loads(pickle.dumps(error))
    assert str(again).endswith("... and 1 more; all stand in all.csv") and str(again).startswith(
        r"a\nb: 51 faults"
    )


def test_jupyter_shows_the_table_without_lines_of_the_program():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shown = []
    shell._showtraceback = lambda kind, error, lines: shown.extend(lines)
    shell.run_cell(
        "from lib.datasets.errors import DatasetError, Fault\n"
        "raise DatasetError([Fault('a.png', 'empty', 'remove it'), Fault('b.png', 'empty', 'remove it')])"
    )
    assert [line.split()[0] for line in shown] == ["2", "file", "a.png", "b.png"]
