"""What there is to ask, and what is sure enough to need no question: seconds of computing that no decision waits for.

Run in a process of its own (`apart`) as ``python -m photocluster.review.asking FOLDER LIMIT``; writes two lines to
stdout, each a JSON object: first `questions`, `progress` and `event`, the newest event that was known, then `sure`, how
many faces a propagation would name anew (`faces`), and how many guesses it would take back (`taken_back`).

With ``--name-the-sure`` in place of the limit it runs that propagation, and writes `event` and `faces`.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

NICENESS = 10
"""Of the process: the page comes first. POSIX's range ends at 19."""

NAME_THE_SURE = "--name-the-sure"


def main(folder: str, wanted: str) -> None:
    """Write what is wanted of a library to stdout."""
    from photocluster.pipeline.recognition import propagate
    from photocluster.pipeline.reviewing import to_ask
    from photocluster.pipeline.suggesting import as_stored
    from photocluster.store import Library

    if wanted == NAME_THE_SURE:
        with Library(Path(folder)) as library:
            report = propagate(library, logged=True)
        _write({"event": report.event, "faces": report.changed, "taken_back": report.taken_back})
        return
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(NICENESS)
    with Library(Path(folder)) as library:
        found = to_ask(library, limit=int(wanted))
        questions = [
            {
                **as_stored(each),
                "name": each.person,
                "cluster": each.cluster,
                "other_cluster": each.other_cluster,
                "distance": each.distance,
            }
            for each in found.suggestions
        ]
        _write({"questions": questions, "progress": asdict(found.progress), "event": found.event})
        report = propagate(library, dry_run=True)
        _write({"sure": {"faces": report.changed, "taken_back": report.taken_back}})


def _write(value: dict[str, Any]) -> None:
    json.dump(value, sys.stdout)
    sys.stdout.write("\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:3])
