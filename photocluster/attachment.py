"""How probable it is that a face that was left over belongs to a group: Bayes' rule over all who it could be.

Pure on arrays. What is compared is the *projection* of a face on a group's direction: its mean similarity with the
group's faces over the root of the mean similarity within the group, an estimate of the cosine between the face and the
person's true centre. For a stranger it is normal around 0, whatever the face's quality; for a face of the person it is
normal around a mean that quality decides. So a blurred face needs to lie less close than a sharp one, which had every
chance to lie closer. The prior is the library's own, that of a Chinese restaurant process: a person with n photos is
met n times as often as someone who was met once, and how many faces are of people met once follows from the faces
themselves (expectation maximisation).

The probabilities of several groups compete, so a face between two people goes to neither. People who look like many
others here (a band, a family) raise the mean of strangers: what a face shares with all groups together speaks for none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from photocluster.groups import Groups, ScoreArray, among, similarities
from photocluster.judgement import within
from photocluster.records import IntArray

STRANGER_SPREAD = 0.1
"""Standard deviation of the projection of a face on another person's direction: .099 to .100 over 470,000 pairs of
LFW's and other people (kurtosis 3.0), .096 to .100 at every quality, also of faces degraded on purpose (see below)."""

QUALITIES = (0.0, 0.1, 0.3, 0.6, 1.0)
MEANS = (0.25, 0.41, 0.60, 0.74, 0.84)
SPREADS = (0.15, 0.14, 0.13, 0.11, 0.09)
"""Mean and standard deviation of the projection of a face on its own person's direction, by its quality. From 818
photos of 142 people, each made worse by reduction, blur, noise, darkness or a bar across the face, projected on the
person's other photos: all five kinds follow one curve. Photos as they are follow it too, from news (LFW, 1,017), bands
(120) and the web (117): they lie +.3, +.5 and -.3 spreads beside it."""

UNKNOWN = ((0.85, 0.80, 0.10), (0.10, 0.60, 0.14), (0.05, 0.36, 0.18))
"""(share, mean, standard deviation): the same where quality is not known, when one face in ten is middling and one in
twenty poor."""

OUTLIERS, OUTLIER_MEAN, OUTLIER_SPREAD = 0.02, 0.4, 0.2
"""Of good faces, the share that lies anywhere (masks, costumes, decades): in LFW four of 980 are below .4, where the
above expects one."""

RELATIVES, RELATIVE_MEAN, RELATIVE_SPREAD = 0.1, 0.36, 0.13
"""The share of people who have a relative among the library's people: an assumption. A cosine of .45 between two
people's centres (`examples/synthetic_album.py`) is a projection of .36."""

SAME_DAY = 2.3
"""Log-odds for the group that has another face of the same day: whoever is at an event is seen there again about ten
times as often as elsewhere."""

LEAST_SPREADS = 2.0
"""A face that lies nearer to a group's direction than this many spreads of strangers (one in forty does) may be its;
however probable the person is beforehand, a face without likeness is left alone."""

HELD = 3
"""Groups from this many points on say what people of this library have in common."""

STEPS = 20
"""Steps of expectation maximisation; from ten on nothing moves."""


@dataclass(frozen=True, slots=True, eq=False)
class Attachments:
    """The likeliest group of each left-over group: `comers` (k,), `hosts` (k,) and `probability` (k,) 0..1."""

    comers: IntArray
    hosts: IntArray
    probability: ScoreArray


def attachments(groups: Groups, pairs: IntArray, quality: ScoreArray, evidence: ScoreArray) -> Attachments:
    """Return for each left-over group how probable its likeliest host is.

    Parameters
    ----------
    groups
        As far as they have grown.
    pairs
        (k, 2): a left-over group, and one that may take it in.
    quality
        (n,) by group, 0..1, NaN where not known.
    evidence
        (k,) log-odds for each pair from elsewhere.
    """
    if not len(pairs):
        none = np.empty(0, dtype=np.int64)
        return Attachments(none, none, np.empty(0))
    comers, hosts = pairs.T
    width = within(groups, hosts)
    projection = groups.between(pairs) / np.sqrt(width)
    spread = STRANGER_SPREAD * np.sqrt(1 + (1 - width) / (width * groups.sizes[hosts]))
    # All likelihoods are relative to that of a stranger who has nothing in common with anybody.
    base = _normal(projection, 0, spread)
    own = _own(projection, quality[comers], _expected(groups, comers)) - base
    own += np.log(groups.sizes[hosts]) + evidence
    order = np.lexsort((hosts, -own, comers))
    names, first, number = np.unique(comers[order], return_index=True, return_inverse=True)
    best = order[first]
    top = own[best]
    others = np.bincount(number, np.exp(own[order] - top[number]))  # of all hosts, in units of the best one's
    strange = _stranger(groups, pairs[best], projection[best], spread[best]) - base[best]
    alone = groups.sizes == 1
    alone[names] = False
    singles = groups.sizes[names] == 1
    once = float(alone.sum() + singles.sum()) + 1
    for _ in range(STEPS):
        known = np.exp(np.minimum(top - strange - np.log(once), 500))  # the best host's odds against a stranger
        once = alone.sum() + (1 / (1 + known * others))[singles].sum() + 1
    probability = np.where(projection[best] >= LEAST_SPREADS * spread[best], known / (1 + known * others), 0)
    return Attachments(names, hosts[best], probability)


def group_means(labels: IntArray, values: ScoreArray) -> ScoreArray:
    """Return (n,) by group the mean of its faces' values (n,) that are no NaN, else NaN."""
    known = np.isfinite(values)
    count = np.bincount(labels[known], minlength=len(labels))
    total = np.bincount(labels[known], values[known], minlength=len(labels))
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), dtype=np.float64)


def _normal(x: ScoreArray, mean: ScoreArray | float, spread: ScoreArray | float) -> ScoreArray:
    """Return the logarithm of the normal density, without its constant."""
    return np.asarray(-0.5 * ((x - mean) / spread) ** 2 - np.log(spread))


def _expected(groups: Groups, comers: IntArray) -> ScoreArray:
    """Return (k,) what the projection of a group of several faces should be, 0 for a single face.

    Faces that are close to each other would be as close to their person's other faces.
    """
    result = np.zeros(len(comers))
    many = groups.sizes[comers] > 1
    result[many] = np.sqrt(within(groups, comers[many]))
    return result


def _own(projection: ScoreArray, quality: ScoreArray, expected: ScoreArray) -> ScoreArray:
    """Return the log-likelihood of the projections (k,) where the faces are the person's."""
    least = np.where(expected > 0, np.interp(expected, MEANS, QUALITIES), np.nan)
    quality = np.fmax(quality, least)
    result = np.empty(len(projection))
    blind = np.isnan(quality)
    parts = [np.log(share) + _normal(projection[blind], mean, spread) for share, mean, spread in UNKNOWN]
    result[blind] = np.logaddexp.reduce(parts)
    projection, quality = projection[~blind], quality[~blind]
    known = _normal(projection, np.interp(quality, QUALITIES, MEANS), np.interp(quality, QUALITIES, SPREADS))
    outlier = _normal(projection, OUTLIER_MEAN, OUTLIER_SPREAD)
    result[~blind] = np.logaddexp(np.log(1 - OUTLIERS) + known, np.log(OUTLIERS) + outlier)
    return result


def _stranger(groups: Groups, pairs: IntArray, projection: ScoreArray, spread: ScoreArray) -> ScoreArray:
    """Return the log-likelihood of the projections (k,) of the pairs (k, 2) where the faces are of somebody new."""
    held = np.flatnonzero(groups.sizes >= HELD)
    people = max(1, int((groups.sizes >= 2).sum()))
    usual = np.maximum(_shared(groups, pairs, held), 0) if len(held) > 1 else 0.0
    relative = np.log(RELATIVES / people) + _normal(projection, RELATIVE_MEAN, RELATIVE_SPREAD)
    return np.asarray(np.logaddexp(np.log(1 - RELATIVES / people) + _normal(projection, usual, spread), relative))


def _shared(groups: Groups, pairs: IntArray, held: IntArray) -> ScoreArray:
    """Return (k,) the projection that follows from what the face has in common with all other groups together."""
    comers, hosts = pairs.T
    known, place = among(np.concatenate([held, hosts]), len(groups.sizes))
    lengths = groups.lengths(known)
    middle = (groups.sums[held] / lengths[place[held], None]).sum(axis=0, dtype=np.float64)
    length = lengths[place[hosts]]
    place[comers] = 0
    toward = similarities(groups.sums, np.minimum(place, 0), middle[None])  # row 0 for all whose products are wanted
    inside = (groups.sizes[hosts] >= HELD).astype(np.float64)  # the host itself is none of the others
    host = toward[hosts] / length - inside
    face = toward[comers] / groups.sizes[comers]
    face -= inside * groups.between(pairs) * groups.sizes[hosts] / length
    square = middle @ middle - inside * (2 * host + 1)
    return np.asarray(np.where(square > 1e-9, host * face / np.maximum(square, 1e-9), 0))
