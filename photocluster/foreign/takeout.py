r"""Google Takeout: a JSON file beside each photo, with ``"people": [{"name": "Ann"}]``: names without boxes.

The name of the JSON follows from that of the photo, by rules that users found out (immich-go, ente, Google Photos
Takeout Helper):

- ``IMG_1.jpg`` -> ``IMG_1.jpg.json``, since 2024 ``IMG_1.jpg.supplemental-metadata.json``;
- what stands before ``.json`` is cut to 46 UTF-16 units, wherever that falls: ``IMG_1.jpg.supplemental-me.json``,
  ``a_long_name_without_its_ending.jp.json``;
- a number that tells two photos of one name apart goes to the end, and is not cut: ``IMG_1(2).jpg`` ->
  ``IMG_1.jpg(2).json``, ``IMG_1.jpg.supplemental-metadata(2).json``;
- an edited copy has no JSON of its own: ``IMG_1-edited.jpg``, in the language of the account (``-bearbeitet``,
  ``-modifié``), goes by that of ``IMG_1.jpg``;
- in the JSON, ``title`` is the photo's name as it was uploaded: the last resort.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from photocluster.foreign.tags import NameTag, Problem, TaggedPhoto
from photocluster.walking import WalkProblem, walk

LARGEST = 1 << 20
"""Bytes of a JSON file that is read: a photo's has one or two thousand, a takeout's other data up to gigabytes."""

KEPT_UNITS = 46
SUPPLEMENT = ".supplemental-metadata"

_NUMBERED = re.compile(r"(.*)(\(\d+\))(\.[^.]*)?", re.DOTALL)
_EDITED = re.compile(r"(.+)-[^\W\d_]+", re.DOTALL)
_REPLACED = re.compile(r"[&?:*\"<>|/\\%']")
"""Characters of a title that the file's name has an underscore for."""


def read_takeout(roots: Sequence[Path]) -> Iterator[TaggedPhoto | Problem]:
    """Yield the photos below the given folders for which a JSON file beside them lists people."""
    folders: defaultdict[Path, list[str]] = defaultdict(list)
    for found in walk(roots):
        if isinstance(found, WalkProblem):
            yield Problem(found.path, found.reason)
        elif found.size <= LARGEST or found.path.suffix.lower() != ".json":
            folders[found.path.parent].append(found.path.name)
    for folder, names in folders.items():
        yield from _folder(folder, names)


def _folder(folder: Path, names: list[str]) -> Iterator[TaggedPhoto | Problem]:
    contents: dict[str, dict[str, Any]] = {}
    for name in names:
        if name.lower().endswith(".json"):
            try:
                content = json.loads((folder / name).read_bytes())
            except OSError as error:
                yield Problem(folder / name, f"cannot be read: {error.strerror}")
            except (ValueError, RecursionError) as error:
                yield Problem(folder / name, f"is no JSON: {error}")
            else:
                contents[name] = content if isinstance(content, dict) else {}
    media = [name for name in names if not name.lower().endswith(".json")]
    beside = match_json(media, {name: str(content.get("title", "")) for name, content in contents.items()})
    for name, said_in in beside.items():
        tags = _people(contents[said_in])
        if tags:
            yield TaggedPhoto(folder / name, tags, folder / said_in)
    for name in contents.keys() - set(beside.values()):
        if _people(contents[name]):
            yield Problem(
                folder / name, "names people, but its photo is not beside it; unpack all parts into one folder"
            )


def _people(content: dict[str, Any]) -> tuple[NameTag, ...]:
    people = content.get("people")
    entries = people if isinstance(people, list) else []
    names = [entry.get("name") for entry in entries if isinstance(entry, dict)]
    return tuple(NameTag(name) for name in names if isinstance(name, str))


def match_json(media: Sequence[str], titles: dict[str, str]) -> dict[str, str]:
    """Return photo -> JSON file of the photos in a folder.

    Parameters
    ----------
    media
        File names of photos and videos.
    titles
        File name of each JSON -> its title.
    """
    found = {}
    for name in media:
        there = [guess for guess in json_names(name) if guess in titles]
        if there:
            found[name] = there[0]
    own = set(found.values())
    by_title = {_REPLACED.sub("_", title): name for name, title in titles.items() if title and name not in own}
    for name in media:
        if name not in found and name in by_title:
            found[name] = by_title[name]
    for name in media:
        original = _original(name, found) if name not in found else None
        if original is not None:
            found[name] = found[original]
    return found


def json_names(name: str) -> list[str]:
    """Return what the JSON of a photo may be called, the likeliest first."""
    bases = [(name, "")]
    numbered = _NUMBERED.fullmatch(name)
    if numbered:
        bases.insert(0, (numbered[1] + (numbered[3] or ""), numbered[2]))
    return [f"{_cut(base + supplement)}{number}.json" for base, number in bases for supplement in (SUPPLEMENT, "")]


def _cut(text: str) -> str:
    return text.encode("utf-16-le", errors="surrogatepass")[: 2 * KEPT_UNITS].decode("utf-16-le", errors="ignore")


def _original(name: str, found: dict[str, str]) -> str | None:
    """Return the photo of which a file is the edited copy."""
    path = Path(name)
    numbered = _NUMBERED.fullmatch(path.stem)
    stem, number = (numbered[1], numbered[2]) if numbered else (path.stem, "")
    edited = _EDITED.fullmatch(stem)
    if not edited:
        return None
    originals = [other for other in found if Path(other).stem == edited[1] + number]
    same_kind = [other for other in originals if Path(other).suffix.lower() == path.suffix.lower()]
    return next(iter(same_kind or originals), None)
