"""photocluster export html, table, npz, and the group itself."""

from __future__ import annotations

import os
from pathlib import Path

import click

from photocluster.cli.console import (
    count,
    default_library_folder,
    json_option,
    library_and_progress,
    library_folder,
    note,
    open_library,
    write_json,
    write_text,
)
from photocluster.cli.exchange import folders, xmp
from photocluster.cli.footage import video

EXIT_SKIPPED = 3


@click.group()
def export() -> None:
    """Write contact sheets, tables, embeddings, sidecars for other programs, folders by person, and videos with names.

    \b
    Example: photocluster export html people/
    """  # noqa: D301


export.add_command(video)
export.add_command(xmp)
export.add_command(folders)


@export.command()
@click.argument("out", type=click.Path(file_okay=False))
@click.option("--person", "persons", multiple=True, metavar="NAME", help="Only this person (may be given again).")
@click.option("--cluster", "clusters", multiple=True, type=int, metavar="N", help="Only this cluster (likewise).")
@click.option("--for-print", is_flag=True, help="Write OUT/print.html too: all of it for paper, or to save as PDF.")
@click.option("--with-photos", is_flag=True, help="Copy each photo, reduced, into OUT: for a sheet to give away.")
@json_option
@click.pass_context
def html(
    ctx: click.Context,
    out: str,
    *,
    persons: tuple[str, ...],
    clusters: tuple[int, ...],
    for_print: bool,
    with_photos: bool,
    as_json: bool,
) -> int:
    """Write a contact sheet into the folder OUT: static pages that open in any browser, offline.

    Run it again to bring the sheet up to date; nothing in OUT that photocluster did not write is touched. The questions
    on its page "To confirm" are answered by their numbers, as those of `photocluster suggest`: accept 3, reject 3.

    \b
    Example: photocluster export html people/
    """  # noqa: D301
    from photocluster.pipeline.exports import SheetOptions, export_html

    with library_and_progress(ctx, "thumbnails") as (library, progress):
        summary = export_html(
            library,
            Path(out),
            default_library=library_folder(ctx) == default_library_folder() or not _on_command_line(ctx),
            options=SheetOptions(persons=persons, clusters=clusters, for_print=for_print, with_photos=with_photos),
            workers=os.cpu_count() or 1,
            progress=progress,
        )
    index = Path(out).absolute() / "index.html"
    if as_json:
        write_json(
            {
                "index": index,
                "people": summary.people,
                "clusters": summary.clusters,
                "noise": summary.noise,
                "faces": summary.faces,
                "photos": summary.photos,
                "pages": summary.pages,
                "unreadable": dict(summary.unreadable),
            }
        )
    else:
        write_text(index.as_uri())
        write_text(
            f"{count(summary.people, 'person', 'people')}, "
            f"{count(summary.clusters, 'unnamed cluster')}, {count(summary.noise, 'face')} in none; "
            f"{count(summary.pages, 'page')}"
        )
        for digest, reason in list(summary.unreadable.items())[:20]:
            note(f"no picture of photo {digest[:12]}: {reason}")
    return EXIT_SKIPPED if summary.unreadable else 0


def _on_command_line(ctx: click.Context) -> bool:
    """Whether --library was given, and not taken from the environment, which the next command has too."""
    return ctx.find_root().get_parameter_source("library") is click.core.ParameterSource.COMMANDLINE


@export.command()
@click.argument("out", type=click.Path(dir_okay=False))
@json_option
@click.pass_context
def table(ctx: click.Context, out: str, *, as_json: bool) -> None:
    """Write one row per face to OUT.csv, .json, .jsonl or .parquet.

    \b
    Example: photocluster export table faces.csv
    """  # noqa: D301
    from photocluster.pipeline.exports import export_table

    with open_library(ctx) as library:
        summary = export_table(library, Path(out))
    if as_json:
        write_json(summary)
    else:
        write_text(f"{summary.path}: {count(summary.faces, 'face')}")


@export.command()
@click.argument("out", type=click.Path(dir_okay=False))
@json_option
@click.pass_context
def npz(ctx: click.Context, out: str, *, as_json: bool) -> None:
    """Write the embeddings and the table's columns to OUT.npz, for NumPy.

    \b
    Example: photocluster export npz faces.npz
    """  # noqa: D301
    from photocluster.pipeline.exports import export_npz

    with open_library(ctx) as library:
        summary = export_npz(library, Path(out))
    if as_json:
        write_json(summary)
    else:
        write_text(f"{summary.path}: {count(summary.faces, 'face')}")
