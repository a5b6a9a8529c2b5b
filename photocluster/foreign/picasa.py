r"""Picasa: a hidden ``.picasa.ini`` in each folder, and a ``contacts.xml`` in Picasa's own data folder.

The ini names a photo's faces in its section, and the persons in ``[Contacts2]``::

    [Contacts2]
    8e62b2035b74b477=Ada Lovelace;;
    [IMG_0001.jpg]
    faces=rect64(3f845bcb59418507),8e62b2035b74b477;rect64(1),ffffffffffffffff
    rotate=rotate(1)

``rect64`` is left, top, right and bottom, 16 bits each of 65535, without leading zeros, in the picture as it is stored:
neither ``rotate`` nor the Exif orientation is applied. The contact ``ffffffffffffffff`` is a face that nobody named. A
contact may be known in a parent folder's ini only; ``contacts.xml`` knows them all, and later names than the ini's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as ET

from photocluster.errors import UsageError
from photocluster.foreign.tags import NameTag, Problem, Space, TaggedPhoto
from photocluster.records import Box
from photocluster.walking import HIDDEN, WalkProblem, walk

INI_NAMES = frozenset({".picasa.ini", "picasa.ini"})
"""The first since Picasa 2, the second (``Picasa.ini``) before."""

NOBODY = "ffffffffffffffff"
FULL = 65535

_FACE = re.compile(r"rect64\(([0-9a-f]{1,16})\),([0-9a-f]+)", re.IGNORECASE)
_CONTACTS, _OLD_CONTACTS = "contacts2", "contacts"

Sections = dict[str, dict[str, str]]


def read_contacts(path: Path) -> dict[str, str]:
    """Return contact -> name of a ``contacts.xml``.

    Raises
    ------
    UsageError
        It cannot be read.
    """
    try:
        elements = ET.parse(path).getroot().iter("contact")  # noqa: S314  the user's own file; no entities are fetched
        return {_key(e.get("id", "")): e.get("name") or e.get("display") or "" for e in elements}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (ET.ParseError, ValueError) as error:
        raise UsageError(f"{path} is no contacts.xml of Picasa ({error})") from error


def read_picasa(roots: Sequence[Path], contacts: dict[str, str]) -> Iterator[TaggedPhoto | Problem]:
    """Yield the named faces of all ini files in the given folders and below.

    Parameters
    ----------
    roots
        Folders, or ini files.
    contacts
        contact -> name, as `read_contacts` gives; it comes before the names in the ini files.
    """
    inis, problems = _find(roots)
    yield from problems
    contents: dict[Path, Sections] = {}
    for path in inis:
        try:
            contents[path] = parse_ini(path.read_bytes())
        except OSError as error:
            yield Problem(path, f"cannot be read: {error.strerror}")
    names = {path.parent: _names(sections) for path, sections in contents.items()}
    everywhere = {contact: name for known in names.values() for contact, name in known.items()}
    for path, sections in contents.items():
        yield from _photos(path, sections, {**everywhere, **_inherited(path, names), **contacts})


def _find(roots: Sequence[Path]) -> tuple[list[Path], list[Problem]]:
    visible = tuple(pattern for pattern in HIDDEN if pattern != ".*")
    inis, problems = [], []
    for found in walk(roots, exclude=(*visible, ".picasaoriginals"), hidden=True):
        if isinstance(found, WalkProblem):
            problems.append(Problem(found.path, found.reason))
        elif found.path.name.lower() in INI_NAMES:
            inis.append(found.path)
    return inis, problems


def parse_ini(content: bytes) -> Sections:
    """Return section -> key -> value. Sections are named as they are written, keys in lower case.

    Picasa writes UTF-8, its early versions the Windows code page. `configparser` would stop at what Picasa does not
    mind: lines without "=", keys twice, "%".
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    sections: Sections = {}
    section: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = sections.setdefault(line[1:-1], {})
        elif "=" in line:
            key, _, value = line.partition("=")
            section[key.strip().lower()] = value.strip()
    return sections


def _key(contact: str) -> str:
    """Return a contact as it is compared: the ini leaves leading zeros out at times."""
    return contact.strip().lower().lstrip("0")


def _names(sections: Sections) -> dict[str, str]:
    known = next((section for name, section in sections.items() if name.lower() == _CONTACTS), {})
    return {_key(contact): value.split(";")[0] for contact, value in known.items()}


def _inherited(path: Path, names: dict[Path, dict[str, str]]) -> dict[str, str]:
    """Return the names of an ini file and of those in the folders above it; the nearest folder decides."""
    known: dict[str, str] = {}
    for folder in path.parents:
        known = {**names.get(folder, {}), **known}
    return known


def _plain(name: str) -> str:
    """Return a file's name as Windows compares it, where Picasa ran."""
    return unicodedata.normalize("NFC", name).casefold()


def _files(folder: Path) -> dict[str, Path]:
    with suppress(OSError):
        return {_plain(place.name): place for place in sorted(folder.iterdir(), reverse=True)}
    return {}


def _photos(path: Path, sections: Sections, names: dict[str, str]) -> Iterator[TaggedPhoto | Problem]:
    nameless: set[str] = set()
    files = _files(path.parent)
    for section, values in sections.items():
        if "faces" not in values:
            continue
        tags = []
        for code, contact in _FACE.findall(values["faces"]):
            name = names.get(_key(contact), "")
            if contact.lower() == NOBODY:
                continue
            if not name:
                nameless.add(contact)
            elif (box := rect64(code)) is not None:
                tags.append(NameTag(name, box, Space.STORED))
        if tags:
            place = path.parent / section
            yield TaggedPhoto(place if place.exists() else files.get(_plain(section), place), tuple(tags), path)
    if nameless:
        yield Problem(
            path, f"no name is known for the contacts {', '.join(sorted(nameless))}; give Picasa's --contacts FILE"
        )


def rect64(code: str) -> Box | None:
    """Return the box of a rect64 in shares of the stored picture; None if it has no area."""
    digits = code.zfill(16)
    x0, y0, x1, y1 = (int(digits[i : i + 4], 16) / FULL for i in range(0, 16, 4))
    return Box(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
