"""Clustering a library: run the estimator, keep the numbers stable, say what changed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photocluster.constraints import Contradiction
from photocluster.pipeline.copies import copies_of
from photocluster.pipeline.neighbours import library_graph
from photocluster.records import NOISE, IntArray, Source
from photocluster.store import ClusterInfo, Library


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterParameters:
    """Options of a run, kept with it; None stands for the estimator's own default."""

    min_cluster_size: int | None = None
    min_samples: int | None = None
    max_distance: float | None = None
    extras: bool = True

    def given(self) -> dict[str, Any]:
        """Return the parameters that differ from the defaults' stand-ins."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class ChangeKind(StrEnum):
    """What became of a cluster."""

    NEW = "new"
    GROWN = "grown"
    SHRUNK = "shrunk"
    MERGED = "merged"
    SPLIT = "split"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class ClusterChange:
    """A difference from the last run.

    `faces` is the size now (0 when gone), `before` then. `others` are the numbers that a merged cluster took in, or
    into which a split one's faces went.
    """

    kind: ChangeKind
    number: int
    faces: int
    before: int
    others: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """What a run found.

    `recall` is the share of each face's near neighbours that an approximate search found; None where it was exact.
    """

    faces: int
    noise: int
    recall: float | None
    clusters: tuple[ClusterInfo, ...]
    changes: tuple[ClusterChange, ...]
    contradictions: tuple[str, ...]


def cluster(
    library: Library,
    parameters: ClusterParameters | None = None,
    *,
    progress: Callable[[float, str], None] | None = None,
) -> ClusterReport:
    """Cluster all faces of the library and put the result in the place of the last run's.

    Names are read, as constraints, and not written.
    """
    from photocluster.clustering import NEIGHBOURS, FaceClusterer

    parameters = parameters or ClusterParameters()
    faces, photos = library.faces.photos()
    quality, captured_at = library.faces.facts()
    times = _days(captured_at)
    del captured_at  # as much memory as the quality takes twenty times
    of_video, tracks = library.faces.tracks(faces)
    embeddings = library.embeddings()
    vectors = embeddings if len(faces) == len(embeddings) else embeddings[faces]
    clusterer = FaceClusterer(**parameters.given())
    graph = None
    if parameters.extras:
        tell = progress or (lambda _share, _what: None)
        graph = library_graph(library, faces, NEIGHBOURS, progress=lambda share: tell(0.6 * share, "neighbours"))
    clusterer.fit(
        vectors,
        photos=photos,
        persons=_persons(library, faces),
        rejected=_rows_of(library.names.rejections(), faces, [0]),
        different=_rows_of(library.questions.pairs(same=False), faces, [0, 1]),
        quality=quality,
        times=times,
        copies=either(copies_of(library, faces), tracks),
        anchors=~of_video,
        graph=graph,
        progress=progress,
    )
    labels = np.asarray(clusterer.labels_, dtype=np.int64)
    before = library.clusters.members()
    numbers, new = match_numbers(labels, faces, _numbers_of(before, faces))
    numbers = library.clusters.store_run(
        parameters.given(),
        faces,
        numbers,
        new,
        np.asarray(clusterer.probabilities_, dtype=np.float32),
        np.asarray(clusterer.outlier_scores_, dtype=np.float32),
    )
    return ClusterReport(
        faces=len(faces),
        noise=int((labels == NOISE).sum()),
        recall=None if graph is None else graph.near_recall,
        clusters=tuple(library.clusters.infos()),
        changes=tuple(describe_changes(before, (faces, numbers))) if len(before[0]) else (),
        contradictions=tuple(_explain(library, faces, found) for found in clusterer.contradictions_),
    )


def _persons(library: Library, faces: IntArray) -> IntArray:
    """Return the person (n,) that the user or an import gave each face, -1 where nobody did.

    Faces without a name that the user said to be one person get a number of their own, above all persons.
    """
    said = {face: a.person for face, a in library.names.assignments().items() if a.source is not Source.PROPAGATED}
    unnamed = joined(
        [pair for pair in library.questions.pairs(same=True) if not said.keys() & set(pair)],
        start=max(said.values(), default=0) + 1,
    )
    return np.array([said.get(face, unnamed.get(face, -1)) for face in faces.tolist()], dtype=np.int64)


def joined(pairs: Sequence[tuple[int, int]], *, start: int = 0) -> dict[int, int]:
    """Return face -> number of the group that the pairs join it to, numbered from `start`."""
    group: dict[int, set[int]] = {}
    for pair in pairs:
        union = set().union(*(group.get(face, {face}) for face in pair))
        group.update(dict.fromkeys(union, union))
    numbers: dict[int, int] = {}
    for face in sorted(group):
        if face not in numbers:
            number = start + len(set(numbers.values()))
            numbers.update(dict.fromkeys(group[face], number))
    return numbers


def either(one: IntArray, other: IntArray) -> IntArray:
    """Return a number (n,) for the faces that one of two numberings (n,) puts together, -1 where neither says a word.

    A number below 0 says nothing. Faces that are together by way of others are together.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    known = np.flatnonzero((one >= 0) | (other >= 0))
    result = np.full(len(one), -1, dtype=np.int64)
    ends = [(np.flatnonzero(numbers >= 0), numbers[numbers >= 0]) for numbers in (one, other)]
    first = np.cumsum([len(one), *(int(numbers.max(initial=-1)) + 1 for _, numbers in ends)])
    rows = np.concatenate([faces for faces, _ in ends])
    columns = np.concatenate([start + numbers for start, (_, numbers) in zip(first[:2], ends, strict=True)])
    joins = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(first[-1], first[-1]))
    result[known] = connected_components(joins, directed=False)[1][known]
    return result


def _days(captured_at: list[str | None]) -> NDArray[np.float64]:
    """Return capture times (n,) float64 in days since 1970, NaN where they are not known.

    They are the camera's local time, without a zone; so is this, whatever zone the computer is in.
    """
    # What NumPy does not know is the zone, which the first 19 characters, up to the second, leave out.
    moments = np.array(["NaT" if at is None else at[:19] for at in captured_at], dtype="datetime64[s]")
    days = moments.astype(np.int64) / 86_400
    days[np.isnat(moments)] = np.nan
    return days


def _explain(library: Library, faces: IntArray, found: Contradiction) -> str:
    """Return a contradiction among the user's words as a sentence."""
    name = {info.id: info.name for info in library.names.persons()}.get(found.person, "")
    return f"{found.kind.value}: {name} ({', '.join(f'f{faces[row]}' for row in found.faces)})"


def match_numbers(labels: IntArray, faces: IntArray, old: IntArray) -> tuple[IntArray, int]:
    """Give the clusters of a new run the numbers of the old ones that they overlap most.

    Overlaps are dealt with from the largest down (ties: the lower old number, then the lower new face), each old number
    and each new cluster once. New clusters without a number are ordered by falling size.

    Parameters
    ----------
    labels
        (n,) int64 the new run's, -1 for noise.
    faces
        (n,) int64 ids, ascending.
    old
        (n,) int64 the number of each one's cluster before, -1 where there was none.

    Returns
    -------
    Per face (n,) int64 the old number, -1 for noise, or -2 - i for the i-th new cluster; and how many new clusters
    there are.
    """
    rows = np.flatnonzero(labels != NOISE)
    known, start, place, size = np.unique(labels[rows], return_index=True, return_inverse=True, return_counts=True)
    first = faces[rows[start]]
    both = old[rows] >= 0
    pairs, overlap = _counted(place[both], old[rows[both]])
    numbers = np.full(len(known), NOISE, dtype=np.int64)
    taken: set[int] = set()
    for number, which in pairs[np.lexsort((first[pairs[:, 0]], pairs[:, 1], -overlap))][:, ::-1].tolist():
        if numbers[which] == NOISE and number not in taken:
            numbers[which] = number
            taken.add(number)
    fresh = np.lexsort((first, -size))
    fresh = fresh[numbers[fresh] == NOISE]
    numbers[fresh] = -2 - np.arange(len(fresh))
    result = np.full(len(labels), NOISE, dtype=np.int64)
    result[rows] = numbers[place]
    return result, len(fresh)


Members = tuple[IntArray, IntArray]
"""Faces (n,) int64, ascending, and the number of each one's cluster (n,) int64, -1 for noise."""


def _numbers_of(members: Members, faces: IntArray) -> IntArray:
    """Return the cluster number of each face (k,) int64, -1 where there is none."""
    known, numbers = members
    result = np.full(len(faces), NOISE, dtype=np.int64)
    if len(known):
        place = np.searchsorted(known, faces).clip(max=len(known) - 1)
        found = known[place] == faces
        result[found] = numbers[place[found]]
    return result


def _rows_of(pairs: Sequence[tuple[int, int]], faces: IntArray, columns: list[int]) -> IntArray:
    """Return pairs (m, 2) int64 with the rows in `faces` in place of the faces of some columns, if they are there."""
    result = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    result = result[np.isin(result[:, columns], faces).all(axis=1)]
    result[:, columns] = np.searchsorted(faces, result[:, columns])
    return result


def _counted(left: IntArray, right: IntArray) -> tuple[IntArray, IntArray]:
    """Return the different pairs (k, 2) of two columns of numbers, ascending, and how many there are of each."""
    span = int(right.max(initial=0)) + 1
    keys, counts = np.unique(left * span + right, return_counts=True)
    return np.stack([keys // span, keys % span], axis=1), counts


def describe_changes(before: Members, after: Members) -> list[ClusterChange]:
    """Return what became of each cluster, by number; clusters with the same faces are not listed."""
    faces = np.union1d(before[0], after[0])
    old, new = _numbers_of(before, faces), _numbers_of(after, faces)
    old_size, new_size = (Counter(column[column >= 0].tolist()) for column in (old, new))
    differ = old != new
    moved = set(old[differ].tolist()) | set(new[differ].tolist())
    moved.discard(NOISE)
    came_from: defaultdict[int, Counter[int]] = defaultdict(Counter)
    went_to: defaultdict[int, Counter[int]] = defaultdict(Counter)
    stayed = (old >= 0) & (new >= 0)
    pairs, counts = _counted(old[stayed], new[stayed])
    for (o, n), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        came_from[n][o] = count
        went_to[o][n] = count
    changes = []
    for number in sorted(moved):
        size, was = new_size[number], old_size[number]
        taken_in = tuple(sorted(o for o, n in came_from[number].items() if o != number and 2 * n > old_size[o]))
        parts = tuple(sorted(n for n, count in went_to[number].items() if n != number and 2 * count > new_size[n]))
        if not size:
            others = tuple(sorted(went_to[number]))
            changes.append(ClusterChange(ChangeKind.GONE, number, 0, was, others))
        elif not was:
            changes.append(ClusterChange(ChangeKind.NEW, number, size, 0, tuple(sorted(came_from[number]))))
        elif taken_in:
            changes.append(ClusterChange(ChangeKind.MERGED, number, size, was, taken_in))
        elif parts:
            changes.append(ClusterChange(ChangeKind.SPLIT, number, size, was, parts))
        else:
            changes.append(ClusterChange(ChangeKind.GROWN if size >= was else ChangeKind.SHRUNK, number, size, was))
    return changes
