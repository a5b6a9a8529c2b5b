"""What the commands share: the library's folder, and all that they print.

Everything goes out through `write_text`, `note`, `ask`, `show_table`, `write_json` and `write_paths`, so that no file
name or message moves the cursor, recolours the terminal or turns a line round: what would is shown as an escape
(`harmless`), on a terminal and in a pipe alike. JSON and `write_paths` hold names exactly: they are for other programs.
click is given the streams: left to itself, it writes UTF-8 to a terminal that says it shows ASCII only.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from photocluster.store import Library

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

DEVICES = ("auto", "cpu", "cuda", "coreml", "openvino")
"""Those of `sessions.DEVICES`, which --help must not wait for."""

device_option = click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    envvar="PHOTOCLUSTER_DEVICE",
    help="What the models run on; auto is CUDA where it is installed (environment: PHOTOCLUSTER_DEVICE).",
)


GAP = "   "
"""Between the columns of a table."""


def default_library_folder() -> Path:
    """Return the library's place in the user's data folder."""
    import platformdirs

    return Path(platformdirs.user_data_dir("photocluster", appauthor=False))


def library_folder(ctx: click.Context) -> Path:
    """Return the folder of the library: --library, PHOTOCLUSTER_LIBRARY, or one in the user's data folder."""
    given = ctx.find_root().obj["library"]
    if given:
        return Path(given).expanduser().absolute()
    return default_library_folder()


@contextmanager
def open_library(ctx: click.Context) -> Iterator[Library]:
    """Open the library of the command line."""
    from photocluster.store import Library

    with Library(library_folder(ctx)) as library:
        yield library


@contextmanager
def library_and_progress(ctx: click.Context, what: str) -> Iterator[tuple[Library, Callable[[int, int], None]]]:
    """Open the library beside a bar on stderr; yield both, the bar as a function of how many are done, and of all."""
    from rich.progress import Progress

    console = stderr()
    with (
        open_library(ctx) as library,
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task(what, total=None)
        yield library, lambda done, total: bar.update(task, completed=done, total=total)


_BYTES = re.compile("[\ud800-\udfff]")
"""What Python makes of a path's bytes that are not UTF-8."""

_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters (C0, DEL, C1), line separators, what turns the direction of writing round, and `_BYTES`."""


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    code -= 0xDC00 if 0xDC80 <= code <= 0xDCFF else 0  # a byte, by PEP 383
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def harmless(text: object) -> str:
    r"""Return a value as text that does nothing to a terminal but fill a line: ``\x1b``, ``\x0a``, ``\u202e``."""
    return _HARMFUL.sub(_escape, str(text))


def _is_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def write_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON; dataclasses as objects, paths as text, numbers that are not finite as null."""
    text = json.dumps(plain(value), ensure_ascii=not _is_utf8(), indent=indent, allow_nan=False)
    # JSON's own escapes leave out what lies beyond ASCII's control characters.
    click.echo(
        _HARMFUL.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text), file=sys.stdout
    )


def write_paths(paths: Iterable[str], *, null: bool) -> None:
    """Print paths byte by byte, each ended by a line break or a null byte; to a terminal as `write_text` does."""
    if sys.stdout.isatty():
        for path in paths:
            write_text(path)
    else:
        click.echo(b"".join(os.fsencode(path) + (b"\0" if null else b"\n") for path in paths), nl=False)


def plain(value: Any) -> Any:  # noqa: PLR0911  one line a kind
    """Return a value made of what JSON knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (str, Path)):
        return _BYTES.sub(_escape, str(value))
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def stderr() -> Console:
    """Return a console for progress and notes."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def write_text(text: object, *, end: str = "\n") -> None:
    """Print a line to stdout."""
    click.echo(harmless(text) + end, nl=False, file=sys.stdout)


def note(text: object) -> None:
    """Print a sentence to stderr."""
    click.echo(harmless(text), file=sys.stderr)


def ask(question: str, *, abort: bool = False) -> bool:
    """Ask for a yes or no on stderr; `abort`: a no ends the command."""
    return click.confirm(harmless(question), abort=abort, err=True)


def show_table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[object]]) -> None:
    """Print a table to stdout; `columns` is (heading, "left" or "right").

    A terminal that is too narrow gets the widest columns folded, a pipe or a file whole lines, which other programs can
    read. `rich.table.Table` would take 7 s for the 22,000 clusters of a million faces; this takes 0.15 s.
    """
    from rich.cells import cell_len

    table = [[heading for heading, _ in columns], *([_text(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - len(" ") - len(GAP) * (len(columns) - 1)
        widest = next((w for w in range(max(widths), 1, -1) if sum(min(w, width) for width in widths) <= room), 1)
        widths = [min(width, widest) for width in widths]

    def line(texts: Iterable[str]) -> str:
        cells = []
        for text, width, (_, side) in zip(texts, widths, columns, strict=True):
            space = " " * (width - cell_len(text))
            cells.append(space + text if side == "right" else text + space)
        return f" {GAP.join(cells)}".rstrip()

    def lines(texts: Sequence[str]) -> Iterator[str]:
        if all(cell_len(text) <= width for text, width in zip(texts, widths, strict=True)):
            return iter([line(texts)])
        folded = [_folded(text, width) for text, width in zip(texts, widths, strict=True)]
        return map(line, itertools.zip_longest(*folded, fillvalue=""))

    rule = ("\N{BOX DRAWINGS LIGHT HORIZONTAL}" if _is_utf8() else "-") * (sum(widths) + len(GAP) * (len(columns) - 1))
    head = [click.style(each, bold=True) for each in lines(table[0])]
    click.echo(
        "\n".join(["", *head, f" {rule}", *(each for row in table[1:] for each in lines(row)), ""]), file=sys.stdout
    )


def _text(cell: object) -> str:
    return "" if cell is None else harmless(cell)


def _folded(text: str, width: int) -> Iterator[str]:
    """Yield a text in lines, parted between words where that is possible."""
    from rich.cells import cell_len, chop_cells

    while cell_len(text) > width:
        part = chop_cells(text, width)[0] or text[0]  # a character may be wider than the column
        if text[len(part)] != " " and " " in part:
            part = part[: part.rindex(" ") + 1]
        yield part.rstrip()
        text = text[len(part) :].lstrip()
    yield text


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Return "1 photo", "2 photos"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def distance_text(distance: float | None) -> str:
    """Return a distance with three digits."""
    return "" if distance is None else f"{distance:.3f}"


def moment_text(time: float | None) -> str:
    """Return " at 1:05" for the 65th second of a video, nothing for a photo."""
    if time is None:
        return ""
    minutes, seconds = divmod(int(time), 60)
    return f" at {minutes}:{seconds:02}"
