"""Rules 1 to 6 of the design: whatever happens to a library, what the user said of its faces stands."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from decision_model import Model
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from making import FakeAnalyser, picture, scan_in_this_process
from PIL import Image, PngImagePlugin

from photocluster.errors import UsageError
from photocluster.foreign import NameTag, Space, TaggedPhoto
from photocluster.pipeline.backup import backup
from photocluster.pipeline.clusters import ClusterParameters, cluster
from photocluster.pipeline.history import redo, undo
from photocluster.pipeline.ignoring import ignore, mirror, unignore
from photocluster.pipeline.importing import import_names
from photocluster.pipeline.naming import accept, label, move, reject, unlabel
from photocluster.pipeline.persons import PersonFacts, change_person, cover, merge_persons, rename
from photocluster.pipeline.recognition import propagate
from photocluster.pipeline.restoring import restore
from photocluster.pipeline.scanning import ScanOptions, scan
from photocluster.pipeline.splitting import split
from photocluster.records import Box, Source
from photocluster.store import IgnoredKind, Library, name_key

PHOTOS = ((1, 2), (1, 3), (2, 3), (1,), (1,), (2,), (2,), (3,), (1, 1), (4, 0, 5))
"""Who is seen in the photos at the start."""

NAMES = st.sampled_from(["Ann", "ANN", "Ben", "Carl", "Dora"])
PARAMETERS = (
    ClusterParameters(),
    ClusterParameters(min_cluster_size=3),
    ClusterParameters(max_distance=0.5),
    ClusterParameters(extras=False, min_cluster_size=2, min_samples=1),
)


def corners(box):
    return None if box is None else (box.x0, box.y0, box.x1, box.y1)


class Decisions(RuleBasedStateMachine):
    """Decisions, scans, clusterings, propagations, moved folders, edited and forgotten photos, undos and redos."""

    @initialize()
    def make(self):
        self.patch = pytest.MonkeyPatch()
        scan_in_this_process(self.patch, FakeAnalyser)
        self.folder = Path(tempfile.mkdtemp())
        self.photos = self.folder / "photos"
        self.written = 0
        for persons in PHOTOS:
            self._write(*persons)
        self.library_folder = self.folder / "library"
        self._scan()
        self.library = Library(self.library_folder)
        self.model = Model()
        self.fresh = None
        self.numbers: set[int] = set()
        self.dead: set[int] = set()
        self.colour = {}
        self.versions: list[tuple[str, str | None]] = []
        self._see()

    def teardown(self):
        if hasattr(self, "library"):
            self.library.close()
            shutil.rmtree(self.folder)
            self.patch.undo()

    def _write(self, *persons):
        self.written += 1
        picture(self.photos / f"{self.written:02}.png", *persons, shade=self.written)

    def _scan(self):
        return scan(self.library_folder, [self.folder / "photos", self.folder / "moved"], ScanOptions(workers=1))

    def _see(self):
        """Learn who is really on each face, from the picture."""
        for row in self.library.faces.rows():
            if row.face not in self.colour and not row.missing:
                pixel = Image.open(row.path).getpixel((int(row.detection.box.x0), 0))
                self.colour[row.face] = pixel[0] // 5

    # What the rules draw from

    def _faces(self):
        return [*self.library.faces.photos()[0].tolist(), *self.library.names.ignored()]

    def _some(self, data, limit=3):
        faces = self._faces()
        return sorted(data.draw(st.sets(st.sampled_from(faces), min_size=1, max_size=limit))) if faces else []

    def _decide(self, kind, act, say):
        """Make a decision in the library, and in the model."""
        before, full = dict(self.model.state), self._everything()
        try:
            report = act()
        except UsageError:
            return
        say(report)
        newest = self.library.history.events()[:1]
        number = newest[0].id if newest and newest[0].id not in self.model.events else None
        assert report.event == number
        self.model.note(number, kind, before)
        self.fresh = None if number is None else (number, full)

    # Decisions

    @rule(data=st.data(), name=NAMES)
    def label_faces(self, data, name):
        faces = self._some(data)
        texts = [f"f{face}" for face in faces]
        if faces == list(range(faces[0], faces[-1] + 1)) and set(faces) <= set(self._faces()):
            texts = [f"f{faces[0]}-f{faces[-1]}"]
        self._decide("label", lambda: label(self.library, texts, name), lambda _: self._name(faces, name))

    def _name(self, faces, name):
        for face in faces:
            self.model.name(face, self.model.person(name))

    @rule(data=st.data(), name=NAMES)
    def label_cluster(self, data, name):
        infos = self.library.clusters.infos()
        if not infos:
            return
        number = data.draw(st.sampled_from([info.number for info in infos]))
        rows = {row.face: row for row in self.library.faces.rows(cluster=number)}
        who, state, mirrors = self.model.who(name), dict(self.model.state), self.library.names.mirrors()

        def say(report):
            sides = [
                report.named,
                report.already,
                [face for face, _ in report.kept],
                report.rejected,
                report.same_photo,
            ]
            assert sorted(face for side in sides for face in side) == sorted(rows)
            for face in report.named:
                assert state.get(("named", face)) in {None, (who, "imported")}
                assert ("refused", face, who) not in state
            seen = Counter(rows[face].photo for face in report.named)
            assert not [photo for photo, times in seen.items() if times > 1 and photo not in mirrors]
            self._name(report.named, name)

        self._decide("label", lambda: label(self.library, [str(number)], name), say)

    @rule(data=st.data(), name=NAMES)
    def move_faces(self, data, name):
        faces = self._some(data)
        texts = [f"f{face}" for face in faces]
        self._decide("move", lambda: move(self.library, texts, name), lambda _: self._name(faces, name))

    @rule(data=st.data())
    def unlabel_faces(self, data):
        faces = self._some(data)
        texts = [f"f{face}" for face in faces]
        self._decide(
            "unlabel", lambda: unlabel(self.library, texts), lambda _: [self.model.unname(face) for face in faces]
        )

    @rule(name=NAMES)
    def unlabel_person(self, name):
        faces = [face for (face,), (who, _) in self.model.part("named").items() if who == self.model.who(name)]
        self._decide(
            "unlabel", lambda: unlabel(self.library, [name]), lambda _: [self.model.unname(face) for face in faces]
        )

    @rule(data=st.data())
    def accept_guesses(self, data):
        guessed = [face for face, said in self.library.names.assignments().items() if said.source is Source.PROPAGATED]
        faces = [face for face in self._some(data) if face in guessed]
        names = {row.face: row.person for row in self.library.faces.rows()}
        if faces:
            self._decide(
                "accept",
                lambda: accept(self.library, [f"f{face}" for face in faces]),
                lambda _: [self.model.name(face, self.model.who(names[face])) for face in faces],
            )

    @rule(data=st.data(), name=NAMES)
    def reject_faces(self, data, name):
        faces = self._some(data)
        who = self.model.who(name)
        self._decide(
            "reject",
            lambda: reject(self.library, [f"f{face}" for face in faces], name),
            lambda _: [self.model.refuse(face, who) for face in faces],
        )

    @rule(data=st.data(), kind=st.sampled_from(IgnoredKind))
    def ignore_faces(self, data, kind):
        faces = self._some(data)
        event = "not-a-face" if kind is IgnoredKind.NOT_A_FACE else "ignore"
        self._decide(
            event,
            lambda: ignore(self.library, [f"f{face}" for face in faces], kind),
            lambda _: [self.model.ignore(face, kind.value) for face in faces],
        )

    @rule(below=st.integers(2, 4))
    def ignore_small_clusters(self, below):
        said = {cell[0] for cell in self.model.part("named")}

        def say(report):
            for face, _ in report.faces:
                assert face not in said
                self.model.ignore(face, "crowd")

        self._decide("ignore", lambda: ignore(self.library, [], IgnoredKind.CROWD, unnamed_below=below), say)

    @rule(data=st.data())
    def unignore_faces(self, data):
        ignored = [cell[0] for cell in self.model.part("ignored")]
        if ignored:
            face = data.draw(st.sampled_from(ignored))
            self._decide(
                "unignore",
                lambda: unignore(self.library, [f"f{face}"]),
                lambda _: self.model.state.pop(("ignored", face)),
            )

    @rule(a=NAMES, b=NAMES)
    def merge(self, a, b):
        into, other = self.model.who(a), self.model.who(b)
        self._decide(
            "merge",
            lambda: merge_persons(self.library, [a, b], force=True),
            lambda _: self.model.merge(into, other),
        )

    @rule(old=NAMES, new=NAMES)
    def rename(self, old, new):
        who = self.model.who(old)

        def say(_):
            self.model.state.pop(("alias", name_key(new)), None)
            self.model.state["person", who] = (new, *self.model.state["person", who][1:])

        self._decide("rename", lambda: rename(self.library, old, new), say)

    @rule(name=NAMES, alias=NAMES, born=st.sampled_from([None, "", "2010-05-01"]), hidden=st.sampled_from([None, True]))
    def change_person(self, name, alias, born, hidden):
        who = self.model.who(name)

        def say(_):
            if self.model.who(alias) is None:
                self.model.state["alias", name_key(alias)] = (alias, who)
            known = self.model.state["person", who]
            self.model.state["person", who] = (
                known[0],
                known[1] if born is None else born or None,
                "a note",
                known[3] if hidden is None else hidden,
            )

        facts = PersonFacts(add_aliases=(alias,), born=born, note=" a note ", hidden=hidden)
        self._decide("person", lambda: change_person(self.library, name, facts), say)

    @rule(data=st.data())
    def choose_cover(self, data):
        for face in self._some(data, 1):
            name = self.library.faces.rows(face=face)[0].person

            def say(_, face=face, name=name):
                if self.model.named(face) is None:
                    self.model.name(face, self.model.who(name))
                self.model.state["cover", self.model.who(name)] = face

            self._decide("cover", lambda face=face: cover(self.library, f"f{face}"), say)

    @rule(data=st.data(), name=NAMES, to=NAMES)
    def split_person(self, data, name, to):
        faces = self._some(data, 2)
        self._decide(
            "split",
            lambda: split(self.library, name, [f"f{face}" for face in faces], to=to),
            lambda _: self._name(faces, to),
        )

    @rule(data=st.data())
    def split_cluster(self, data):
        infos = self.library.clusters.infos()
        if infos:
            number = data.draw(st.sampled_from([info.number for info in infos]))
            faces = [row.face for row in self.library.faces.rows(cluster=number)]
            leaving = data.draw(st.sampled_from(faces))

            def say(report):
                self._name([leaving], report.parts[1].person)
                who = self.model.who(report.parts[1].person)
                for face in faces:
                    if ("named", face) not in self.model.state:
                        self.model.refuse(face, who)

            self._decide("split", lambda: split(self.library, str(number), [f"f{leaving}"]), say)

    @rule(data=st.data(), remove=st.booleans())
    def mirror(self, data, remove):
        for face in self._some(data, 1):
            photo = self.library.faces.rows(face=face)[0].photo

            def say(_, photo=photo):
                if remove:
                    self.model.state.pop(("mirror", photo), None)
                else:
                    self.model.state["mirror", photo] = True

            self._decide(
                "unmirror" if remove else "mirror",
                lambda face=face: mirror(self.library, [f"f{face}"], remove=remove),
                say,
            )

    # Taking back

    @rule(data=st.data(), last=st.booleans())
    def undo(self, data, last):
        own = [n for n, event in self.model.events.items() if event.kind not in {"undo", "redo"}]
        own = [n for n in own if self.model.in_force(n)]
        number = None if last or not own else data.draw(st.sampled_from(own))
        self._take_back("undo", number, number or self.model.last())

    @rule(data=st.data(), last=st.booleans())
    def redo(self, data, last):
        undone = [n for n, event in self.model.events.items() if event.kind == "undo" and self.model.in_force(n)]
        target = None if not undone else max(undone) if last else data.draw(st.sampled_from(undone))
        number = None if last or not undone else self.model.events[target].takes_back
        if (
            last
            and undone
            and any(
                event.kind not in {"undo", "redo", "carry", "place"} and n > target
                for n, event in self.model.events.items()
            )
        ):
            target = None
        self._take_back("redo", number, target)

    def _take_back(self, kind, number, target):
        before = dict(self.model.state)
        expected = None if target is None else self.model.without(target)
        fresh, self.fresh = self.fresh, None
        try:
            done = (undo if kind == "undo" else redo)(self.library, number)
        except UsageError:
            assert expected is None
            return
        assert expected is not None
        assert done.concerned.id == target
        assert done.event is not None
        self.model.state = expected
        self.model.note(done.event, kind, before, takes_back=target)
        if fresh is not None and fresh[0] == target:
            assert self._everything() == fresh[1]

    # What else happens to a library

    @rule()
    def propagate(self):
        self.fresh = None
        propagate(self.library)
        again = propagate(self.library)
        assert (again.changed, again.taken_back) == (0, 0)
        rows = [row for row in self.library.faces.rows() if row.person and row.face in self.colour]
        known = {(row.person, self.colour[row.face]) for row in rows if row.source is not Source.PROPAGATED}
        guesses = {(row.person, self.colour[row.face]) for row in rows if row.source is Source.PROPAGATED}
        assert guesses <= known, "a stranger was forced into a person"

    @rule(parameters=st.sampled_from(PARAMETERS))
    def cluster(self, parameters):
        report = cluster(self.library, parameters)
        membership = self.library.clusters.membership()
        alive = {number for number in membership.values() if number is not None}
        assert not alive & self.dead
        self.dead |= self.numbers - alive
        self.numbers |= alive
        cluster(self.library, parameters)
        assert self.library.clusters.membership() == membership
        assert not set(membership) & set(self.library.names.ignored())
        if parameters.extras and not report.contradictions:
            self._constraints_hold(membership)

    def _constraints_hold(self, membership):
        faces, photos = self.library.faces.photos()
        places = [(membership[f], p) for f, p in zip(faces.tolist(), photos.tolist(), strict=True) if p >= 0]
        assert all(times == 1 for (number, _), times in Counter(places).items() if number is not None)
        named = {face: who for (face,), (who, _) in self.model.part("named").items() if face in membership}
        for face, who in named.items():
            assert all(
                membership[other] != membership[face]
                for other, somebody in named.items()
                if somebody != who and membership[face] is not None
            )
        for face, who in [cell[1:] for cell in self.model.state if cell[0] == "refused" and cell[1] in membership]:
            assert all(
                membership[other] != membership[face] or membership[face] is None
                for other, somebody in named.items()
                if somebody == who
            )

    def _scan_again(self, new=0, edited=None):
        """Scan; only new contents may be looked at."""
        self.fresh = None
        FakeAnalyser.analysed = 0
        self.library.close()
        report = self._scan()
        self.library = Library(self.library_folder)
        assert FakeAnalyser.analysed == new
        assert not report.failed
        self._see()
        self.versions = [(old, now or self.library.photos.hash_of(edited)) for old, now in self.versions]
        self._carry()

    @rule()
    def scan_again(self):
        self._scan_again()

    @rule()
    def move_folder(self):
        here, there = self.folder / "photos", self.folder / "moved"
        if self.photos == there:
            here, there = there, here
        here.rename(there)
        self.photos = there
        self._scan_again()

    @rule(data=st.data())
    def copy_photo(self, data):
        path = data.draw(st.sampled_from(sorted(self.photos.iterdir())))
        self.written += 1
        shutil.copy(path, self.photos / f"{self.written:02}.png")
        self._scan_again()

    @rule(persons=st.lists(st.integers(1, 5), min_size=1, max_size=3))
    def add_photo(self, persons):
        self._write(*persons)
        self._scan_again(new=1)

    @rule(data=st.data())
    def edit_photo(self, data):
        """Another program writes metadata into a photo: its faces get new rows."""
        path = data.draw(st.sampled_from(sorted(self.photos.iterdir())))
        old = self.library.photos.hash_of(path)
        copies = sum(self.library.photos.hash_of(other) == old for other in self.photos.iterdir())
        self.written += 1
        comment = PngImagePlugin.PngInfo()
        comment.add_text("Comment", str(self.written))
        with Image.open(path) as image:
            image.load()
        image.save(path, pnginfo=comment)
        os.utime(path, ns=(self.written, self.written))
        if copies == 1:
            self.versions.append((old, None))
        self._scan_again(new=1, edited=path)

    def _carry(self):
        """What is said of an earlier version of a photo, by an undo for example, goes over to the next one."""
        before, pairs = dict(self.model.state), []
        rows = [(self.library.faces.of_hash(old), self.library.faces.of_hash(new)) for old, new in self.versions]
        for old, new in sorted(rows, key=lambda pair: pair[0][0].face):
            if before.get(("mirror", old[0].photo)):
                del self.model.state["mirror", old[0].photo]
                self.model.state["mirror", new[0].photo] = True
            for face, now in zip(old, new, strict=True):
                if ("ignored", now.face) not in before:
                    self._carry_face(before, face.face, now.face)
                    pairs.append((face.face, now.face))
        self._carry_pairs(pairs)
        new = [event for event in self.library.history.events() if event.id not in self.model.events]
        of_kind = {event.kind: event.id for event in new}
        self.model.note(of_kind.get("carry"), "carry", before)
        before = dict(self.model.state)
        self._place()
        self.model.note(of_kind.get("place"), "place", before)

    def _carry_face(self, before, old, new):
        who, source = before.get(("named", old), (None, None))
        there, said_there = before.get(("named", new), (None, None))
        outranks = (source, said_there) == ("user", "imported")
        if who is not None and (there in {None, who} or outranks):
            covered = before.get(("cover", who)) == old
            self.model.unname(old)
            if there is None or outranks:
                self.model.name(new, who, source)
            if covered:
                self.model.state["cover", who] = new
        kind = self.model.state.pop(("ignored", old), None)
        if kind is not None and said_there != "user":
            self.model.ignore(new, kind)
        for person in [cell[2] for cell in before if cell[:2] == ("refused", old)]:
            del self.model.state["refused", old, person]
            if there != person or said_there != "user":
                self.model.refuse(new, person)

    def _carry_pairs(self, faces):
        for old, new in faces:
            for (a, b), same in self.model.part("pair").items():
                if old in {a, b}:
                    other = a + b - old
                    del self.model.state["pair", a, b]
                    if other != new:
                        self.model.state.setdefault(("pair", min(new, other), max(new, other)), same)

    def _place(self):
        """Names that waited went to faces, or moved to another version of their photo: see that, and what it was."""
        whos = {name: who for who, name in self.model.names().items()}
        waited = {(self._newest(photo), who) for photo, who, _ in self.model.part("region")}
        for face, (name, source) in self._words()["named"].items():
            if ("named", face) not in self.model.state:
                who, photo = whos[name], self.library.faces.rows(face=face)[0].photo
                assert source == "imported"
                assert (photo, who) in waited
                self._take(face, who)
                self._is_alone(face, who)
        kept = self.library.regions.kept(waiting=False)
        self._keep(kept)
        assert {(k.photo, whos[k.name]) for k in kept} <= waited

    def _newest(self, photo):
        versions = dict(self.versions)
        while photo in versions:
            photo = versions[photo]
        return photo

    def _take(self, face, who, *, replace=False):
        """An import named a face: nothing that was said stood against it."""
        assert ("ignored", face) not in self.model.state
        assert ("refused", face, who) not in self.model.state
        source = self.model.state.get(("named", face), (None, None))[1]
        assert source is None or (replace and source == "imported")
        self.model.name(face, who, "imported")

    def _is_alone(self, face, who):
        """No other face of the photo is the same person."""
        photo = self.library.faces.rows(face=face)[0].photo
        others = [row.face for row in self.library.faces.of_hash(photo) if row.face != face]
        assert ("mirror", photo) in self.model.state or who not in map(self.model.named, others)

    def _keep(self, kept):
        for cell in self.model.part("region"):
            del self.model.state["region", *cell]
        for each in kept:
            self.model.state["region", each.photo, self.model.person(each.name), corners(each.box)] = True

    @rule(data=st.data(), replace=st.booleans())
    def import_names(self, data, replace):
        """Names of other programs: of a face, of a place without a face, or of a whole photo."""
        rows = {row.face: row for row in self.library.faces.rows()}
        claims = []
        for face in self._some(data, 6):
            row = rows.get(face) or self.library.faces.rows(face=face)[0]
            box = data.draw(st.sampled_from([None, row.detection.box, Box(1, 18, 9, 30)]))
            usual = st.just(dict(enumerate(["Ann", "Ben", "Carl"], 1)).get(self.colour.get(face), "Dora"))
            claims.append((row, data.draw(st.one_of(usual, usual, NAMES)), box))
        tagged = [
            TaggedPhoto(None, (NameTag(name, box, Space.PIXELS),), Path("x"), row.photo) for row, name, box in claims
        ]
        said = {(row.photo, name_key(name)) for row, name, _ in claims}
        waited = {(photo, who) for photo, who, _ in self.model.part("region")}

        def say(report):
            for given in report.given:
                photo = self.library.faces.rows(face=given.face)[0].photo
                who = self.model.person(given.person)
                assert (photo, who) in waited or self._is_said(said, photo, who)
                self._take(given.face, who, replace=replace)
            for given in report.given:
                self._is_alone(given.face, self.model.who(given.person))
            for conflict in report.conflicts:
                who = self.model.who(conflict.file)
                refused = ("refused", conflict.face, who) in self.model.state
                named = self.model.named(conflict.face) is not None
                photo = self.library.faces.rows(face=conflict.face)[0].photo
                beside = who in {self.model.named(row.face) for row in self.library.faces.of_hash(photo)}
                assert refused or named or beside or ("ignored", conflict.face) in self.model.state
            self._keep(self.library.regions.kept(waiting=False))
            again = import_names(self.library, tagged, "test", [], replace=replace)
            assert (again.event, again.given, again.kept) == (None, (), report.kept)

        self._decide("import", lambda: import_names(self.library, tagged, "test", [], replace=replace), say)

    def _is_said(self, said, photo, who):
        return any(digest == photo and self.model.who(key) == who for digest, key in said)

    @rule(data=st.data(), same=st.booleans())
    def answer_about_two_faces(self, data, same):
        faces = self._some(data, 2)
        if len(faces) == 2 and ("pair", *faces) not in self.model.state:

            def answer():
                with self.library.names.decide("accept", {}) as decision:
                    decision.put("pair", {"face": faces[0], "other": faces[1], "same": int(same)})
                return decision

            self._decide("accept", answer, lambda _: self.model.state.update({("pair", *faces): same}))

    @rule(data=st.data())
    def forget_photo(self, data):
        paths = sorted(self.photos.iterdir())
        if len(paths) < 5:
            return
        path = data.draw(st.sampled_from(paths))
        digest = self.library.photos.hash_of(path)
        for other in paths:
            if self.library.photos.hash_of(other) == digest:
                other.unlink()
        self._scan_again()
        for gone in self.library.photos.with_versions([digest]):
            faces = {row.face for row in self.library.faces.of_hash(gone)}
            self.library.photos.forget([gone])
            self.model.forget(faces, gone)
            self.versions = [pair for pair in self.versions if gone not in pair]

    @rule()
    def restore_own_backup(self):
        file = self.folder / "backup.json"
        backup(self.library, file)
        report = restore(self.library, file)
        assert (report.event, report.changed, report.conflicts, report.unplaced) == (None, 0, (), ())

    # What must hold after each step

    def _words(self):
        infos = self.library.names.persons()
        names = {info.id: info.name for info in infos}
        said = self.library.names.assignments()
        return {
            "persons": {i.name: (i.born, i.note, i.hidden, i.cover, sorted(map(name_key, i.aliases))) for i in infos},
            "named": {
                face: (names[a.person], a.source) for face, a in said.items() if a.source is not Source.PROPAGATED
            },
            "refused": {(face, names[person]) for face, person in self.library.names.rejections()},
            "ignored": {face: kind.value for face, kind in self.library.names.ignored().items()},
            "mirrors": self.library.names.mirrors(),
            "pairs": {(*pair, same) for same in (True, False) for pair in self.library.questions.pairs(same=same)},
            "regions": {(k.photo, k.name, corners(k.box)) for k in self.library.regions.kept(waiting=False)},
        }

    def _everything(self):
        return self._words(), self.library.names.assignments()

    def _expected(self):
        model, names = self.model, self.model.names()
        aliases = model.part("alias")
        return {
            "persons": {
                name: (
                    *model.state["person", who][1:],
                    model.state.get(("cover", who)),
                    sorted(key for (key,), (_, owner) in aliases.items() if owner == who),
                )
                for who, name in names.items()
            },
            "named": {face: (names[who], source) for (face,), (who, source) in model.part("named").items()},
            "refused": {(cell[1], names[cell[2]]) for cell in model.state if cell[0] == "refused"},
            "ignored": {face: kind for (face,), kind in model.part("ignored").items()},
            "mirrors": {cell[0] for cell in model.part("mirror")},
            "pairs": {(*cell, same) for cell, same in model.part("pair").items()},
            "regions": {(photo, names[who], box) for photo, who, box in model.part("region")},
        }

    @invariant()
    def the_users_words_stand(self):
        assert self._words() == self._expected()

    @invariant()
    def every_decision_is_an_event(self):
        events = {event.id: (event.kind, event.in_force) for event in self.library.history.events()}
        assert events == {
            number: (event.kind, self.model.in_force(number)) for number, event in self.model.events.items()
        }

    @invariant()
    def guesses_contradict_nobody(self):
        """A guess is a person whom the user named on a face that looks so, beside nobody else of that name."""
        names = self.library.names
        refused, ignored, mirrors = set(names.rejections()), names.ignored(), names.mirrors()
        said = names.assignments()
        rows = self.library.faces.rows()
        photos = Counter((row.photo, row.person) for row in rows if row.person)
        for row in rows:
            if row.source is Source.PROPAGATED:
                assert row.face not in ignored
                assert (row.face, said[row.face].person) not in refused
                assert row.photo in mirrors or photos[row.photo, row.person] == 1

    @invariant()
    def nothing_is_damaged(self):
        assert self.library.check() == []


TestDecisions = Decisions.TestCase
TestDecisions.settings = settings(
    max_examples=int(os.environ.get("PHOTOCLUSTER_TEST_SEQUENCES", "8")),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
