"""Left-over faces: who they probably are, by likeness, quality, and what the library is like."""

import numpy as np
import pytest

from photocluster.assembly import Agreement, likeness
from photocluster.attachment import attachments, group_means
from photocluster.clustering import FaceClusterer
from photocluster.constraints import gather
from photocluster.groups import Groups
from photocluster.judgement import Background, ratio
from photocluster.merging import unite

D = 128
POOR, GOOD = 0.05, 0.9


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def library(sizes, comers, *, shared=0.0, common=None, seed=0):
    """Groups of as many faces, and single faces, each of a given projection (or several) on the groups' directions."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(D, D)))[0]
    centres = basis[: len(sizes)]
    if shared:
        centres = np.sqrt(shared) * basis[-1] + np.sqrt(1 - shared) * centres
    faces = np.repeat(centres, sizes, axis=0)
    noise = unit(rng.normal(size=faces.shape))
    faces = unit(0.78 * faces + np.sqrt(1 - 0.78**2) * noise)
    singles = []
    for comer in comers:
        part = np.asarray(comer) @ centres[: len(comer)]
        rest = unit(rng.normal(size=D))
        rest -= basis[: len(sizes)].T @ (basis[: len(sizes)] @ rest)
        rest -= basis[-1] * (basis[-1] @ rest)
        singles.append(part + np.sqrt(1 - part @ part) * unit(rest))
    X = np.vstack([faces, *[single[None] for single in singles]]).astype(np.float32)
    numbers = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.full(len(comers), -1)])
    groups = Groups(X, gather(len(X)))
    labels = unite(groups, numbers)
    return groups, labels


def ask(groups, labels, quality, evidence=0.0):
    names = np.unique(labels)
    comers, hosts = names[groups.sizes[names] == 1], names[groups.sizes[names] > 1]
    pairs = np.stack([np.repeat(comers, len(hosts)), np.tile(hosts, len(comers))], axis=1)
    given = np.full(len(groups.sizes), np.nan)
    given[comers] = quality
    found = attachments(groups, pairs, given, np.full(len(pairs), evidence))
    result = dict.fromkeys(comers.tolist(), 0.0)
    result.update(zip(found.comers.tolist(), found.probability.tolist(), strict=True))
    return np.array(list(result.values()))


def test_a_blurred_face_may_lie_further_away_than_a_sharp_one():
    groups, labels = library([30, 30], [[0.33]] + [[0.0]] * 20)
    poor, good, unknown = (ask(groups, labels, quality)[0] for quality in (POOR, GOOD, np.nan))
    assert poor > 0.9
    assert good < 0.5
    assert good < unknown < poor


def test_likeness_counts():
    groups, labels = library([30, 30], [[0.1], [0.2], [0.3], [0.4], [0.5], [0.7]])
    probability = ask(groups, labels, np.nan)
    assert (np.diff(probability) >= 0).all()
    assert probability[0] == 0
    assert probability[-1] > 0.99


def test_a_face_without_likeness_is_left_alone_however_probable_the_person_is():
    groups, labels = library([500], [[0.1]])
    assert ask(groups, labels, POOR)[0] == 0


def test_a_face_between_two_people_is_neither_s():
    groups, labels = library([30, 30], [[0.45, 0.45], [0.45, 0.1]])
    between, clear = ask(groups, labels, POOR)
    assert between < 0.8
    assert clear > 0.95


def test_who_is_often_there_is_met_again_sooner():
    groups, labels = library([200, 3], [[0.33], [0.0, 0.33]] + [[0.0]] * 50)
    often, seldom = ask(groups, labels, POOR)[:2]
    assert often > 0.9 > seldom


def test_among_many_strangers_it_takes_more():
    few, many = (ask(*library([40, 40], [[0.33]] + [[0.0]] * strangers), POOR)[0] for strangers in (0, 1500))
    assert few > 0.9
    assert many < few - 0.2


def test_what_all_have_in_common_speaks_for_nobody():
    # The face lies as close to one person as in a library without a family likeness, and as close to all the others.
    alike, _ = library([20] * 6, [[0.0]], shared=0.4)
    family, labels = library([20] * 6, [[0.09] * 6], shared=0.4)
    mixed, other = library([20] * 6, [[0.33]])
    assert len(alike.sums) == len(family.sums)
    assert ask(mixed, other, 0.3)[0] > ask(family, labels, 0.3)[0] + 0.2


def test_evidence_from_elsewhere_counts():
    groups, labels = library([30, 30], [[0.28]] + [[0.0]] * 60)
    assert ask(groups, labels, POOR, evidence=2.3)[0] > ask(groups, labels, POOR)[0] + 0.1


def test_nobody_is_left_over():
    groups, _ = library([5], [])
    found = attachments(groups, np.empty((0, 2), dtype=np.int64), np.full(5, np.nan), np.empty(0))
    assert len(found.comers) == len(found.hosts) == len(found.probability) == 0


def test_means_by_group():
    means = group_means(np.array([0, 0, 2, 2, 4]), np.array([0.5, 1.0, np.nan, 0.25, np.nan]))
    assert means == pytest.approx([0.75, np.nan, 0.25, np.nan, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("sizes", "cosine", "one"),
    [
        ((1, 12), 0.52, True),
        ((1, 12), 0.46, False),
        ((2, 12), 0.545, True),
        ((3, 12), 0.54, False),  # of three photos it is less probable that all lie far off by chance
        ((2, 2), 0.6, False),  # the tree's cluster may be anybody's
        ((5, 20), 0.6, False),  # two look-alikes are in one cluster, too
        ((12, 18), 0.62, False),
    ],
)
def test_the_tree_s_word_makes_up_for_what_a_scrap_lacks_by_chance(sizes, cosine, one):
    axes = np.eye(D)
    centres = axes[0], cosine * axes[0] + np.sqrt(1 - cosine**2) * axes[1]
    q = np.sqrt(0.6)  # so that the mean similarity within is the usual one
    people = np.repeat([0, 1], sizes)
    X = q * np.stack(centres)[people] + np.sqrt(1 - q**2) * axes[2 : 2 + len(people)]
    groups = Groups(X.astype(np.float32), gather(len(X)))
    labels = unite(groups, people)
    pair = np.unique(labels)[None]
    level, rules = Background(np.zeros(len(X))), FaceClusterer()._rules()
    together = Agreement(labels, np.zeros(len(X), dtype=np.int64), len(X))
    assert ratio(groups, pair)[0] == pytest.approx(cosine, abs=1e-3)
    assert (likeness(level, rules, together)(groups, pair)[0] >= 0) == one
    assert likeness(level, rules, None)(groups, pair)[0] < 0
