"""Names claimed for photos, and which face each is given to, within one decision.

The order is: boxes first, then the photos of which only one face can be meant, then, over and over until nothing is
added, the faces that surely fit a person's other faces. What is left is kept in the table `region`. Since it goes on
until nothing is added, doing all of it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from photocluster.identification import VERIFICATION_THRESHOLD
from photocluster.pipeline.placing import Choice, Gallery, match_regions
from photocluster.records import Box, FaceRow, Source
from photocluster.regions import frame_of, in_fractions, in_pixels, turns
from photocluster.store import Assignment, Decision, KeptName, Library, name_key, region_row

SAME_BOX = 0.5
"""Intersection over union from which two boxes of one name in one photo are one claim, said twice."""


@dataclass(frozen=True, slots=True)
class Given:
    """A name that a face was given.

    `how` is "box" (with `overlap`, the intersection over union), "only face", "centre" or "likeness" (with `distance`
    to the person's other faces).
    """

    face: int
    person: str
    path: str
    how: str
    overlap: float | None = None
    distance: float | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A name that waits for a face: the photo's hash and file, the box in pixels (None: the whole photo), and why."""

    person: str
    photo: str
    path: str
    box: Box | None
    reason: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """What was said of a face before, and what the file says; the former stands."""

    face: int
    path: str
    here: str
    file: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """A face that was given a name, but is as far from the person's others as strangers are."""

    face: int
    person: str
    path: str
    distance: float


@dataclass(slots=True)
class _Claim:
    person: int
    box: Box | None
    origin: str
    centred: bool = False
    keys: list[str] = field(default_factory=list)
    """Rows of the table `region` that say the same."""


@dataclass(slots=True)
class _Photo:
    """A photo, its claims, and who is in it by what was said."""

    digest: str
    rows: list[FaceRow]
    path: str
    claims: list[_Claim] = field(default_factory=list)
    taken: dict[int, int] = field(default_factory=dict)

    def groups(self) -> list[tuple[int, ...]]:
        """Return the rows of each face: the frames of a track are one."""
        found: dict[tuple[str, int], list[int]] = {}
        for row in self.rows:
            key = ("face", row.face) if row.track is None else ("track", row.track)
            found.setdefault(key, []).append(row.face)
        return [tuple(group) for group in found.values()]


class Claims:
    """The claims of one import.

    Parameters
    ----------
    origin
        What kind of source they come from.
    replace
        Names of earlier imports give way.
    """

    def __init__(self, library: Library, decision: Decision, origin: str, *, replace: bool = False) -> None:
        self._library = library
        self._decision = decision
        self._origin = origin
        self._replace = replace
        self._said = library.names.assignments()
        self._refused = set(library.names.rejections())
        self._ignored = library.names.ignored()
        self._mirrors = library.names.mirrors()
        self._persons: dict[str, int] = {}
        self._names = dict(library.names.names())
        self._photos: dict[str, _Photo] = {}
        self._planned: dict[int, int] = {}
        self.given: list[Given] = []
        self.kept: list[Kept] = []
        self.conflicts: list[Conflict] = []
        self.doubts: list[Doubt] = []
        self.already = 0

    def add(self, digest: str, name: str, box: Box | None, *, centred: bool = False) -> None:
        """Claim that a photo of the library shows a person."""
        self._merge(digest, _Claim(self._person(name), box, self._origin, centred))

    def add_kept(self) -> None:
        """Claim again what was kept for want of a face."""
        for row in self._library.regions.kept(waiting=False):
            photo, box = self._today(row)
            self._merge(photo, _Claim(row.person, box, row.origin, keys=[row.key]))

    def _today(self, row: KeptName) -> tuple[str, Box | None]:
        """Return the photo that stands for the one of a kept name now, and the box in it."""
        shown, before = self._library.regions.standing_for(row.photo), self._library.regions.facts(row.photo)
        if shown is None or before is None or shown.sha256 == row.photo:
            return row.photo, row.box
        if row.box is None or not turns((before.width, before.height), frame_of(shown.facts, 1)):
            return shown.sha256, None
        share = in_fractions(row.box, before.width, before.height)
        return shown.sha256, in_pixels(share, shown.facts.width, shown.facts.height)

    def _person(self, name: str) -> int:
        """Return the id of a person, or a negative number for somebody who is to be made."""
        key = name_key(name)
        if key not in self._persons:
            found = self._decision.named(name)
            self._persons[key] = -1 - len(self._persons) if found is None else found
            self._names.setdefault(self._persons[key], name)
        return self._persons[key]

    def _merge(self, digest: str, claim: _Claim) -> None:
        """Add a claim, unless the photo has one that says the same or more."""
        photo = self._photos.get(digest) or self._load(digest)
        for other in photo.claims:
            if other.person != claim.person:
                continue
            if other.box is None or claim.box is None or other.box.iou(claim.box) >= SAME_BOX:
                if other.box is None:
                    other.box, other.origin = claim.box, claim.origin if claim.box else other.origin
                other.centred |= claim.centred
                other.keys += claim.keys
                return
        photo.claims.append(claim)

    def _load(self, digest: str) -> _Photo:
        rows = self._library.faces.of_hash(digest)
        path = rows[0].path if rows else self._library.photos.place(digest)[0]
        photo = self._photos[digest] = _Photo(digest, rows, path)
        for row in rows:
            word = _word(self._said, row.face)
            if word is not None:
                photo.taken[word.person] = row.face
        return photo

    def place(self) -> None:
        """Give each claim its face, or keep it, and write that."""
        waiting: list[tuple[_Photo, list[_Claim]]] = []
        for _, photo in sorted(self._photos.items()):
            photo.claims.sort(key=lambda claim: (self._names[claim.person], str(claim.box)))
            self._place_boxes(photo)
            left = [claim for claim in photo.claims if claim.box is None and not self._is_only_face(photo, claim)]
            if left:
                waiting.append((photo, left))
        self._place_likely(waiting)
        self._doubt()
        self._write()

    def _place_boxes(self, photo: _Photo) -> None:
        claims = [claim for claim in photo.claims if claim.box is not None]
        pairs = match_regions([claim.box for claim in claims if claim.box], [row.detection.box for row in photo.rows])
        if self._replace:
            best = sorted(pairs.items(), key=lambda pair: pair[1][1])
            self._make_way(photo, {claims[i].person: photo.rows[j].face for i, (j, _) in best})
        for i, (j, overlap) in sorted(pairs.items(), key=lambda pair: -pair[1][1]):
            self._give(photo, claims[i], (photo.rows[j].face,), "box", overlap=overlap)
        for i, claim in enumerate(claims):
            if i not in pairs:
                self._settle_or_keep(photo, claim, "no face was found at that place")

    def _make_way(self, photo: _Photo, wanted: dict[int, int]) -> None:
        """Let faces of one photo change their names with each other: take their old names out of the way.

        Only faces that surely get another name count, lest a name be given away that its face keeps.
        """
        free = {p: face for p, face in wanted.items() if self._stands(face, p) is None}
        while True:
            left = {person: face for person, face in photo.taken.items() if face not in free.values()}
            kept = {p: face for p, face in free.items() if left.get(p, face) == face}
            if len(kept) == len(free):
                break
            free = kept
        for face in free.values():
            word = _word(self._said, face)
            if word is not None and photo.taken.get(word.person) == face:
                del photo.taken[word.person]

    def _is_only_face(self, photo: _Photo, claim: _Claim) -> bool:
        """Settle a claim for a whole photo of which there is no doubt; return whether it is settled."""
        if claim.person in photo.taken:
            self._done(claim)
            return True
        living = [group for group in photo.groups() if group[0] not in self._ignored]
        if not living:
            self._keep(photo, claim, "no face was found in the photo")
            return True
        if claim.centred:
            middle = [group for group in living if self._is_central(photo, group)]
            if len(middle) == 1:
                self._give(photo, claim, middle[0], "centre")
                return True
        if len(living) == 1 and len({other.person for other in photo.claims}) == 1:
            self._give(photo, claim, living[0], "only face")
            return True
        return False

    def _is_central(self, photo: _Photo, group: tuple[int, ...]) -> bool:
        row = next(row for row in photo.rows if row.face == group[0])
        return row.detection.box.contains(row.facts.width / 2, row.facts.height / 2)

    def _place_likely(self, waiting: list[tuple[_Photo, list[_Claim]]]) -> None:
        """Give names to the faces that surely fit, again and again, since each makes the person better known."""
        while waiting:
            gallery = Gallery(self._library.embeddings(), self._known())
            choices = [self._choice(photo, claims) for photo, claims in waiting]
            fits = gallery.fits(choices)
            for fit in fits:
                photo, claims = waiting[fit.choice]
                claim = next(claim for claim in claims if claim.person == fit.person)
                claims.remove(claim)
                self._give(photo, claim, choices[fit.choice].faces[fit.face], "likeness", distance=fit.distance)
            if not fits:
                break
            waiting = [(photo, claims) for photo, claims in waiting if claims]
        for photo, claims in waiting:
            for claim in claims:
                self._settle_or_keep(photo, claim, "which face it is cannot be told surely")

    def _choice(self, photo: _Photo, claims: list[_Claim]) -> Choice:
        free = tuple(group for group in photo.groups() if all(self._is_free(face) for face in group))
        persons = tuple(claim.person for claim in claims)
        refused = {
            (i, p) for i, group in enumerate(free) for p in persons for face in group if (face, p) in self._refused
        }
        filmed = any(row.track is not None for row in photo.rows)
        return Choice(persons, free, frozenset(refused), filmed)

    def _is_free(self, face: int) -> bool:
        return _word(self._said, face) is None and face not in self._planned and face not in self._ignored

    def _known(self) -> dict[int, int]:
        said = {face: word.person for face, word in self._said.items() if word.source is not Source.PROPAGATED}
        return {**said, **self._planned}

    def _give(
        self,
        photo: _Photo,
        claim: _Claim,
        group: tuple[int, ...],
        how: str,
        *,
        overlap: float | None = None,
        distance: float | None = None,
    ) -> None:
        """Give a face the name, unless something that was said stands against it."""
        name, person = self._names[claim.person], claim.person
        here = self._in_the_way(photo, person, group)
        if here is not None:
            self.conflicts.append(Conflict(group[0], photo.path, here, name))
        elif all(self._who(face) == person for face in group):
            self.already += 1
        else:
            for face in group:
                before = self._who(face)
                if before != person:
                    self._planned[face] = person
                if before is not None and photo.taken.get(before) == face:
                    del photo.taken[before]
            photo.taken[person] = group[0]
            self.given.append(Given(group[0], name, photo.path, how, overlap, distance))
        self._drop(claim)

    def _who(self, face: int) -> int | None:
        """Return who a face is by the user's or an import's word, or by this import."""
        word = _word(self._said, face)
        return self._planned.get(face, None if word is None else word.person)

    def _in_the_way(self, photo: _Photo, person: int, group: tuple[int, ...]) -> str | None:
        """Return what was said of a face, or of its photo, that a person's name would contradict, or None."""
        for face in group:
            here = self._stands(face, person)
            if here is not None:
                return here
        there = photo.taken.get(person)
        if there is not None and there not in group and photo.digest not in self._mirrors:
            return f"{self._names[person]} is f{there} in this photo"
        return None

    def _stands(self, face: int, person: int) -> str | None:
        """Return what was said of a face that a person's name would contradict, or None."""
        word, who = _word(self._said, face), self._who(face)
        firm = face in self._planned or not self._replace or (word is not None and word.source is Source.USER)
        if who is not None and who != person and firm:
            return self._names[who]
        if face in self._ignored:
            return f"ignored ({self._ignored[face].value})"
        return f"not {self._names[person]}" if (face, person) in self._refused else None

    def _settle_or_keep(self, photo: _Photo, claim: _Claim, reason: str) -> None:
        """Keep a claim without a face, unless the person is in the photo already."""
        if claim.person in photo.taken:
            self._done(claim)
        else:
            self._keep(photo, claim, reason)

    def _done(self, claim: _Claim) -> None:
        self.already += 1
        self._drop(claim)

    def _drop(self, claim: _Claim) -> None:
        """Take the claim out of what is kept."""
        for key in claim.keys:
            self._decision.remove("region", {"key": key})

    def _keep(self, photo: _Photo, claim: _Claim, reason: str) -> None:
        person = self._real(claim.person)
        row = region_row(photo.digest, person, claim.box, claim.origin)
        for key in claim.keys:
            if key != row["key"]:
                self._decision.remove("region", {"key": key})
        before = self._decision.get("region", row)
        if before is None or before["person"] != person:
            self._decision.put("region", row)
        self.kept.append(Kept(self._names[claim.person], photo.digest, photo.path, claim.box, reason))

    def _real(self, person: int) -> int:
        """Return the id of a person, who is made now if need be."""
        return person if person >= 0 else self._decision.person(self._names[person])

    def _doubt(self) -> None:
        """Note the faces that were given a name for the photo as a whole, and are unlike the person's others."""
        taken_whole = [given for given in self.given if given.how in {"only face", "centre"}]
        if not taken_whole:
            return
        gallery = Gallery(self._library.embeddings(), self._known())
        for given in taken_whole:
            person = self._who(given.face)
            distance = None if person is None else gallery.outlier(given.face, person)
            if distance is not None and distance > VERIFICATION_THRESHOLD:
                self.doubts.append(Doubt(given.face, given.person, given.path, distance))

    def _write(self) -> None:
        for face, person in sorted(self._planned.items()):
            self._decision.assign(face, self._real(person), Source.IMPORTED)


def _word(assignments: Mapping[int, Assignment], face: int) -> Assignment | None:
    """Return what the user or an import said of a face; a guess does not count."""
    said = assignments.get(face)
    return None if said is None or said.source is Source.PROPAGATED else said
