"""The memory of what photocluster wrote into sidecars and photos, so that it can be updated and taken out again.

What was written is kept in the table `written`, one row per file, as JSON::

    {
      "photo": "ab12...",                     hash of the photo
      "media": "/photos/a.jpg",               the file that the names are of
      "regions": [["MWG", "Ann", [0.2, 0.3, 0.3, 0.4], false], ...],   see `xmp_regions.Written`
      "keywords": {"dc:subject": ["Ann"], ...},
      "made": ["dc:subject", ...],
      "whole": true,                          photocluster made the file
      "former": ["cd34..."],                  hashes that the photo had before names were written into its file
      "mark": "ef56..."                       of the file's bytes and of who was to be named: both as they were, nothing
    }                                         is to be done

It is written before the file is (old and new entries together) and once more after it: should the process be killed
between, what is ours is still known to be ours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from photocluster.pipeline.places import Siblings
from photocluster.records import Box
from photocluster.store import Library, PhotoFile
from photocluster.xmp_merge import Memory
from photocluster.xmp_regions import Written


class Known:
    """What was written so far, by file, and by photo for those that moved."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self.entries = library.exchange.written()
        self.siblings = Siblings()
        self._by_photo: dict[str, list[Path]] = {}
        for path, entry in self.entries.items():
            if entry["photo"]:
                self._by_photo.setdefault(entry["photo"], []).append(path)

    def at(self, path: Path, sha256: str) -> dict[str, Any] | None:
        """Return what is ours in a file; one that came along with a moved photo is known by the photo."""
        entry = self.entries.get(path)
        if entry is None and path.exists():
            moved = (other for other in self._by_photo.get(sha256, ()) if not other.exists())
            entry = next((self.entries[other] for other in moved if other.suffix == path.suffix), None)
        return entry

    def keep(self, entries: Mapping[Path, dict[str, Any] | None]) -> None:
        """Keep what is ours in some files now."""
        new = {path: entry for path, entry in entries.items() if entry != self.entries.get(path)}
        self._library.exchange.keep_written(new)
        for path, entry in new.items():
            if entry is None:
                self.entries.pop(path, None)
            else:
                self.entries[path] = entry


def together(old: Memory, new: Memory) -> Memory:
    """Return what may be ours while a file is being written."""
    lists = {*old.keywords, *new.keywords}
    keywords = {key: tuple(dict.fromkeys((*old.keywords.get(key, ()), *new.keywords.get(key, ())))) for key in lists}
    made = tuple(sorted({*old.made, *new.made}))
    return Memory((*old.regions, *new.regions), keywords, made, old.whole or new.whole)


def entry_of(file: PhotoFile, memory: Memory, former: Sequence[str] = ()) -> dict[str, Any] | None:
    """Return the JSON object of the table `written`; None where nothing is ours."""
    if not memory and not former:
        return None
    return {
        "photo": file.sha256,
        "media": os.fsdecode(file.path),
        "regions": [
            [r.form, r.name, [round(v, 6) for v in (r.box.x0, r.box.y0, r.box.x1, r.box.y1)], r.given]
            for r in memory.regions
        ],
        "keywords": {key: list(entries) for key, entries in sorted(memory.keywords.items())},
        "made": list(memory.made),
        "whole": memory.whole,
        "former": list(former),
    }


def memory_of(entry: Mapping[str, Any]) -> Memory:
    """Return what `entry_of` made a JSON object of."""
    regions = tuple(Written(form, name, Box(*box), given=given) for form, name, box, given in entry["regions"])
    keywords = {key: tuple(entries) for key, entries in entry["keywords"].items()}
    return Memory(regions, keywords, tuple(entry["made"]), entry["whole"])
