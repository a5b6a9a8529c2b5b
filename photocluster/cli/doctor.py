"""photocluster doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from photocluster.cli.console import (
    count,
    device_option,
    json_option,
    library_folder,
    note,
    plain,
    show_table,
    write_json,
    write_text,
)

if TYPE_CHECKING:
    from photocluster.pipeline.doctoring import Diagnosis, Finding


@click.command()
@click.option("--speed/--no-speed", default=True, help="Take the time of a typical photo too, a few seconds.")
@device_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, *, speed: bool, device: str, as_json: bool) -> int:
    """Say whether everything works here: versions, devices, formats, models, the library, the speed.

    A tiny picture of each format is decoded, the models are held to their checksums, the library is checked. Ends with
    1 where something is broken; what is optional and not installed is not.

    \b
    Example: photocluster doctor
    """  # noqa: D301
    from photocluster.pipeline.doctoring import diagnose

    found = diagnose(library_folder(ctx), device=device, measure=speed)
    if as_json:
        write_json({"ok": not found.broken, **plain(found)})
    else:
        _show(found)
    return 1 if found.broken else 0


def _show(found: Diagnosis) -> None:
    show_table([("version", "left"), ("", "left")], list(found.versions.items()))
    for title, findings in (
        ("device", found.devices),
        ("format", found.formats),
        ("model", found.models),
        ("library", [found.library]),
    ):
        show_table([(title, "left"), ("", "left"), ("", "left")], [_row(finding) for finding in findings])
    if found.speed is not None:
        speed = found.speed
        rows = [
            ("decode a JPEG of 12 megapixels", f"{speed.decode_ms:.0f} ms"),
            ("find the faces in it", f"{speed.detect_ms:.0f} ms"),
            ("embed a face", f"{speed.embed_ms:.0f} ms"),
            (f"photos a second, {count(speed.cores, 'core')}", f"about {speed.photos_a_second:.1f}"),
        ]
        show_table([("speed", "left"), ("", "right")], rows)
    for finding in found.broken:
        note(f"broken: {finding.name}: {finding.detail}")
    if not found.broken:
        write_text("all well")


def _row(finding: Finding) -> tuple[str, str, str]:
    return finding.name, finding.state.value, finding.detail
