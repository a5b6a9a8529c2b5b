"""Questions about photos: who is in them together."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from photocluster.errors import UsageError
from photocluster.pipeline.targets import person_id
from photocluster.records import Source
from photocluster.store import Library, Sighting

_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


@dataclass(frozen=True, slots=True)
class FoundPhoto:
    """A photo that answers a question.

    `path` is one of its files ("" if none is known), `missing` whether that is gone, `persons` the names of those asked
    for that are in it.
    """

    photo: str
    path: str
    missing: bool
    captured_at: str | None
    persons: tuple[str, ...]


def find_photos_of(
    library: Library,
    persons: Sequence[str],
    *,
    without: Sequence[str] = (),
    any_of: bool = False,
    since: str | None = None,
    until: str | None = None,
    propagated: bool = True,
) -> list[FoundPhoto]:
    """Return the photos with these persons and without those, by the time they were taken, then by path.

    A person is also in a photo of which an import said so, if no face there bears the name.

    Parameters
    ----------
    persons, without
        Names or aliases.
    any_of
        One of `persons` is enough.
    since, until
        First and last year, month or day (2019, 2019-07, 2019-07-14), both included; photos without a date are left out
        if either is given.
    propagated
        Whether propagated names count, or only the user's and imported ones.

    Raises
    ------
    UnknownName
        There is no such person.
    UsageError
        No person is given, or a date is none.
    """
    if not persons:
        raise UsageError("name at least one person to look for")
    for date in (since, until):
        if date is not None and not _DATE.fullmatch(date):
            raise UsageError(f'"{date}" is no date; write 2019, 2019-07 or 2019-07-14')
    wanted = [person_id(library, name) for name in persons]
    unwanted = {person_id(library, name) for name in without}
    sources = tuple(Source) if propagated else (Source.USER, Source.IMPORTED)
    names = library.names.names()
    found = []
    for sighting in _with_kept(
        library, library.names.sightings({*wanted, *unwanted}, sources=sources), wanted, unwanted
    ):
        at = sighting.captured_at
        enough = sighting.persons.intersection(wanted) if any_of else sighting.persons.issuperset(wanted)
        if not enough or sighting.persons & unwanted or not _within(at, since, until):
            continue
        path, missing = library.photos.place(sighting.photo)
        seen = tuple(names[person] for person in dict.fromkeys(wanted) if person in sighting.persons)
        found.append(FoundPhoto(sighting.photo, path, missing, at, seen))
    return sorted(found, key=lambda photo: (photo.captured_at is None, photo.captured_at or "", photo.path))


def _with_kept(
    library: Library, sightings: Sequence[Sighting], wanted: Sequence[int], unwanted: Collection[int]
) -> list[Sighting]:
    """Return the sightings, and with them what imports said of photos without a face to bear the name."""
    kept: dict[str, set[int]] = {}
    for person in {*wanted, *unwanted}:
        for name in library.regions.kept(person):
            kept.setdefault(name.photo, set()).add(person)
    by_photo = {sighting.photo: sighting for sighting in sightings}
    for photo, persons in kept.items():
        seen, facts = by_photo.get(photo), library.regions.facts(photo)
        at = None if facts is None else facts.captured_at
        by_photo[photo] = Sighting(photo, at, frozenset(persons if seen is None else persons | seen.persons))
    return list(by_photo.values())


def _within(at: str | None, since: str | None, until: str | None) -> bool:
    """Return whether a capture time lies between two dates, compared by as many digits as each has."""
    if since is None and until is None:
        return True
    if at is None:
        return False
    return (since is None or at[: len(since)] >= since) and (until is None or at[: len(until)] <= until)
