"""What there is to ask, worked out in a process of its own: seconds of computing that no decision shall wait for.

Run as ``python -m photocluster.review.asking FOLDER LIMIT``; writes one JSON object to stdout: `questions`, `progress`
and `event`, the newest event that was known.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

NICENESS = 10
"""Of the process: the page comes first. POSIX's range ends at 19."""


def main(folder: str, limit: str) -> None:
    """Write the questions of a library to stdout."""
    from photocluster.pipeline.reviewing import to_ask
    from photocluster.pipeline.suggesting import as_stored

    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(NICENESS)
    found = to_ask(Path(folder), limit=int(limit))
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
    json.dump({"questions": questions, "progress": asdict(found.progress), "event": found.event}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:3])
