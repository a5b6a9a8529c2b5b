"""photocluster duplicates."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from photocluster.cli.console import count, json_option, note, open_library, show_table, write_json

if TYPE_CHECKING:
    from photocluster.pipeline.duplicates import DuplicateGroup

KINDS = ("copy", "near", "burst", "raw", "live", "edited")

WORDS = {
    "copy": "copies",
    "near": "near-duplicates",
    "burst": "burst",
    "raw": "RAW and picture",
    "live": "Live Photo",
    "edited": "edited copy",
}


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH...]")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only these (default: all).")
@json_option
@click.pass_context
def duplicates(ctx: click.Context, paths: tuple[str, ...], *, kinds: tuple[str, ...], as_json: bool) -> None:
    """List photos that are there more than once, the best file of each first. No file is touched.

    Copies have the same content. Near-duplicates look alike: resized, recompressed, recoloured, slightly cut. A burst
    is what one camera took within seconds, or says it took in one go. A RAW and its picture, both files of a Live
    Photo, and an edited copy beside its original are one moment, which the first file stands for.

    With PATHs, only groups with a file there are listed.

    \b
    Example: photocluster duplicates ~/Pictures/2019 --kind copy --kind near
    """  # noqa: D301
    from photocluster.pipeline.duplicates import DuplicateKind
    from photocluster.pipeline.duplicates import duplicates as find

    below = [Path(os.path.abspath(Path(path).expanduser())) for path in paths]  # noqa: PTH100  links are not followed
    with open_library(ctx) as library:
        found = find(library, below, kinds=[DuplicateKind(kind) for kind in kinds or KINDS])
        unhashed = library.moments.unhashed()
    if as_json:
        write_json(found)
    else:
        _show(found)
    spare = sum(group.spare_bytes for group in found)
    files = sum(len(group.files) - 1 for group in found)
    note(f"{count(len(found), 'group')}; beside the best files {count(files, 'file')} of {spare / 1e6:,.1f} MB")
    if unhashed and {"near", "burst"} & set(kinds or KINDS):
        note(
            f"{count(unhashed, 'photo')} may have near-duplicates that are not listed: an older version scanned them, "
            "or they are of one colour"
        )


def _show(found: list[DuplicateGroup]) -> None:
    rows: list[tuple[object, ...]] = []
    for number, group in enumerate(found, 1):
        for place, file in enumerate(group.files):
            rows.append(
                (
                    number if place == 0 else "",
                    WORDS[group.kind.value] if place == 0 else "",
                    "best" if file.best else "",
                    f"{file.bytes / 1e3:,.0f} kB",
                    f"{file.width} x {file.height}" if file.width else "",
                    file.faces if file.width else "",
                    file.path,
                )
            )
    columns = [
        *(("group", "right"), ("kind", "left"), ("", "left"), ("size", "right"), ("pixels", "right")),
        *(("faces", "right"), ("file", "left")),
    ]
    if rows:
        show_table(columns, rows)
