"""photocluster review: the local web application."""

from __future__ import annotations

import click

from photocluster.cli.console import json_option, library_folder, note, write_json, write_text

MEGABYTE = 1_000_000


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on (default: any that is free).")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others may reach it then.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option(
    "--cache", type=click.IntRange(0), default=500, show_default=True, help="Megabytes of thumbnails to keep."
)
@json_option
@click.pass_context
def review(ctx: click.Context, *, port: int, host: str, no_browser: bool, cache: int, as_json: bool) -> None:
    """Look at faces and decide, in your browser: one key for each question, people, photos, history, search.

    The page is served on this machine alone; the first line printed is its address, with a token that lets you in. What
    you decide is stored at once, as by the other commands, which can be used meanwhile. Ctrl-C ends it.

    \b
    Example: photocluster review
    """  # noqa: D301
    from photocluster.review.serving import LOOPBACK, Serving, serve

    def announce(address: str, bound: int) -> None:
        if as_json:
            write_json({"address": address, "port": bound}, indent=None)
        else:
            write_text(address)
        if host not in {LOOPBACK, "localhost", "::1"}:
            note(
                f"warning: {host} can be reached from other machines, and what goes to and fro is not encrypted; "
                "whoever learns the token sees your photos and can change names"
            )
        note("Ctrl-C ends it")

    serving = Serving(host=host, port=port, browser=not no_browser, cache_bytes=cache * MEGABYTE)
    serve(library_folder(ctx), serving, announce)
