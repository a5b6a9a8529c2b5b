"""Which photos the user means when they are to be forgotten."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from photocluster.errors import UnknownName
from photocluster.store import Library


def find_photos(library: Library, texts: Sequence[str]) -> list[str]:
    """Return the hashes of photos given by path or hash, each once, with those of their earlier versions.

    Raises
    ------
    UnknownName
        The library knows no such photo.
    """
    hashes = library.photos.hashes()
    found = []
    for text in texts:
        digest = text if text in hashes else library.photos.hash_of(Path(os.path.abspath(text)))  # noqa: PTH100
        if digest is None:
            raise UnknownName(f"the library knows no photo {text}; its paths are listed by: photocluster export table")
        found.append(digest)
    return library.photos.with_versions(found)
