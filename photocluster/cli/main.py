"""The group of commands. Each command's module is imported when the command is called, so that --help is fast."""

from __future__ import annotations

import importlib
import io
import keyword
import sys
from collections.abc import Sequence
from typing import Any

import click

from photocluster import __version__
from photocluster.cli.console import harmless, note
from photocluster.errors import PhotoclusterError

COMMANDS = {
    "scan": ("scan", "Find the faces in photos below folders."),
    "watch": ("watch", "Scan folders, and then what changes in them."),
    "cluster": ("clusters", "Group the faces into people."),
    "clusters": ("clusters", "List the clusters of the last run."),
    "show": ("clusters", "List the faces of a cluster or a person."),
    "suggest": ("suggest", "Ask what would name the most faces."),
    "review": ("review", "Look and decide in your browser."),
    "label": ("names", "Name a cluster or faces."),
    "unlabel": ("names", "Take names off again."),
    "accept": ("names", "Say yes to a suggestion, or to propagated names."),
    "reject": ("names", "Say no to a suggestion, or that faces are not a person."),
    "move": ("names", "Give faces to another person."),
    "people": ("persons", "List the persons."),
    "person": ("persons", "Show or change a person: aliases, birth date, note."),
    "rename": ("persons", "Give a person another name."),
    "merge": ("persons", "Make two persons one."),
    "split": ("persons", "Make one person or cluster several."),
    "cover": ("persons", "Choose the face that stands for a person."),
    "ignore": ("ignoring", "Leave strangers, crowds, statues and drawings out."),
    "not-a-face": ("ignoring", "Leave out what is no face at all."),
    "unignore": ("ignoring", "Take ignored faces back in."),
    "mirror": ("ignoring", "Say that a photo shows people more than once."),
    "unmirror": ("ignoring", "Say that a photo shows nobody twice."),
    "history": ("history", "List your decisions."),
    "undo": ("history", "Take back a decision."),
    "redo": ("history", "Do again what was undone."),
    "duplicates": ("duplicates", "List photos that are there more than once."),
    "find": ("find", "Find the photos with these people, without those."),
    "backup": ("backup", "Write persons and decisions to a file."),
    "restore": ("backup", "Put persons and decisions of a backup on the same photos."),
    "import": ("importing", "Take in the names that other programs gave."),
    "regions": ("importing", "List the names that were taken in and found no face."),
    "propagate": ("recognition", "Name new faces after the ones that are named."),
    "why": ("recognition", "Say why a face has its name, or none."),
    "identify": ("recognition", "Say who is in a photo, without adding it."),
    "compare": ("recognition", "Say whether two photos show the same person."),
    "export": ("export", "Write contact sheets, tables and embeddings."),
    "evaluate": ("evaluate", "Measure how good all this is on photos that you know."),
    "status": ("library", "Say what the library holds."),
    "check": ("library", "Look for damage in the library."),
    "doctor": ("doctor", "Say whether everything works here."),
    "forget": ("library", "Remove vanished photos and their faces for good."),
}
"""Command -> its module in this package, and the line that --help shows; in the order of use."""


class LazyGroup(click.Group):
    """A group that knows its commands by `COMMANDS` and imports them when they are needed."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the commands in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"photocluster.cli.{COMMANDS[cmd_name][0]}")
        attribute = cmd_name.replace("-", "_")
        command = getattr(module, f"{attribute}_" if keyword.iskeyword(attribute) else attribute)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or suggest the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if error.message.startswith("No such command"):
                import difflib

                near = difflib.get_close_matches(args[0], COMMANDS, n=2, cutoff=0.5)
                hint = f" Did you mean {' or '.join(near)}?" if near else " See: photocluster --help"
                raise click.UsageError(f"there is no command '{args[0]}'.{hint}", ctx) from None
            raise


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="photocluster")
@click.option(
    "--library",
    metavar="DIR",
    type=click.Path(file_okay=False),
    envvar="PHOTOCLUSTER_LIBRARY",
    help="The library folder (default: in your user data folder; environment: PHOTOCLUSTER_LIBRARY).",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error, and what the library logs.")
@click.pass_context
def cli(ctx: click.Context, library: str | None, *, debug: bool) -> None:
    """Find and name the people in a photo library, on your own machine.

    \b
    photocluster scan ~/Pictures          find the faces
    photocluster cluster                  group them
    photocluster export html people/      look at the groups
    photocluster label 12 "Madonna"       name one
    photocluster propagate                carry the names to other faces
    """  # noqa: D301  click's own mark for text that is not to be wrapped
    ctx.obj = {"library": library}
    if debug:
        import logging

        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 3 done with some photos skipped, 130 interrupted."""
    arguments = list(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to fail
    sys.exit(run(arguments))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    debug = "--debug" in arguments
    try:
        result: Any = cli.main(args=arguments, prog_name="photocluster", standalone_mode=False)
    except PhotoclusterError as error:
        if debug:
            raise
        note(f"photocluster: {error}")
        return error.exit_code
    except click.ClickException as error:
        error.message = harmless(error.message)  # type: ignore[misc]
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        note("photocluster: interrupted")
        return 130
    except SystemExit:  # click's answer when the reader of our output went away, as `| head` does
        return 0
    except Exception as error:
        if debug:
            raise
        note(
            f"photocluster: unexpected {type(error).__name__}: {error}. This is a fault of photocluster; run the same "
            "command with --debug and report what it prints"
        )
        return 1
    return result if isinstance(result, int) else 0
