"""What is nobody's face, or nobody worth a name; and photos in which one person appears twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from photocluster.errors import UsageError
from photocluster.pipeline.forgetting import find_photos
from photocluster.pipeline.naming import FacesReport
from photocluster.pipeline.targets import Target, all_faces, pointed_at, resolve, resolve_all, with_tracks
from photocluster.records import FaceRow, Source
from photocluster.store import IgnoredKind, Library


@dataclass(frozen=True, slots=True)
class PhotosReport:
    """The number of the event (None: nothing changed, or only tried), and the hashes of the photos that it changed."""

    event: int | None
    photos: tuple[str, ...]
    unchanged: tuple[str, ...]


def ignore(
    library: Library,
    targets: Sequence[str],
    kind: IgnoredKind = IgnoredKind.STRANGER,
    *,
    unnamed_below: int | None = None,
    dry_run: bool = False,
) -> FacesReport:
    """Leave faces out of clusters, names and sheets, for ever.

    A cluster's faces that the user named are kept; a face that is meant by itself (f345) loses its name. With a face of
    a video go the faces of its track that the user did not name.

    Parameters
    ----------
    unnamed_below
        Also every cluster of fewer faces in which no face carries a name.

    Raises
    ------
    UnknownName, UsageError
    """
    found = resolve_all(library, targets)
    if unnamed_below is not None:
        found += _small_clusters(library, unnamed_below)
    elif not targets:
        raise UsageError("give clusters or faces, or --unnamed-below N")
    meant = pointed_at(found)
    before = library.names.ignored()
    rows = with_tracks(library, found)
    changed = [row for row in rows.values() if before.get(row.face) is not kind and (row.face in meant or _free(row))]
    event = "not-a-face" if kind is IgnoredKind.NOT_A_FACE else "ignore"
    arguments = {"targets": list(targets), "kind": kind.value, "unnamed_below": unnamed_below}
    with library.names.decide(event, arguments, dry_run=dry_run) as decision:
        for row in changed:
            decision.ignore(row.face, kind.value)
    return _report(decision.event, rows, changed)


def _free(row: FaceRow) -> bool:
    return row.person is None or row.source is Source.PROPAGATED


def _small_clusters(library: Library, below: int) -> list[Target]:
    return [
        Target(str(info.number), tuple(library.faces.rows(cluster=info.number)), one_by_one=False)
        for info in library.clusters.infos()
        if info.faces < below and not info.names
    ]


def unignore(
    library: Library, targets: Sequence[str], *, kind: IgnoredKind | None = None, dry_run: bool = False
) -> FacesReport:
    """Take ignored faces back in: those given, or all of a kind. The next clustering finds their place.

    Raises
    ------
    UnknownName, UsageError
    """
    if bool(targets) == (kind is not None):
        raise UsageError("give either faces or --kind")
    before = library.names.ignored()
    found = resolve_all(library, targets)
    if kind is not None:
        found = [resolve(library, f"f{face}") for face, why in before.items() if why is kind]
    rows = all_faces(found)
    changed = [row for row in rows.values() if row.face in before]
    arguments = {"targets": list(targets), "kind": None if kind is None else kind.value}
    with library.names.decide("unignore", arguments, dry_run=dry_run) as decision:
        for row in changed:
            decision.remove("ignored", {"face": row.face})
    return _report(decision.event, rows, changed)


def _report(event: int | None, rows: dict[int, FaceRow], changed: Sequence[FaceRow]) -> FacesReport:
    done = {row.face for row in changed}
    return FacesReport(
        event, None, tuple((row.face, row.person) for row in changed), tuple(face for face in rows if face not in done)
    )


def mirror(library: Library, photos: Sequence[str], *, remove: bool = False, dry_run: bool = False) -> PhotosReport:
    """Say that one person may appear several times in photos (a mirror, a collage), or that it may not.

    Parameters
    ----------
    photos
        Paths, hashes, or faces (f345: the photo of that face).
    remove
        Take it back.

    Raises
    ------
    UnknownName
        The library knows no such photo or face.
    """
    hashes = list(dict.fromkeys(digest for text in photos for digest in _photo(library, text)))
    before = library.names.mirrors()
    changed = [digest for digest in hashes if (digest in before) == remove]
    with library.names.decide("unmirror" if remove else "mirror", {"photos": hashes}, dry_run=dry_run) as decision:
        for digest in changed:
            if remove:
                decision.remove("mirror", {"photo": digest})
            else:
                decision.put("mirror", {"photo": digest})
    return PhotosReport(decision.event, tuple(changed), tuple(sorted(set(hashes) - set(changed))))


def _photo(library: Library, text: str) -> list[str]:
    if text[:1] in {"f", "F"} and text[1:].isdecimal():
        return [row.photo for row in resolve(library, text).faces]
    return find_photos(library, [text])
