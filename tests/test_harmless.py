"""Text from outside does nothing: not on a terminal, not in a spreadsheet, not in Markdown."""

import csv
import io
from dataclasses import replace

import pytest
from settled_ledger import settled_ledger

from boneexp.cli.compared_tables import comparison_parts
from boneexp.comparison import files as document
from boneexp.comparison.compared import compared
from boneexp.experiment.outputs import _predictions_csv
from boneexp.ledger.database import reading
from boneexp.results import Prediction
from boneexp.text.escaping import csv_text, visible

FORMULAS = ["=cmd|' /C calc'!A0", "@SUM(1)", "+1+1", "-2+3", " =1", "\t=1", "＝1", "-x", "+", "--1"]
PLAIN = ["-1", "+1", "-0.5", "-1e-3", "-.5", "IMG1.jpeg", "a=b", "", "x-1"]
NAME = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\r\u202e[bold]x[/]:bug:"


def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe_and_a_number_stays_one():
    values = [*FORMULAS, *PLAIN, -1, -0.5, None, True]
    rows = list(csv.reader(io.StringIO(csv_text(["a", "b"], [{"b": 1, "a": value} for value in values]))))
    assert rows[0] == ["a", "b"]
    shown = [row[0] for row in rows[1:]]
    assert shown == [*(f"'{value}" for value in FORMULAS), *PLAIN, "-1", "-0.5", "", "True"]


def test_a_carriage_return_begins_no_row():
    assert csv_text(["a"], [{"a": "x\r=1"}, {"a": "\r\n=1"}]) == 'a\nx\\r=1\n"\\r\n=1"\n'


def test_what_a_terminal_would_obey_is_shown_instead():
    assert visible("a\x1b[31m\x00\x9b\r\u202e\ud800\x7f") == r"a\x1b[31m\x00\x9b\r\u202e\ud800\x7f"
    assert visible("Köln\n\tnaïve  日本 \\x1b") == "Köln\n\tnaïve  日本 \\x1b"


def test_the_predictions_of_an_image_named_like_a_formula_are_text():
    prediction = Prediction("test", "=cmd.jpeg", "@SUM(1)", 1, 0, (0.8, 0.1, 0.1))
    (row,) = csv.DictReader(io.StringIO(_predictions_csv((prediction,))))
    assert (row["image_id"], row["group"], row["p_normal"]) == ("'=cmd.jpeg", "'@SUM(1)", "0.8")


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A ledger with such names; read only."""
    names = {"E1": NAME, "E2": "=cmd|' /C calc'!A0"}
    return settled_ledger(tmp_path_factory.mktemp("named") / "ledger.db", names=names, data_name=NAME)


@pytest.mark.parametrize(
    "command", ["status", "status --csv", "status --md", "status --json", "show 1", "compare", "compare --md"]
)
def test_no_escape_sequence_of_a_name_reaches_the_terminal(named, tmp_path, capfdbinary, command):
    from boneexp.cli.app import app

    place = ["--ledger", str(named), "--artifacts", str(tmp_path / "artifacts")]
    app([*command.split(), *place], standalone_mode=False)
    out, err = capfdbinary.readouterr()
    assert out
    for written in (out, err):
        assert not {0x1B, 0x07, 0x0D} & set(written)
        assert "\u202e" not in written.decode()
    if not command.startswith("compare"):
        assert "[bold]x[/]:bug:" in out.decode().replace("&#91;", "[").replace("&#93;", "]")


def test_no_escape_sequence_in_an_error_reaches_the_terminal(tmp_path, capfdbinary):
    from boneexp.cli.app import app

    (tmp_path / "grid.toml").write_text('[experiments.E1]\n"a\\u001b[31m" = 1\n')
    with pytest.raises(SystemExit) as ended:
        app(["queue", "--grid", str(tmp_path / "grid.toml"), "--ledger", str(tmp_path / "l.db")])
    assert ended.value.code == 1
    said = capfdbinary.readouterr().err.decode()
    assert "\x1b[31m" not in said.replace("\x1b[31mError", "Error")
    assert r"a\x1b[31m" in said


def test_status_as_csv_runs_nothing_and_as_markdown_keeps_its_columns(named, capsys):
    from boneexp.cli.app import app

    app(["status", "--csv", "--ledger", str(named)], standalone_mode=False)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["name"] for row in rows if row["experiment"] == "E2"] == ["'=cmd|' /C calc'!A0"] * 2
    app(["status", "--md", "--ledger", str(named)], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert len({line.count("|") for line in lines}) == 1


def test_the_comparison_as_csv_and_markdown_runs_nothing(named):
    with reading(named) as connection:
        found = compared(connection)
    made = replace(found, rows=(replace(found.rows[0], backbone="=1+1|<b>"),))
    assert "'=1+1|<b>" in document.as_csv(made)
    assert "=1+1&#124;&#60;b&#62;" in document.as_markdown(made)
    (table, *_) = comparison_parts(made)
    assert table.row_count == 1
