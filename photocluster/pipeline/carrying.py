"""When a photo was edited, what the user said of its faces goes over to the same faces of the new version.

Any program that writes metadata into a photo makes a new content of it. The faces in it are the same ones, in new rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from photocluster.identification import VERIFICATION_THRESHOLD
from photocluster.records import Box, FaceRow, FloatArray, Source
from photocluster.store import Assignment, Decision, Library

SAME_FACE_DISTANCE = 0.6
"""Two detections of an original and its edited version that are nearer than this are one face: rescaling to a third or
strong compression moves an embedding by less (`quality.LOWEST_NORM`), and no two people of LFW are that near."""

SAME_PLACE_IOU = 0.7
"""Boxes that overlap by this much are one face, too, if they may be one person (`VERIFICATION_THRESHOLD`): a retouched
face has not moved. The place alone says nothing: another portrait may have been saved under the same file name."""


def carry_names(library: Library) -> int:
    """Move the user's words on replaced photos to the new versions, as one event; return how many faces moved.

    Names, rejections, covers, answers about pairs of faces, that a face is to be ignored, and that a photo is a mirror.
    (Names that wait for a face go over with `claims`.)

    A face that the new version does not show keeps its name, and its row. So does one whose new face the user has named
    otherwise already: both words stand. Before the user's word an imported name of the new face gives way.
    """
    photos = sorted({*library.photos.replaced(), *library.questions.replaced(), *library.moments.linked()})
    replaced = [(library.faces.of_photo(old), library.faces.of_photo(new)) for old, new in photos]
    if not replaced:
        return 0
    moved = 0
    with library.names.decide("carry", {"photos": len(replaced)}) as decision:
        carrying = _Carrying(library, decision)
        for old_faces, new_faces in replaced:
            carrying.mirror(old_faces, new_faces)
            for old, new in _same_faces(old_faces, new_faces, library.embeddings()):
                before = len(decision.changes)
                carrying.face(old, new)
                moved += len(decision.changes) > before
    return moved


class _Carrying:
    """What the user said before, and how it goes over."""

    def __init__(self, library: Library, decision: Decision) -> None:
        self._decision = decision
        self._assignments = library.names.assignments()
        self._ignored = library.names.ignored()
        self._mirrors = library.names.mirrors()
        self._pairs: dict[int, dict[int, int]] = {}
        for same in (True, False):
            for face, other in library.questions.pairs(same=same):
                self._pairs.setdefault(face, {})[other] = int(same)
                self._pairs.setdefault(other, {})[face] = int(same)
        self._covers = {info.cover: info.id for info in library.names.persons() if info.cover is not None}
        self._rejections: dict[int, list[int]] = {}
        for face, person in library.names.rejections():
            self._rejections.setdefault(face, []).append(person)

    def mirror(self, old: list[FaceRow], new: list[FaceRow]) -> None:
        """Mark the new version of a mirror."""
        if old and new and old[0].photo in self._mirrors:
            self._decision.remove("mirror", {"photo": old[0].photo})
            self._decision.put("mirror", {"photo": new[0].photo})

    def face(self, old: int, new: int) -> None:
        """Move what was said of a face to its new row, unless that is ignored."""
        if new in self._ignored:
            return
        said, there = _word(self._assignments, old), _word(self._assignments, new)
        firm = there is not None and there.source is Source.USER
        if said is not None and (there is None or there.person == said.person or _outranks(said, there)):
            self._decision.unassign(old)
            if there is None or _outranks(said, there):
                self._decision.assign(new, said.person, said.source)
            if old in self._covers:
                self._decision.put("cover", {"person": self._covers[old], "face": new})
        if old in self._ignored:
            self._decision.remove("ignored", {"face": old})
            if not firm:
                self._decision.ignore(new, self._ignored[old].value)
        for person in self._rejections.get(old, ()):
            self._decision.remove("rejection", {"face": old, "person": person})
            if there is None or there.person != person or not firm:
                self._decision.reject(new, person)
        self._move_pairs(old, new)

    def _move_pairs(self, old: int, new: int) -> None:
        """Let what was said of the old face and others hold for the new one, unless that was said of the new one."""
        for other, same in self._pairs.pop(old, {}).items():
            del self._pairs[other][old]
            self._decision.remove("pair", _pair(old, other))
            if other != new and other not in self._pairs.setdefault(new, {}):
                self._decision.put("pair", {**_pair(new, other), "same": same})
                self._pairs[new][other] = self._pairs[other][new] = same


def _outranks(word: Assignment, other: Assignment) -> bool:
    return word.source is Source.USER and other.source is Source.IMPORTED


def _pair(a: int, b: int) -> dict[str, int]:
    return {"face": min(a, b), "other": max(a, b)}


def _place(row: FaceRow) -> Box:
    """Return where a face lies in fractions of its photo: a RAW and its JPEG may be of different sizes."""
    box, width, height = row.detection.box, row.facts.width, row.facts.height
    return Box(box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height)


def _word(assignments: Mapping[int, Assignment], face: int) -> Assignment | None:
    """Return what the user or an import said of a face; a guess does not count."""
    said = assignments.get(face)
    return None if said is None or said.source is Source.PROPAGATED else said


def _same_faces(old: list[FaceRow], new: list[FaceRow], embeddings: FloatArray) -> list[tuple[int, int]]:
    """Return (old face, new face), nearest first, each face once."""
    if not old or not new:
        return []
    a, b = embeddings[[row.face for row in old]], embeddings[[row.face for row in new]]
    distances = np.sqrt(np.maximum(2 - 2 * (a @ b.T), 0))
    candidates = sorted(
        (float(distances[i, j]), i, j)
        for i in range(len(old))
        for j in range(len(new))
        if distances[i, j] < SAME_FACE_DISTANCE
        or (distances[i, j] < VERIFICATION_THRESHOLD and _place(old[i]).iou(_place(new[j])) > SAME_PLACE_IOU)
    )
    pairs: list[tuple[int, int]] = []
    used_old: set[int] = set()
    used_new: set[int] = set()
    for _, i, j in candidates:
        if i not in used_old and j not in used_new:
            used_old.add(i)
            used_new.add(j)
            pairs.append((old[i].face, new[j].face))
    return pairs
