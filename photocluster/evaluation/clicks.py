"""Clicks: how many decisions a person needs until the faces carry the right names.

A decision is one answer of the user: it gives one name to some faces (a cluster, a suggestion accepted), takes their
name away, or changes nothing (a suggestion rejected, a cluster of nobody known passed over). Each costs one click.
Counted are the faces of people with three or more labelled faces, since those are whom one names. Wrong are labelled
faces, of anybody, that carry the name of another; faces without identity may be named, and are not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from photocluster.evaluation.bootstrap import RESAMPLES, Interval, bootstrap_intervals
from photocluster.evaluation.labels import UNLABELLED, DoubleArray, same_length
from photocluster.records import NOISE, IntArray

GOALS = (0.8, 0.95)
"""Shares of the faces that are to carry the right name: most of the work, and nearly all."""

MIN_FACES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """One answer: `faces` int64 (k,), possibly none, now carry the name of person `name`, or no name where it is -1.

    What `follows` from the answer before, by propagation, costs no click.
    """

    faces: IntArray
    name: int
    follows: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """A share of the faces, the decisions it took, and the wrong names then; both None where it was not reached.

    `wrong` counts labelled faces with another's name, `wrong_share` is that of the labelled faces with a name.
    """

    share: float
    decisions: int | None
    wrong: int | None
    wrong_share: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in ("share", "decisions", "wrong", "wrong_share")}


@dataclass(frozen=True, slots=True, eq=False)
class ClicksMeasures:
    """What naming cost.

    Attributes
    ----------
    faces, people
        Those that count: labelled faces of people with enough of them.
    decisions
        All decisions that there were.
    goals
        One for each share asked for.
    right
        float64 (decisions + 1,): share of `faces` with the right name after each decision, starting with none.
    """

    faces: int
    people: int
    decisions: int
    goals: tuple[Goal, ...]
    right: DoubleArray

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the curve."""
        return {
            "faces": self.faces,
            "people": self.people,
            "decisions": self.decisions,
            "goals": [goal.as_dict() for goal in self.goals],
        }


def count_clicks(
    decisions: Iterable[Decision], identities: IntArray, *, goals: Sequence[float] = GOALS, min_faces: int = MIN_FACES
) -> ClicksMeasures:
    """Play decisions against the true identities.

    Parameters
    ----------
    decisions
        In the order of the answers. A generator may look at nothing but what the user would have seen.
    identities
        int64 (n,), -1 for a face without identity.
    goals
        Shares of the counted faces; one is reached when at least that share carries the right name.
    min_faces
        People with fewer labelled faces do not count.
    """
    numbers, index, sizes = np.unique(identities, return_inverse=True, return_counts=True)
    counted = (identities != UNLABELLED) & (sizes[index] >= min_faces)
    total = int(counted.sum())
    names = np.full(len(identities), UNLABELLED, dtype=np.int64)
    right, wrong, named, history = 0, 0, 0, [(0, 0, 0)]
    for decision in decisions:
        faces = np.unique(decision.faces)
        before = _tally(names[faces], identities[faces], counted[faces])
        names[faces] = decision.name
        after = _tally(names[faces], identities[faces], counted[faces])
        right, wrong, named = (
            value + new - old for value, new, old in zip((right, wrong, named), after, before, strict=True)
        )
        if decision.follows:
            history.pop()
        history.append((right, wrong, named))
    played = np.array(history)
    return ClicksMeasures(
        faces=total,
        people=int(((numbers != UNLABELLED) & (sizes >= min_faces)).sum()),
        decisions=len(history) - 1,
        goals=tuple(_goal(share, played, total) for share in goals),
        right=played[:, 0] / max(total, 1),
    )


def clicks_intervals(
    decisions: Iterable[Decision],
    identities: IntArray,
    *,
    goals: Sequence[float] = GOALS,
    min_faces: int = MIN_FACES,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return 95 % intervals over people of ``decisions.0.8`` ...: the decisions until each goal.

    The answers stay as they were given. Somebody drawn twice has twice the faces, and a decision that gives that name
    costs two clicks; the name of somebody not drawn costs none; a decision that gives no name costs one.

    Parameters
    ----------
    decisions, identities, goals, min_faces
        As in `count_clicks`.
    """
    labelled = identities != UNLABELLED
    numbers, person, sizes = np.unique(identities[labelled], return_inverse=True, return_counts=True)
    index = np.full(len(identities), -1, dtype=np.int64)
    index[labelled] = np.where(sizes[person] >= min_faces, person, -1)
    totals = np.where(sizes >= min_faces, sizes, 0).astype(np.float64)
    names = np.full(len(identities), UNLABELLED, dtype=np.int64)
    named: list[int] = []  # who was named by each answer
    changes: list[tuple[int, int, int]] = []  # decision, person, by how much more or fewer faces are right
    for decision in decisions:
        if not decision.follows:
            named.append(decision.name)
        faces = np.unique(decision.faces)
        faces = faces[index[faces] >= 0]
        gain = (identities[faces] == decision.name).astype(np.int64) - (identities[faces] == names[faces])
        names[faces] = decision.name
        changes += [(len(named) - 1, int(index[face]), int(by)) for face, by in zip(faces, gain, strict=True) if by]
    steps, who, by = np.array(changes, dtype=np.int64).reshape(-1, 3).T
    payer = np.searchsorted(numbers, named) if named else np.empty(0, dtype=np.int64)
    pays = np.isin(named, numbers)

    def statistic(multiplicity: DoubleArray) -> Mapping[str, float]:
        right = np.cumsum(np.bincount(steps, multiplicity[who] * by, minlength=len(named)))
        cost = np.cumsum(np.where(pays, multiplicity[np.where(pays, payer, 0)], 1.0))
        total = float(multiplicity @ totals)
        values = {}
        for share in goals:
            reached = np.flatnonzero((right >= share * total - 1e-9) & (total > 0))
            values[f"decisions.{share:g}"] = float(cost[reached[0]]) if len(reached) else float("nan")
        return values

    return bootstrap_intervals(statistic, len(numbers), resamples=resamples, seed=seed)


def name_clusters(identities: IntArray, clusters: IntArray, *, correct: bool = True) -> Iterator[Decision]:
    """Yield the decisions of the plain way: clusters one by one, the largest first, then the noise faces.

    The user gives a cluster the name that most of its labelled faces deserve (the lower identity on a tie): one
    decision. Then each labelled face in it that is somebody else is given its own name: one decision each. A cluster
    without labelled faces is passed over: one decision, no names. A noise face is a cluster of one, in order of the
    faces; clusters of one size come in order of their numbers.

    Parameters
    ----------
    identities, clusters
        int64 (n,), -1 for a face without identity, and for noise.
    correct
        Whether the user looks for wrong faces in the cluster, and puts them right.
    """
    same_length(identities=identities, clusters=clusters)
    order = np.argsort(clusters, kind="stable")
    numbers, starts = np.unique(clusters[order], return_index=True)
    groups = [group for number, group in zip(numbers, np.split(order, starts[1:]), strict=True) if number != NOISE]
    groups.sort(key=len, reverse=True)
    groups += [np.array([face]) for face in np.flatnonzero(clusters == NOISE)]
    for faces in groups:
        labels = identities[faces]
        people, sizes = np.unique(labels[labels != UNLABELLED], return_counts=True)
        if not len(people):
            yield Decision(np.empty(0, dtype=np.int64), UNLABELLED)
            continue
        name = int(people[np.argmax(sizes)])
        yield Decision(faces, name)
        if correct:
            for face in faces[(labels != name) & (labels != UNLABELLED)]:
                yield Decision(np.array([face]), int(identities[face]))


def _tally(names: IntArray, identities: IntArray, counted: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[int, int, int]:
    """Return how many counted faces are named right, labelled ones wrong, and labelled ones at all."""
    named = (names != UNLABELLED) & (identities != UNLABELLED)
    agree = names == identities
    return int((named & agree & counted).sum()), int((named & ~agree).sum()), int(named.sum())


def _goal(share: float, played: IntArray, total: int) -> Goal:
    reached = np.flatnonzero(played[:, 0] >= share * total - 1e-9) if total else np.empty(0, dtype=np.int64)
    if not len(reached):
        return Goal(share, None, None, None)
    step = int(reached[0])
    _, wrong, named = played[step].tolist()
    return Goal(share, step, wrong, wrong / named if named else 0.0)
