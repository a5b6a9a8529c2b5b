"""Near-duplicate photos, and the faces that are the same face of the same moment in them: one piece of evidence.

Two photos are near-duplicates when few bits of their perceptual hashes differ and nothing speaks against it: another
shape, another time, other faces; or when they are next to each other in a burst, as the camera says. How few, the
figures at the constants say (examples/measure_near_duplicates.py, on 105 real photos, each changed in twelve ways, and
on the 2.5 million pairs of 2,228 different photos, most of them news portraits cut out alike).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photocluster.calibration import FLOOR
from photocluster.identification import VERIFICATION_THRESHOLD
from photocluster.perceptual import MAX_RADIUS, bits_apart, near_pairs
from photocluster.pipeline.carrying import SAME_FACE_DISTANCE, SAME_PLACE_IOU
from photocluster.records import FloatArray, IntArray
from photocluster.store import Library
from photocluster.store.moments import Looks, Places

SURE_BITS = 4
"""Bits that may differ where neither time nor faces say that two photos are one. Copies at half and a quarter of the
size, strongly compressed, darker, grey or in warmer colours are within 4 bits in 99 of 100 cases, and no pair of
different photos was; extrapolated from the counts at 8 to 14 bits, one in ten million is."""

LIKELY_BITS = 6
"""Bits that may differ where the same faces are in both. Copies that are brighter by a third, or cut by 1 % at each
edge, are within 6 bits in 97 of 100 cases; no pair of different photos was."""

BURST_BITS = 12
"""Bits that may differ of two photos taken within `BURST_SECONDS`. Cut by 2.5 % at each edge, as when the camera or
those before it move a little, photos are within 12 bits in 99 of 100 cases, under a label in 98; one in 20,000 pairs
of different photos is."""

BURST_SECONDS = 2.0
"""Seconds between two photos of a burst, at the most: those of cameras and phones take 3 to 20 photos a second, and a
time in EXIF is that of the whole second. Photos taken at other times than that are never near-duplicates, however alike
they are: passport photos, a studio, a view from a window."""

BURST_NEXT = 8
"""Photos taken next after each that it is compared with, whatever their hashes: enough to hold a burst together."""

BURST_LASTS = 60.0
"""Seconds between two photos that are next to each other in a burst, as the camera or their names say: of a burst of
many often a few are kept."""

BURST_PLACE = 0.25
"""Distance of the centres of two boxes, as a share of the picture's width and height, up to which the faces may be one
in such a pair of photos: people move in a burst, that is what it is for. It says little by itself, as the faces must be
very near, too (`calibration.FLOOR`), and each the nearest to the other."""

SHAPE = 0.05
"""Relative difference of the ratios of width and height: cutting off 2.5 % at both ends of one side makes as much."""

NEAR_PLACE = 0.1
"""Distance of the centres of two boxes, as a share of the picture's width and height, up to which they are in about the
same place: a cut of 5 % at each edge moves what is at the edge by as much."""


MANY = 10_000
"""With more faces than this, all photos are compared: to ask for those of so many faces takes longer."""


@dataclass(frozen=True, slots=True, eq=False)
class NearPhotos:
    """Pairs of near-duplicates and the faces that are the same in both.

    Attributes
    ----------
    photos
        (m, 2) int64: pairs of photo ids.
    bits
        (m,) int64: in how many bits their hashes differ.
    bursts
        (m,) bool: whether they are of one burst, as the camera or their names say.
    faces
        (k, 2) int64: pairs of face ids.
    """

    photos: IntArray
    bits: IntArray
    bursts: NDArray[np.bool_]
    faces: IntArray


def near_photos(library: Library, faces: Collection[int] | None = None, *, bursts_only: bool = False) -> NearPhotos:
    """Return the near-duplicates among the photos that stand for themselves, or among those that show some faces.

    With `bursts_only`, only those that were taken one after the other: less work.
    """
    looks = library.moments.looks(faces)
    pairs, bits = _candidates(looks, bursts_only=bursts_only)
    photos = looks.photos[pairs]
    places = library.moments.places(np.unique(photos).tolist())
    sure = bits <= SURE_BITS
    burst = _of_one_burst(looks, pairs)
    same, shown = _same_faces(library.embeddings(), places, photos, sure, burst)
    alike = np.zeros(len(pairs), dtype=bool)
    alike[same[:, 0]] = True
    timed = np.isfinite(looks.seconds[pairs]).all(axis=1)
    near = burst | alike | (sure & (shown == 0).any(axis=1)) | (timed & (sure | (shown == 0).all(axis=1)))
    return NearPhotos(photos[near], bits[near], burst[near], same[near[same[:, 0]], 1:])


def copies_of(library: Library, faces: IntArray) -> IntArray:
    """Return a number (n,) int64 for each of `faces` (n,): faces of equal numbers >= 0 are one face of one moment.

    -1 says nothing. Faces of photos without a perceptual hash, which an older version scanned, are of no group.
    """
    return _groups(near_photos(library, None if len(faces) > MANY else faces.tolist()).faces, faces)


def moments_of(library: Library, faces: IntArray) -> IntArray:
    """Return a number (n,) int64 for each of `faces` (n,): equal ones >= 0 are of one moment, as in `copies_of`.

    Here also the faces of one track of a video are; -1 is a moment of its own.
    """
    near = near_photos(library, faces.tolist()).faces
    return _groups(np.concatenate([near, _tracked(library, faces)]), faces)


def without_copies(library: Library, said: Mapping[int, int]) -> dict[int, int]:
    """Return face -> person with one face of each person and moment, the best one: copies are no further evidence.

    Nor are the faces of one track of a video.
    """
    faces = np.array(list(said), dtype=np.int64)
    number = moments_of(library, faces)
    (copied,) = np.nonzero(number >= 0)
    quality = library.moments.quality(faces[copied].tolist())
    best: dict[tuple[int, int], int] = {}
    for face, group in zip(faces[copied].tolist(), number[copied].tolist(), strict=True):
        now = best.setdefault((group, said[face]), face)
        if (-quality[face], face) < (-quality[now], now):
            best[group, said[face]] = face
    dropped = set(faces[copied].tolist()) - set(best.values())
    return {face: person for face, person in said.items() if face not in dropped}


def _tracked(library: Library, faces: IntArray) -> IntArray:
    """Return pairs (m, 2) of faces that hold the tracks of videos together."""
    _, tracks = library.faces.tracks(faces)
    order = np.argsort(tracks, kind="stable")
    same = (tracks[order[1:]] == tracks[order[:-1]]) & (tracks[order[1:]] >= 0)
    return np.stack([faces[order[:-1][same]], faces[order[1:][same]]], axis=1)


def _groups(pairs: IntArray, faces: IntArray) -> IntArray:
    """Return the number (n,) of the group that pairs (m, 2) of faces put each of `faces` (n,) into, -1 for no pair."""
    number = np.full(len(faces), -1, dtype=np.int64)
    if not len(pairs) or not len(faces):
        return number
    order = np.argsort(faces)
    rows = order[np.searchsorted(faces[order], pairs).clip(max=len(faces) - 1)]
    rows = rows[(faces[rows] == pairs).all(axis=1)]
    held = np.unique(rows)
    number[held] = components(rows, len(faces))[held]
    return number


def components(pairs: IntArray, count: int) -> IntArray:
    """Return the number (n,) int64 of the group that pairs (m, 2) of rows put each of `count` rows into."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joins = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(joins, directed=False)[1], dtype=np.int64)


def _candidates(looks: Looks, *, bursts_only: bool) -> tuple[IntArray, IntArray]:
    """Return the pairs (m, 2) of rows that hash, shape and time allow, and the bits (m,) in which they differ."""
    count = len(looks.photos)
    found = [np.empty((0, 2), dtype=np.int64)]
    if not bursts_only:
        found.append(near_pairs(looks.hashes, min(LIKELY_BITS, MAX_RADIUS)))
    for step in range(1, BURST_NEXT + 1):  # the rows are in the order of time
        first = np.arange(max(count - step, 0))
        close = looks.seconds[first + step] - looks.seconds[first] <= BURST_SECONDS
        found.append(np.stack([first[close], first[close] + step], axis=1))
    in_bursts = np.argsort(looks.bursts, kind="stable")  # within each in the order of time
    for step in range(1, BURST_NEXT + 1):
        found.append(np.sort(np.stack([in_bursts[:-step], in_bursts[step:]], axis=1), axis=1))
        found[-1] = found[-1][_of_one_burst(looks, found[-1])]
    pairs = np.unique(np.concatenate(found), axis=0)
    bits = bits_apart(looks.hashes[pairs[:, 0]], looks.hashes[pairs[:, 1]])
    shape = np.log(looks.sizes[:, 0] / looks.sizes[:, 1])
    apart = np.abs(np.diff(looks.seconds[pairs], axis=1)[:, 0])
    fit = np.abs(np.diff(shape[pairs], axis=1)[:, 0]) <= SHAPE
    fit &= np.where(np.isnan(apart), bits <= LIKELY_BITS, (apart <= BURST_SECONDS) & (bits <= BURST_BITS))
    fit |= _of_one_burst(looks, pairs)
    return pairs[fit], bits[fit]


def _of_one_burst(looks: Looks, pairs: IntArray) -> NDArray[np.bool_]:
    """Return whether the photos of pairs (m, 2) of rows are of one burst, as the camera or their names say."""
    numbers = looks.bursts[pairs]
    apart = np.abs(np.diff(looks.seconds[pairs], axis=1)[:, 0])
    return np.asarray((numbers[:, 0] == numbers[:, 1]) & (numbers[:, 0] >= 0) & ~(apart > BURST_LASTS))


def _same_faces(
    embeddings: FloatArray, places: Places, pairs: IntArray, sure: NDArray[np.bool_], burst: NDArray[np.bool_]
) -> tuple[IntArray, IntArray]:
    """Return (pair, face, face) of the same faces in pairs of photos, and how many faces (m, 2) the photos show.

    Faces are the same if they are very near and in about the same place, or in the very same place and may be one
    person; in pairs (m,) that are `sure`, as far as one person's faces ever are from each other: a small copy has poor
    faces. In pairs of one `burst` (m,) they may have moved.
    """
    start = np.searchsorted(places.photos, pairs)
    shown = np.searchsorted(places.photos, pairs, side="right") - start
    combinations = shown[:, 0] * shown[:, 1]
    pair = np.repeat(np.arange(len(pairs)), combinations)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(combinations) - combinations, combinations)
    a = start[pair, 0] + within // shown[pair, 1]
    b = start[pair, 1] + within % shown[pair, 1]
    distance = np.empty(len(pair), dtype=np.float32)
    for first in range(0, len(pair), 1 << 16):
        part = slice(first, first + (1 << 16))
        apart = embeddings[places.faces[a[part]]] - embeddings[places.faces[b[part]]]
        distance[part] = np.linalg.norm(apart, axis=1)
    overlap, offset = _overlap(places.boxes[a], places.boxes[b])
    limit = np.where(sure[pair], VERIFICATION_THRESHOLD, FLOOR)
    same = (distance < SAME_FACE_DISTANCE) & (offset <= NEAR_PLACE) | (distance < limit) & (overlap > SAME_PLACE_IOU)
    same |= burst[pair] & (distance < FLOOR) & (offset <= BURST_PLACE)
    same &= ~burst[pair] | _nearest(pair, a, distance) & _nearest(pair, b, distance)
    return np.stack([pair[same], places.faces[a[same]], places.faces[b[same]]], axis=1), shown


def _nearest(pair: IntArray, face: IntArray, distance: FloatArray) -> NDArray[np.bool_]:
    """Return which of n combinations are the nearest one of their face (n,) in their pair (n,) of photos."""
    nearest = np.zeros(len(pair), dtype=np.bool_)
    order = np.lexsort((distance, face, pair))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(pair[order]) != 0) | (np.diff(face[order]) != 0)
    nearest[order[first]] = True
    return nearest


def _overlap(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return intersection over union (n,) of boxes (n, 4), and the larger (n,) of their centres' offsets in x and y."""
    inner = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.where((inner > 0).all(axis=1), inner.prod(axis=1), 0.0)
    whole = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1)
    centres = np.abs((a[:, :2] + a[:, 2:]) - (b[:, :2] + b[:, 2:])) / 2
    return np.asarray(shared / (whole - shared)), np.asarray(centres.max(axis=1, initial=0.0))
