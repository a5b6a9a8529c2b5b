"""The text of the contact sheet's pages. Pure: a plan in, names and HTML out. The templates escape all they get."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photocluster.records import Box, FaceRow, PhotoFacts, Source
from photocluster.sheet_plan import (
    Group,
    NamedPlace,
    Plan,
    SheetQuestion,
    letters,
    needs_preview,
    person_stem,
    picture_key,
    preview_name,
    thumbnail_name,
)

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

STRIP = 6
"""Faces that stand for a cluster in the index."""

YEAR_SECTION = 12
"""Mean number of faces a year from which a page is divided by years; with fewer, the half-empty rows (a row has about
eight) cost more than the headings give."""

SOURCES = {Source.USER: "named by you", Source.IMPORTED: "imported", Source.PROPAGATED: "propagated"}

PRINT_PAGE = "print.html"
DATA = "sheet-data.js"
"""The list of people and clusters that the search of every page looks in: a script, as a page opened from a disk may
load no other kind of file."""

_SAFE_IN_SHELLS = re.compile(r"\w[\w .,'()+-]*")


@dataclass(frozen=True, slots=True)
class SheetFacts:
    """What the pages say of the sheet as a whole.

    Attributes
    ----------
    library_name
        The title.
    made_at
        When it was made.
    command
        What stands before the verb in the commands shown.
    unreadable
        Photo's hash -> why its faces have no thumbnail.
    previews
        Names of the copies of whole photos that are in the sheet.
    places
        Photo's hash -> names that other programs gave to places where no face was found.
    whole
        Whether all faces of the library are on it.
    """

    library_name: str
    made_at: datetime
    command: str
    unreadable: Mapping[str, str]
    previews: frozenset[str]
    places: Mapping[str, Sequence[NamedPlace]]
    whole: bool = True


def render_pages(plan: Plan, facts: SheetFacts, questions: Sequence[SheetQuestion] = ()) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every page but that for paper."""
    pages = _Pages(plan, facts, questions)
    yield from pages.index()
    yield from pages.confirm()
    yield from pages.groups()


def render_data(plan: Plan) -> str:
    """Return the script that lists people and clusters: [title, sorting key, page, faces]."""
    listed = [[_shown(g.title), _shown(letters(g.title)), g.pages[0], len(g.rows)] for g in plan.groups]
    return f"window.photoclusterSheet = {json.dumps(listed, separators=(',', ':'))};\n"


def render_print(plan: Plan, facts: SheetFacts) -> str:
    """Return one page with everybody and every face, each person from a sheet of paper's top on: for a PDF."""
    return _Pages(plan, facts, ()).print()


class _Pages:
    """What all pages are made of."""

    def __init__(self, plan: Plan, facts: SheetFacts, questions: Sequence[SheetQuestion]) -> None:
        self.plan, self.facts, self.questions = plan, facts, questions
        self.environment = _environment()
        self.page_of: dict[int, str] = {}
        self.page_of_person = {group.person: group.pages[0] for group in plan.people if group.person is not None}
        self.in_picture: dict[str, list[FaceRow]] = defaultdict(list)
        for group in plan.groups:
            for place, row in enumerate(group.rows):
                self.page_of[row.face] = group.pages[place // plan.page_size]
                self.in_picture[picture_key(row)].append(row)
        related: dict[str | None, list[Group]] = defaultdict(list)
        for group in plan.clusters:
            related[group.mostly].append(group)
        self.cards = [
            _card(group, related[group.person] if group.person is not None else [], facts) for group in plan.groups
        ]
        self.common = {
            "library": facts.library_name,
            "index_page": plan.index_pages[0],
            "clusters_link": _clusters_link(plan),
            "confirm_page": plan.confirm_pages[0] if plan.confirm_pages else None,
            "noise": plan.noise,
            "made_at": facts.made_at,
            "whole": facts.whole,
            "has_people": bool(plan.people),
        }

    def index(self) -> Iterator[tuple[str, str]]:
        """Yield the pages of the index."""
        plan = self.plan
        template = self.environment.get_template("index.html")
        rows = [row for group in plan.groups for row in group.rows]
        totals = {
            "faces": len(rows),
            "photos": len({row.photo for row in rows}),
            "people": len(plan.people),
            "clusters": len(plan.clusters),
            "questions": len(self.questions),
            "unreadable": len(self.facts.unreadable),
        }
        listed = self.cards[: len(plan.people) + len(plan.clusters)]
        for number, name in enumerate(plan.index_pages):
            part = listed[number * plan.cards : (number + 1) * plan.cards]
            yield (
                name,
                template.render(
                    self.common,
                    people=[card for card in part if card["person"] is not None],
                    clusters=[card for card in part if card["cluster"] is not None],
                    totals=totals,
                    pager=_pager(plan.index_pages, number),
                ),
            )

    def confirm(self) -> Iterator[tuple[str, str]]:
        """Yield the pages of what the user may confirm."""
        template = self.environment.get_template("confirm.html")
        for number, name in enumerate(self.plan.confirm_pages):
            part = self.questions[number * self.plan.cards : (number + 1) * self.plan.cards]
            shown = [row for question in part for row in (*question.faces, *question.others)]
            yield (
                name,
                template.render(
                    self.common,
                    questions=[self._question(question) for question in part],
                    pictures=self._pictures(shown),
                    pager=_pager(self.plan.confirm_pages, number),
                ),
            )

    def groups(self) -> Iterator[tuple[str, str]]:
        """Yield the pages of every group."""
        template = self.environment.get_template("group.html")
        for position, (group, card) in enumerate(zip(self.plan.groups, self.cards, strict=True)):
            for number, name in enumerate(group.pages):
                rows = group.rows[number * self.plan.page_size : (number + 1) * self.plan.page_size]
                yield (
                    name,
                    template.render(
                        self.common,
                        group=card,
                        sections=self._sections(rows, group),
                        pictures=self._pictures(rows),
                        before=self.cards[position - 1] if position else None,
                        after=self.cards[position + 1] if position + 1 < len(self.cards) else None,
                        pager=_pager(group.pages, number),
                    ),
                )

    def print(self) -> str:
        """Return the page for paper."""
        return self.environment.get_template("print.html").render(
            self.common,
            groups=[
                (card, self._sections(group.rows, group))
                for group, card in zip(self.plan.groups, self.cards, strict=True)
            ],
        )

    def _question(self, question: SheetQuestion) -> dict[str, Any]:
        verb = f'{question.number} --name "NAME"' if question.needs_name else f"{question.number}"
        return {
            "number": question.number,
            "words": question.words,
            "count": question.count,
            "person": question.person,
            "faces": [_face(row, self.facts) for row in question.faces],
            "others": [_face(row, self.facts) for row in question.others],
            "accept": f"{self.facts.command} accept {verb}",
            "reject": f"{self.facts.command} reject {question.number}",
        }

    def _sections(self, rows: Sequence[FaceRow], group: Group) -> list[dict[str, Any]]:
        """Return the page's faces by year, where the years are full enough for it; more of a moment; the outliers."""
        usual = [row for row in rows if row.face not in group.outliers | group.again]
        years = [
            (year or "No date", list(faces))
            for year, faces in groupby(usual, key=lambda row: (row.facts.captured_at or "")[:4])
        ]
        if len(years) <= 1 or len(usual) < len(years) * YEAR_SECTION:
            years = [("", usual)] if usual else []
        sections = [(title, False, faces) for title, faces in years]
        again = [row for row in rows if row.face in group.again]
        if again:
            sections.append(("More of the same moments", False, again))
        far = [row for row in rows if row.face in group.outliers]
        if far:
            sections.append(("Far from the others", True, far))
        return [
            {"title": title, "far": is_far, "faces": [_face(row, self.facts, far=is_far) for row in faces]}
            for title, is_far, faces in sections
        ]

    def _pictures(self, rows: Sequence[FaceRow]) -> dict[str, Any]:
        """Return what the script needs to show the whole photos of some faces, by the key of the picture."""
        first = {picture_key(row): row for row in rows}
        return {key: self._picture(row, self.in_picture.get(key) or [row]) for key, row in first.items()}

    def _picture(self, row: FaceRow, faces: Sequence[FaceRow]) -> dict[str, Any]:
        path, facts = Path(row.path), row.facts
        preview = preview_name(row)
        link = path.as_uri() if path.is_absolute() and not row.missing else None
        source = preview if preview in self.facts.previews else link
        if source == link and (needs_preview(facts) or row.time is not None):
            source = None
        return {
            "src": source,
            "link": link,
            "size": [facts.width, facts.height],
            "file": _shown(path.name),
            "path": _shown(row.path),
            "about": [text for text in (_moment(row), facts.camera, f"{facts.width:,} x {facts.height:,}") if text],
            "faces": [self._face_place(face) for face in sorted(faces, key=lambda face: face.detection.box.x0)],
            "places": [
                [None, *_relative(place.box, facts), _shown(place.name), self.page_of_person.get(place.name)]
                for place in self.facts.places.get(row.photo, ())
            ],
        }

    def _face_place(self, row: FaceRow) -> list[Any]:
        """Return [face, left, top, width, height (of the picture, 0..1), name, page]."""
        name = row.person if row.person is not None else f"Cluster {row.cluster}" if row.cluster is not None else None
        place = _relative(row.detection.box, row.facts)
        return [row.face, *place, None if name is None else _shown(name), self.page_of.get(row.face)]


def _relative(box: Box, facts: PhotoFacts) -> list[float]:
    """Return left, top, width and height of what of a box lies in the photo, 0..1."""
    x0, y0 = max(box.x0, 0.0) / facts.width, max(box.y0, 0.0) / facts.height
    x1, y1 = min(box.x1, facts.width) / facts.width, min(box.y1, facts.height) / facts.height
    return [round(value, 4) for value in (x0, y0, max(x1 - x0, 0.0), max(y1 - y0, 0.0))]


def _clusters_link(plan: Plan) -> str | None:
    """Return where the list of clusters begins: the people before it may fill pages of their own."""
    return f"{plan.index_pages[len(plan.people) // plan.cards]}#clusters" if plan.clusters else None


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("photocluster"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["breakable"] = _breakable
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "sort_keys": True}
    environment.filters["count"] = lambda number, noun: f"{number:,} {noun}{'' if number == 1 else 's'}"
    return environment


def _breakable(name: str) -> Markup:
    """Return a file's name that may be broken behind its marks, rather than anywhere."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([_.\-]+)(?=.)", r"\1<wbr>", str(escape(_shown(name)))))  # noqa: S704  escaped just here


def _shown(value: Any) -> Any:
    r"""Return text that UTF-8 can hold: bytes of a file name that are not UTF-8 as ``\xNN``."""
    if type(value) is not str:
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _card(group: Group, related: Sequence[Group], facts: SheetFacts) -> dict[str, Any]:
    """Return what the templates say of a group."""
    strip: dict[str, FaceRow] = {}  # one face of each photo
    far = group.outliers
    for row in sorted(
        group.rows, key=lambda row: (row.face in far, row.face in group.again, *_cover_order(row, facts.unreadable))
    ):
        strip.setdefault(row.photo, row)
    years = sorted({row.facts.captured_at[:4] for row in group.rows if row.facts.captured_at})
    return {
        "person": group.person,
        "cluster": group.cluster,
        "title": group.title,
        "page": group.pages[0],
        "faces": len(group.rows),
        "photos": len({row.photo for row in group.rows}),
        "moments": len(group.rows) - len(group.again) if group.again else None,
        "strip": [_face(row, facts) for row in list(strip.values())[:STRIP]],
        "years": years[:1] + years[-1:] if len(years) > 1 else years,
        "sources": [
            (count, words)
            for source, words in SOURCES.items()
            if (count := sum(r.source is source for r in group.rows))
        ],
        "tightness": group.tightness,
        "mostly": group.mostly,
        "mostly_page": f"{person_stem(group.mostly)}.html" if group.mostly is not None else None,
        "related": [(other.cluster, other.pages[0], len(other.rows)) for other in related],
        "command": f'{facts.command} label {group.cluster} "{_name_for_command(group.mostly)}"',
    }


def _name_for_command(name: str | None) -> str:
    """Return the name where it means itself between double quotes in every shell, else a word to be replaced."""
    return name if name is not None and _SAFE_IN_SHELLS.fullmatch(name) else "NAME"


def _cover_order(row: FaceRow, unreadable: Mapping[str, str]) -> tuple[bool, int, float, int]:
    """Sort faces with a picture first, then those that the user named, then by quality."""
    authority = len(Source) if row.source is None else list(Source).index(row.source)
    return row.photo in unreadable, authority, -row.quality.overall, row.face


def _face(row: FaceRow, facts: SheetFacts, *, far: bool = False) -> dict[str, Any]:
    """Return what the templates say of a face."""
    path = Path(row.path)
    reason = facts.unreadable.get(row.photo)
    return {
        "number": row.face,
        "image": thumbnail_name(row) if reason is None else "no-picture.svg",
        "reason": reason,
        "person": row.person,
        "link": path.as_uri() if path.is_absolute() else None,
        "picture": picture_key(row),
        "file": path.name or "no file",
        "path": row.path,
        "missing": row.missing,
        "taken": row.facts.captured_at,
        "date": _moment(row),
        "source": row.source.value if row.source else None,
        "source_words": SOURCES[row.source] if row.source else None,
        "distance": row.distance,
        "far": far,
    }


def _moment(row: FaceRow) -> str:
    """Return when a face was seen: the photo's date, and in a video the time from its start."""
    date = (row.facts.captured_at or "").replace("T", " ")[:16]
    if row.time is None:
        return date
    minutes, seconds = divmod(int(row.time), 60)
    return f"{date} at {minutes}:{seconds:02}".strip()


def _pager(pages: Sequence[str], here: int) -> dict[str, Any]:
    """Return the links between pages: the first, the last, and two on each side of this one; None is a gap."""
    shown = sorted({0, len(pages) - 1, *range(max(0, here - 2), min(len(pages), here + 3))})
    links: list[tuple[int, str] | None] = []
    for position, number in enumerate(shown):
        if position and number != shown[position - 1] + 1:
            links.append(None)
        links.append((number + 1, pages[number]))
    return {
        "here": here + 1,
        "of": len(pages),
        "links": links,
        "before": pages[here - 1] if here else None,
        "after": pages[here + 1] if here + 1 < len(pages) else None,
    }
