"""What the commands print: nothing in a file name does anything to a terminal, and tables stand in columns."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest
from making import picture
from rich.cells import cell_len

from photocluster.cli import console

NAMES = {
    "a\x1b[31mb\x07.png": r"a\x1b[31mb\x07.png",
    "new\nskipped: line.png": r"new\x0askipped: line.png",
    "c1 \x9b31m \x7f.png": r"c1 \x9b31m \x7f.png",
    "turned \u202egnp.exe.png": r"turned \u202egnp.exe.png",
    "isolated \u2066x.png": r"isolated \u2066x.png",
    "[red]x[/red].png": "[red]x[/red].png",
    "[": "[",
    "[bold]\\": "[bold]\\",
    ":smile:.png": ":smile:.png",
    "łódź 李 🙂.png": "łódź 李 🙂.png",
}
"""A file's name, and how it is shown."""

HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def album(tmp_path) -> Path:
    """Return a folder with a photo of two people and a broken file of each name."""
    for number, name in enumerate(NAMES):
        picture(tmp_path / "album" / name, 1, 2, shade=number)
        picture(tmp_path / "copies" / name, 1, 2, shade=number)
        (tmp_path / "album" / f"{name}.broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    return tmp_path


@pytest.mark.usefixtures("fake_analyser")
def test_names_of_files_do_nothing_to_a_terminal_and_are_shown_in_full(album, run_cli):
    said = [run_cli("scan", album)]
    run_cli("label", "f0", "Ann [b]\u202e")
    commands = (
        *(("status",), ("show", "f0-f99"), ("find", "Ann [b]\u202e"), ("duplicates",), ("people",), ("history",)),
        *(("propagate", "--dry-run"), ("why", "f2"), ("regions",), ("check",), ("suggest",), ("doctor", "--no-speed")),
        *(("cluster",), ("clusters",), ("export", "xmp", "--dry-run"), ("identify", f"{album}/\x1b[2J.jpg")),
        *(("scan", f"{album}/\x1b[2J"), ("show", "\x1b[2J"), ("--\x1b[2J",), ("\x1b[2J",), ("show", "f0", "\x1b[2J")),
        *(("export", "table", f"{album}/\x1b[2J.csv"), ("backup", f"{album}/\x1b[2J.json"), ("undo", "\x1b[2J")),
    )
    said += [run_cli(*command) for command in commands]
    harmful = [line for ran in said for line in (ran.out + ran.err).split("\n") if HARMFUL.search(line)]
    assert harmful == []
    listed = said[4].out
    for name in NAMES.values():
        assert f"{name}.broken.png: " in said[0].err
        assert f"album/{name}" in listed
    assert not any(line.startswith("skipped: line") for line in said[0].err.split("\n"))


@pytest.mark.usefixtures("fake_analyser")
def test_other_programs_get_names_exactly(album, run_cli):
    run_cli("scan", album)
    run_cli("label", "f0-f99", "Ann", "--json")
    answer = run_cli("show", "Ann", "--json")
    assert {row["path"] for row in answer.json} == {str(album / "album" / name) for name in NAMES}
    assert not HARMFUL.search(answer.out)


def test_json_says_what_is_not_utf8_and_what_is_no_text(capsys):
    console.write_json({"path": Path(os.fsdecode(b"gr\xfc\xdfe")), "text": "\x9b\u2028\x1b", "nan": float("nan")})
    assert capsys.readouterr().out == (
        '{\n  "path": "gr\\\\xfc\\\\xdfe",\n  "text": "\\u009b\\u2028\\u001b",\n  "nan": null\n}\n'
    )


@pytest.mark.parametrize(
    ("terminal", "null", "printed"), [(False, False, "a\x1b\n"), (False, True, "a\x1b\0"), (True, True, "a\\x1b\n")]
)
def test_paths_are_exact_but_on_a_terminal(terminal, null, printed, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    console.write_paths(["a\x1b"], null=null)
    assert capsys.readouterr().out == printed


def test_a_question_is_harmless_too(capsys, monkeypatch):
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _="": "y")
    assert console.ask("Make \x1b[2J one?")
    assert "\x1b" not in capsys.readouterr().err


# Tables -------------------------------------------------------------------------------------------------------------

COLUMNS = [("face", "right"), ("person", "left"), ("photo", "left")]
LONG = "/photos/" + "holiday in the mountains/" * 12 + "李小龙.jpg"


def shown(capsys, monkeypatch, rows, *, terminal: int | None = None) -> list[str]:
    """Return the lines of a table, as a terminal of a width shows them, or as a pipe gets them."""
    if terminal:
        monkeypatch.setenv("COLUMNS", str(terminal))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    console.show_table(COLUMNS, rows)
    return capsys.readouterr().out.split("\n")


def test_a_table_stands_in_columns_whatever_its_letters(capsys, monkeypatch):
    lines = shown(capsys, monkeypatch, [(1, "Ann", "a.jpg"), (12345, None, "b.jpg"), ("", "李小龙", "c\n.jpg")])
    assert lines == [
        "",
        "  face   person   photo",
        " " + 26 * "─",
        "     1   Ann      a.jpg",
        " 12345            b.jpg",
        "         李小龙   c\\x0a.jpg",
        "",
        "",
    ]


def test_a_table_without_rows_has_its_heading(capsys, monkeypatch):
    assert shown(capsys, monkeypatch, []) == ["", " face   person   photo", " ─────────────────────", "", ""]


def test_a_pipe_gets_whole_lines_and_no_style(capsys, monkeypatch):
    lines = shown(capsys, monkeypatch, [(1, "Ann", LONG)])
    assert lines[3] == f"    1   Ann      {LONG}"
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("width", [100, 40, 24, 3])
def test_a_narrow_terminal_gets_the_widest_columns_folded(width, capsys, monkeypatch):
    lines = shown(capsys, monkeypatch, [(1, "Ann", LONG), (2, "Ben", "b.jpg")], terminal=width)
    assert lines[1].startswith("\x1b[1m")
    plain = [re.sub(r"\x1b\[\d*m", "", line) for line in lines]
    if width > 3:
        assert max(cell_len(line) for line in plain) <= width
        assert "".join(line[17:] for line in plain[3:-3]).replace(" ", "") == LONG.replace(" ", "")
        assert plain[-3].endswith("b.jpg")
    else:
        assert {"李", "小", "龙"} < set("".join(plain))


def test_a_table_of_thousands_of_rows_takes_no_seconds(capsys, monkeypatch):
    rows = [(number, f"Person {number}", f"/photos/{number}.jpg") for number in range(22_000)]
    start = time.perf_counter()
    assert len(shown(capsys, monkeypatch, rows)) == 22_005
    assert time.perf_counter() - start < 2  # 0.15 measured; rich.table.Table takes 7
