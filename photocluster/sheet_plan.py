"""The contact sheet's plan: which face stands on which page, in which order, and what the files are called.

Pure: rows in, names out. `sheet_pages` writes the text of the pages, `contact_sheet` the files.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from photocluster.records import Box, FaceRow, PhotoFacts
from photocluster.thumbnails import thumbnail_key

TIGHTNESS = ((0.8, "tight"), (0.6, "fairly tight"), (0.0, "loose"))
"""Words for a cluster's mean membership probability, by fifths of the scale. For the reader: nothing is decided by
them."""

OUTLIER_GROUP = 8
"""Faces that a group needs before some of them are called outliers: quartiles of fewer say little."""

FENCE = 1.5
"""Interquartile ranges above the upper quartile from which a distance is an outlier's: Tukey's inner fence (Exploratory
Data Analysis, 1977), which one normal value in 150 passes on that side."""

BROWSER_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""Formats (`PhotoFacts.format`) that every browser of today shows; of the others the sheet holds a copy as JPEG."""

PAGE_NAME = r"(index|noise|confirm|print|cluster-\d+|person-[a-z0-9-]+)(-\d+)?\.html"
THUMBNAIL_NAME = r"faces/\d{3,}/\d+-[0-9a-f]{12}\.jpg"
PREVIEW_NAME = r"photos/[0-9a-f]{64}(-\d+)?\.jpg"
"""Regular expressions that match every name that this module gives, and few others."""


@dataclass(frozen=True, slots=True)
class SheetQuestion:
    """A suggestion that the user can confirm or reject by its number (`photocluster suggest`).

    Attributes
    ----------
    number
        For the answer.
    words
        The question as a sentence.
    faces, others
        The faces at stake, and those to compare them with, the most typical first.
    person
        Who the faces may be, or None.
    needs_name
        Whether a yes must say who it is.
    count
        Faces at stake.
    """

    number: int
    words: str
    faces: Sequence[FaceRow]
    others: Sequence[FaceRow]
    person: str | None
    needs_name: bool
    count: int


@dataclass(frozen=True, slots=True)
class NamedPlace:
    """A name that another program gave to a place of a photo where no face was found; `box` as that of a detection."""

    name: str
    box: Box


@dataclass(frozen=True, slots=True)
class Group:
    """A person, a cluster's unnamed rest, or (neither) the noise.

    Attributes
    ----------
    person, cluster
        One of them, or neither.
    rows
        The faces: by time where it is known, then by path; the outliers last, the farthest at the end.
    outliers
        Ids of the faces that lie far from the others.
    again
        Ids of the faces that a better one of the same moment stands for (a burst, say): they come after the others.
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
    outliers: frozenset[int]
    again: frozenset[int]
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
    place. `index_pages` name the pages of the index, on each of which stand `cards` people and clusters; on the others
    stand `page_size` faces, on those that ask for an answer `cards` questions.
    """

    people: Sequence[Group]
    clusters: Sequence[Group]
    noise: Group | None
    index_pages: Sequence[str]
    confirm_pages: Sequence[str]
    page_size: int
    cards: int

    @property
    def groups(self) -> list[Group]:
        """All, in the order of the index."""
        return [*self.people, *self.clusters, *([self.noise] if self.noise else [])]

    @property
    def page_names(self) -> list[str]:
        """Names of all pages."""
        return [*self.index_pages, *self.confirm_pages, *(name for group in self.groups for name in group.pages)]


def plan_pages(
    rows: Sequence[FaceRow],
    page_size: int,
    *,
    cards: int | None = None,
    questions: int = 0,
    moments: Mapping[int, int] | None = None,
) -> Plan:
    """Return which face stands on which page: `page_size` faces to a page, or `cards` people, clusters or questions.

    Faces of equal numbers in `moments`, by face, are of one moment.
    """
    cards = cards or page_size
    moments = moments or {}
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
        Group(
            name, None, *_in_order(by_person[name], moments), _names(person_stem(name), len(by_person[name]), page_size)
        )
        for name in sorted(by_person, key=lambda name: (letters(name), name))
    ]
    clusters = [
        Group(
            None,
            number,
            *_in_order(faces, moments),
            _names(f"cluster-{number}", len(faces), page_size),
            tightness=_tightness(whole_clusters[number]),
            mostly=_mostly(whole_clusters[number]),
        )
        for number, faces in sorted(by_cluster.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    noise_pages = [f"noise-{page}.html" for page in range(1, math.ceil(len(noise) / page_size) + 1)]
    return Plan(
        people,
        clusters,
        Group(None, None, noise, frozenset(), frozenset(), noise_pages) if noise else None,
        _names("index", len(people) + len(clusters), cards),
        _names("confirm", questions, cards) if questions else [],
        page_size,
        cards,
    )


def _by_time(row: FaceRow) -> tuple[bool, str, str, float, int]:
    return row.facts.captured_at is None, row.facts.captured_at or "", row.path, row.time or 0.0, row.face


def _in_order(rows: list[FaceRow], moments: Mapping[int, int]) -> tuple[list[FaceRow], frozenset[int], frozenset[int]]:
    """Return the rows, those for which another one of the moment stands behind the others, then the outliers; and both.

    The best face stands for a moment.
    """
    rows, far = _outliers_last(rows)
    best: dict[int, FaceRow] = {}
    for row in rows:
        if row.face in moments and row.face not in far:
            now = best.setdefault(moments[row.face], row)
            if (-row.quality.overall, row.face) < (-now.quality.overall, now.face):
                best[moments[row.face]] = row
    standing = {row.face for row in best.values()}
    again = frozenset(row.face for row in rows if row.face in moments and row.face not in far | standing)
    return sorted(rows, key=lambda row: (row.face in far, row.face in again)), far, again


def _outliers_last(rows: list[FaceRow]) -> tuple[list[FaceRow], frozenset[int]]:
    """Return the rows with those far from the middle of the group at the end, and the ids of these."""
    known = [row.distance for row in rows if row.distance is not None]
    if len(known) < OUTLIER_GROUP:
        return rows, frozenset()
    low, high = np.percentile(known, [25, 75])
    fence = float(high + FENCE * (high - low))
    far = sorted((row.distance, row.face) for row in rows if row.distance is not None and row.distance > fence)
    place = {face: number for number, (_, face) in enumerate(far, start=1)}
    return sorted(rows, key=lambda row: place.get(row.face, 0)), frozenset(place)


def letters(name: str) -> str:
    """Return the name for sorting: without case and accents, so that Élodie stands between Eli and Emma."""
    return "".join(mark for mark in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(mark))


def _names(stem: str, count: int, page_size: int) -> list[str]:
    """Return the names of the pages for `count` things, one at least; the first has no number."""
    return [f"{stem}.html", *(f"{stem}-{page}.html" for page in range(2, math.ceil(count / page_size) + 1))]


def person_stem(name: str) -> str:
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


def picture_key(row: FaceRow) -> str:
    """Return what tells the picture that a face was seen in: the photo, and in a video the frame (in milliseconds)."""
    return row.photo if row.time is None else f"{row.photo}-{round(row.time * 1000)}"


def preview_name(row: FaceRow) -> str:
    """Return the path that a copy of the face's whole picture has in the sheet's folder."""
    return f"photos/{picture_key(row)}.jpg"


def needs_preview(facts: PhotoFacts) -> bool:
    """Whether browsers do not show the photo's own file, or perhaps not upright: all turn a JPEG by its EXIF, only."""
    return facts.format not in BROWSER_FORMATS or (facts.orientation != 1 and facts.format != "JPEG")
