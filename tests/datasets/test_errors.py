import pickle

from lib.datasets.errors import SHOWN, DatasetError, Issue, as_table, printable


def test_one_issue_is_one_line_and_many_a_table_of_fifty_with_a_count():
    assert str(DatasetError([Issue("a.png", "empty", "remove it")])) == "a.png: empty (remove it)"
    issues = [Issue(f"{i}.png", "empty", f"remove {i}") for i in range(SHOWN + 7)]
    whole = DatasetError(issues, "a\nb", "all.csv")
    for error in (whole, pickle.loads(pickle.dumps(whole))):  # as it comes back from a worker process
        assert error.issues == tuple(issues)
        lines = str(error).splitlines()
        assert lines[0] == r"a\nb: 57 issues" and lines[1].split() == ["file", "issue", "what", "to", "do"]
        assert lines[-2].split() == ["49.png", "empty", "remove", "49"]
        assert lines[-1].strip() == "... and 7 more; all are listed in all.csv"


def test_odd_names_cannot_break_the_table():
    error = DatasetError([Issue("a\nb\x1b[31m\udcff ü.png", "empty", "remove it"), Issue("c", "d", "e")])
    assert len(str(error).splitlines()) == 4
    assert r"a\nb\x1b[31m\udcff ü.png" in str(error)
    str(error).encode()
    assert printable("grün {x} <script>") == "grün {x} <script>"


def test_the_table_can_be_stored(tmp_path):
    table = as_table([Issue("a\udcff", "b", "c")])
    table.to_parquet(tmp_path / "t.parquet")
    assert list(table.columns) == ["file", "issue", "remedy"] and table.loc[0, "file"] == "a\\udcff"
    assert as_table([]).empty and list(as_table([]).columns) == list(table.columns)


def test_jupyter_shows_the_table_without_lines_of_the_program():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shown = []
    shell._showtraceback = lambda kind, error, lines: shown.extend(lines)
    shell.run_cell(
        "from lib.datasets.errors import DatasetError, Issue\n"
        "raise DatasetError([Issue('a.png', 'empty', 'remove it'), Issue('b.png', 'empty', 'remove it')])"
    )
    assert [line.split()[0] for line in shown] == ["2", "file", "a.png", "b.png"]
