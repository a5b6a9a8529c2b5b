"""The contact sheet's pages: which face stands on which page, in which order, and the text of the pages.

Pure: rows in, names and HTML out; `contact_sheet` writes them. The templates escape all that they are given.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photocluster.records import FaceRow, Source
from photocluster.thumbnails import thumbnail_key

if TYPE_CHECKING:
    from jinja2 import Environment

STRIP = 6
"""Faces that stand for a cluster in the index."""

TIGHTNESS = ((0.8, "tight"), (0.6, "fairly tight"), (0.0, "loose"))
"""Words for a cluster's mean membership probability, by fifths of the scale. For the reader: nothing is decided by
them."""

YEAR_SECTION = 12
"""Mean number of faces a year from which a page is divided by years; with fewer, the half-empty rows (a row has about
eight) cost more than the headings give."""

SOURCES = {Source.USER: "named by you", Source.IMPORTED: "imported", Source.PROPAGATED: "propagated"}

PAGE_NAME = r"(index|noise|cluster-\d+|person-[a-z0-9-]+)(-\d+)?\.html"
THUMBNAIL_NAME = r"faces/\d{3,}/\d+-[0-9a-f]{12}\.jpg"
"""Regular expressions that match every name that this module gives, and few others."""

_SAFE_IN_SHELLS = re.compile(r"\w[\w .,'()+-]*")


@dataclass(frozen=True, slots=True)
class Group:
    """A person, a cluster's unnamed rest, or (neither) the noise.

    Attributes
    ----------
    person, cluster
        One of them, or neither.
    rows
        The faces, by time where it is known, then by path.
    pages
        Names of the pages that show them, one at least.
    tightness
        Of a cluster, in words; None where it is not known.
    mostly
        The name that half or more of a cluster's faces carry, if there is one.
    """

    person: str | None
    cluster: int | None
    rows: Sequence[FaceRow]
    pages: Sequence[str]
    tightness: str | None = None
    mostly: str | None = None

    @property
    def title(self) -> str:
        """What stands at the head of its pages."""
        if self.person is not None:
            return self.person
        return "Faces in no cluster" if self.cluster is None else f"Cluster {self.cluster}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Which face stands on which page.

    `people` are sorted A to Z, `clusters` by falling number of unnamed faces; `noise` is None where every face has a
    place. `index_pages` name the pages of the index, on each of which stand `page_size` people and clusters.
    """

    people: Sequence[Group]
    clusters: Sequence[Group]
    noise: Group | None
    index_pages: Sequence[str]
    page_size: int

    @property
    def groups(self) -> list[Group]:
        """All, in the order of the index."""
        return [*self.people, *self.clusters, *([self.noise] if self.noise else [])]

    @property
    def page_names(self) -> list[str]:
        """Names of all pages."""
        return [*self.index_pages, *(name for group in self.groups for name in group.pages)]


@dataclass(frozen=True, slots=True)
class SheetFacts:
    """What the pages say of the sheet as a whole.

    `label_command` is what stands before a cluster's number in the commands shown.
    """

    library_name: str
    made_at: datetime
    label_command: str


def plan_pages(rows: Sequence[FaceRow], page_size: int) -> Plan:
    """Return which face stands on which page, `page_size` to a page."""
    by_person: dict[str, list[FaceRow]] = defaultdict(list)
    by_cluster: dict[int, list[FaceRow]] = defaultdict(list)
    whole_clusters: dict[int, list[FaceRow]] = defaultdict(list)
    noise = []
    for row in sorted(rows, key=_by_time):
        if row.cluster is not None:
            whole_clusters[row.cluster].append(row)
        if row.person is not None:
            by_person[row.person].append(row)
        elif row.cluster is not None:
            by_cluster[row.cluster].append(row)
        else:
            noise.append(row)
    people = [
        Group(name, None, by_person[name], _page_names(_person_stem(name), len(by_person[name]), page_size))
        for name in sorted(by_person, key=lambda name: (_letters(name), name))
    ]
    clusters = [
        Group(
            None,
            number,
            faces,
            _page_names(f"cluster-{number}", len(faces), page_size),
            tightness=_tightness(whole_clusters[number]),
            mostly=_mostly(whole_clusters[number]),
        )
        for number, faces in sorted(by_cluster.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    noise_pages = [f"noise-{page}.html" for page in range(1, math.ceil(len(noise) / page_size) + 1)]
    return Plan(
        people,
        clusters,
        Group(None, None, noise, noise_pages) if noise else None,
        _page_names("index", len(people) + len(clusters), page_size),
        page_size,
    )


def _by_time(row: FaceRow) -> tuple[bool, str, str, int]:
    return row.facts.captured_at is None, row.facts.captured_at or "", row.path, row.face


def _letters(name: str) -> str:
    """Return the name for sorting: without case and accents, so that Élodie stands between Eli and Emma."""
    return "".join(mark for mark in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(mark))


def _page_names(stem: str, count: int, page_size: int) -> list[str]:
    """Return the names of the pages for `count` things, one at least; the first has no number."""
    return [f"{stem}.html", *(f"{stem}-{page}.html" for page in range(2, math.ceil(count / page_size) + 1))]


def _person_stem(name: str) -> str:
    """Return a page's name without suffix: ASCII, lower case, short, and of no two persons the same."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name)[:40].strip("-")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"person-{slug}-{digest}" if slug else f"person-{digest}"


def _tightness(rows: Sequence[FaceRow]) -> str | None:
    known = [row.probability for row in rows if row.probability is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    return next(word for least, word in TIGHTNESS if mean >= least)


def _mostly(rows: Sequence[FaceRow]) -> str | None:
    """Return the name that half or more of a cluster's faces carry, if there is one."""
    names = Counter(row.person for row in rows if row.person is not None)
    name, count = max(names.items(), key=lambda item: (item[1], item[0]), default=("", 0))
    return name if count and 2 * count >= len(rows) else None


def thumbnail_name(row: FaceRow) -> str:
    """Return the path of a face's thumbnail in the sheet's folder."""
    return f"faces/{row.face // 1000:03d}/{row.face}-{thumbnail_key(row)}.jpg"


def render_pages(plan: Plan, facts: SheetFacts, unreadable: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every page.

    Parameters
    ----------
    plan
        From `plan_pages`.
    facts
        What holds for all pages.
    unreadable
        Photo's hash -> why its faces have no thumbnail.
    """
    environment = _environment()
    common = {
        "library": facts.library_name,
        "index_page": plan.index_pages[0],
        "clusters_link": _clusters_link(plan),
        "noise": plan.noise,
    }
    related: dict[str | None, list[Group]] = defaultdict(list)
    for group in plan.clusters:
        related[group.mostly].append(group)
    cards = [
        _card(group, related[group.person] if group.person is not None else [], unreadable, facts.label_command)
        for group in plan.groups
    ]
    yield from _render_index(environment, plan, facts, common, cards, len(unreadable))
    template = environment.get_template("group.html")
    for position, (group, card) in enumerate(zip(plan.groups, cards, strict=True)):
        for number, name in enumerate(group.pages):
            rows = group.rows[number * plan.page_size : (number + 1) * plan.page_size]
            yield (
                name,
                template.render(
                    common,
                    group=card,
                    years=_by_year(rows, unreadable),
                    before=cards[position - 1] if position else None,
                    after=cards[position + 1] if position + 1 < len(cards) else None,
                    pager=_pager(group.pages, number),
                ),
            )


def _render_index(
    environment: Environment,
    plan: Plan,
    facts: SheetFacts,
    common: Mapping[str, Any],
    cards: Sequence[Mapping[str, Any]],
    unreadable: int,
) -> Iterator[tuple[str, str]]:
    template = environment.get_template("index.html")
    rows = [row for group in plan.groups for row in group.rows]
    totals = {
        "faces": len(rows),
        "photos": len({row.photo for row in rows}),
        "people": len(plan.people),
        "clusters": len(plan.clusters),
        "unreadable": unreadable,
    }
    listed = cards[: len(plan.people) + len(plan.clusters)]
    for number, name in enumerate(plan.index_pages):
        part = listed[number * plan.page_size : (number + 1) * plan.page_size]
        yield (
            name,
            template.render(
                common,
                made_at=facts.made_at,
                people=[card for card in part if card["person"] is not None],
                clusters=[card for card in part if card["cluster"] is not None],
                totals=totals,
                pager=_pager(plan.index_pages, number),
            ),
        )


def _clusters_link(plan: Plan) -> str | None:
    """Return where the list of clusters begins: the people before it may fill pages of their own."""
    return f"{plan.index_pages[len(plan.people) // plan.page_size]}#clusters" if plan.clusters else None


def _by_year(rows: Sequence[FaceRow], unreadable: Mapping[str, str]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return heading and faces: by year where the years are full enough for it, else all under no heading."""
    years = groupby(rows, key=lambda row: (row.facts.captured_at or "")[:4])
    sections = [(year or "No date", [_face(row, unreadable) for row in faces]) for year, faces in years]
    if len(sections) > 1 and len(rows) >= len(sections) * YEAR_SECTION:
        return sections
    return [("", [face for _, faces in sections for face in faces])]


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
    environment.filters["count"] = lambda number, noun: f"{number:,} {noun}{'' if number == 1 else 's'}"
    return environment


def _shown(value: Any) -> Any:
    r"""Return text that UTF-8 can hold: bytes of a file name that are not UTF-8 as ``\xNN``."""
    if type(value) is not str:
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _card(group: Group, related: Sequence[Group], unreadable: Mapping[str, str], label_command: str) -> dict[str, Any]:
    """Return what the templates say of a group."""
    strip: dict[str, FaceRow] = {}  # one face of each photo
    for row in sorted(group.rows, key=lambda row: _cover_order(row, unreadable)):
        strip.setdefault(row.photo, row)
    years = sorted({row.facts.captured_at[:4] for row in group.rows if row.facts.captured_at})
    return {
        "person": group.person,
        "cluster": group.cluster,
        "title": group.title,
        "page": group.pages[0],
        "faces": len(group.rows),
        "photos": len({row.photo for row in group.rows}),
        "strip": [_face(row, unreadable) for row in list(strip.values())[:STRIP]],
        "years": years[:1] + years[-1:] if len(years) > 1 else years,
        "sources": [
            (count, words)
            for source, words in SOURCES.items()
            if (count := sum(r.source is source for r in group.rows))
        ],
        "tightness": group.tightness,
        "mostly": group.mostly,
        "mostly_page": f"{_person_stem(group.mostly)}.html" if group.mostly is not None else None,
        "related": [(other.cluster, other.pages[0], len(other.rows)) for other in related],
        "command": f'{label_command} {group.cluster} "{_name_for_command(group.mostly)}"',
    }


def _name_for_command(name: str | None) -> str:
    """Return the name where it means itself between double quotes in every shell, else a word to be replaced."""
    return name if name is not None and _SAFE_IN_SHELLS.fullmatch(name) else "NAME"


def _cover_order(row: FaceRow, unreadable: Mapping[str, str]) -> tuple[bool, int, float, int]:
    """Sort faces with a picture first, then those that the user named, then by quality."""
    authority = len(Source) if row.source is None else list(Source).index(row.source)
    return row.photo in unreadable, authority, -row.quality.overall, row.face


def _face(row: FaceRow, unreadable: Mapping[str, str]) -> dict[str, Any]:
    """Return what the templates say of a face."""
    path = Path(row.path)
    reason = unreadable.get(row.photo)
    taken = row.facts.captured_at
    return {
        "number": row.face,
        "image": thumbnail_name(row) if reason is None else "no-picture.svg",
        "reason": reason,
        "person": row.person,
        "link": path.as_uri() if path.is_absolute() else None,
        "file": path.name or "no file",
        "path": row.path,
        "missing": row.missing,
        "taken": taken,
        "date": taken.replace("T", " ")[:16] if taken else None,
        "source": row.source.value if row.source else None,
        "source_words": SOURCES[row.source] if row.source else None,
        "distance": row.distance,
    }


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
