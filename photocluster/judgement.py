"""The judgement of whole groups: whether two groups of faces are one person.

Pure on arrays. Two measures decide, both made of mean similarities (cosines), which `groups.Groups` keeps:

- The *ratio*: the mean similarity between the two groups over the geometric mean of those within them. It estimates the
  cosine between the two people's true centres, freed of the scatter of their single photos, so one threshold serves
  people whose photos lie close together and people whose photos do not. What is within a small group is hardly known;
  it is shrunk towards the model's average.
- The *contrast*: how far the ratio stands out from the background, which is what the groups' next neighbours reach.
  Among thousands of strangers some come close by chance, and in a band of look-alikes all do: both raise the
  background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from photocluster.groups import Groups, ScoreArray
from photocluster.records import IntArray

USUAL_WITHIN = 0.6
"""Mean similarity of two photos of one person. SFace, mean subtracted: .65 over LFW's people, .56 among twelve singers
who look alike, .48 in web photos of five actors over decades; .55 to .65 make no odds."""

USUAL_WEIGHT = 3.0
"""How many further photos of a person outweigh `USUAL_WITHIN`; 2 to 6 make no odds."""

BACKGROUND_RANKS = slice(2, 10)
"""The neighbours of a group that make its background, nearest first: the first two may well be the same person."""

MOST_BACKGROUND = 0.65
"""The ratio from which two groups are one person (`FaceClusterer.min_ratio`) is the most that counts as background:
people who look alike do not reach it. More is reached by pieces of one person, of whom a wide one with thousands of
photos has dozens at first; they shall not keep each other from the rest."""

RATIO_STEPS = 1 << 19
"""Ratios in the background are rounded to one in half a million."""

SMALL_GROUP_CONTRAST = 0.06
"""How much more a ratio must stand out for each group that is a single point, half of it for each group of two, and so
on: the ratio of strangers scatters by 0.15 between two points, by 0.12 between a point and many, by 0.1 between
many."""


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """What a group's neighbours reach: `levels` (n,) float64 by group, as a ratio."""

    levels: ScoreArray

    def contrast(self, groups: Groups, pairs: IntArray, ratio: ScoreArray) -> ScoreArray:
        """Return (k,) how far each pair's ratio stands out: 0 as near as the neighbours, 1 as near as can be.

        Less a little for small groups, whose ratio may be great by chance.
        """
        one, other = groups.whole(pairs).T
        level = (self.levels[one] + self.levels[other]) / 2
        left, right = pairs.T
        chance = SMALL_GROUP_CONTRAST * (1 / groups.sizes[left] + 1 / groups.sizes[right])
        return np.asarray((ratio - level) / (1 - level) - chance)


def ratio(groups: Groups, pairs: IntArray) -> ScoreArray:
    """Return (k,) the similarity between the groups of each pair (k, 2), relative to that within them."""
    n = len(groups.sizes)
    asked = np.zeros(n, dtype=bool)
    asked[pairs] = True
    names = np.flatnonzero(asked)
    spread = np.ones(n)
    spread[names] = np.sqrt(within(groups, names))
    return np.asarray(groups.between(pairs) / (spread[pairs[:, 0]] * spread[pairs[:, 1]]))


def within(groups: Groups, names: IntArray) -> ScoreArray:
    """Return (k,) the mean similarity within groups, shrunk towards the usual one; above 0."""
    known = groups.sizes[names] - 1.0
    mean = (USUAL_WEIGHT * USUAL_WITHIN + known * groups.within(names)) / (USUAL_WEIGHT + known)
    return np.asarray(np.maximum(mean, 0.1))  # people whom the user put together may have next to nothing in common


def background(pairs: IntArray, ratios: ScoreArray, n: int) -> Background:
    """Return the background of n groups.

    Parameters
    ----------
    pairs, ratios
        (k, 2) and (k,): neighbouring groups, each pair once, and their ratios. A group with fewer neighbours than
        `BACKGROUND_RANKS` has others, further away, that count as 0.
    n
        Number of groups.
    """
    # One number holds group and ratio, the greatest first: sorting that is ten times as fast as sorting by two keys.
    span = 2 * RATIO_STEPS + 1
    steps = np.round((2 - ratios.clip(0, 2)) * RATIO_STEPS).astype(np.int64)
    both = np.empty((2, len(pairs)), dtype=np.int64)
    np.multiply(pairs.T, span, out=both)
    both += steps
    keys = both.ravel()
    keys.sort()
    start = np.searchsorted(keys, np.arange(n + 1) * span)
    total = np.zeros(n)
    for rank in range(BACKGROUND_RANKS.start, BACKGROUND_RANKS.stop):
        held = np.flatnonzero(start[:-1] + rank < start[1:])
        total[held] += 2 - keys[start[held] + rank] % span / RATIO_STEPS
    return Background(np.minimum(total / (BACKGROUND_RANKS.stop - BACKGROUND_RANKS.start), MOST_BACKGROUND))
