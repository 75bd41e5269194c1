"""The recovery test in small: planted losses on real text become a classifier that knows the planted class.

Asserted is what held by a margin over a dozen seeds; experiments/preselect_classifier.py has the figures.
"""

from __future__ import annotations

import numpy as np
import pytest

from experiments.preselect_classifier import TAUGHT, labels, planted, quarter_explaining
from experiments.preselect_panels import minimal_pairs, parted
from experiments.preselect_recovery import estimate
from experiments.preselect_text import BANDS, LONGER, Documents, classifier_auc, cut, held_out, labelled_chunks
from tests.scorers.preselect.recovery import World

SEED = 5


@pytest.fixture(scope="module")
def documents() -> Documents:
    return cut(quarter_explaining(labelled_chunks()), BANDS["medium"], 1, np.random.default_rng(SEED))


@pytest.fixture(scope="module")
def world(documents: Documents) -> World:
    return planted(documents, SEED)


def test_recovered_labels_are_far_better_than_chance_for_every_estimator(documents: Documents, world: World):
    found = estimate(world)
    truth = documents.explaining
    for name in TAUGHT:
        taught = labels(found[name], len(truth) // 4)
        precision, recall = truth[taught == 1].mean(), (taught[truth] == 1).mean()
        assert precision > truth.mean() + 0.3, name
        assert recall > 0.25 + 0.3, name  # a quarter is labelled positive, so chance finds a quarter
        assert truth[taught == 0].mean() < truth.mean() - 0.15, name


@pytest.mark.parametrize("name", ["preselect (Eq. 1)", "noise"])
def test_a_classifier_taught_by_recovered_labels_knows_the_planted_class(documents: Documents, world: World, name: str):
    out = held_out(documents, np.random.default_rng(SEED))
    taught = labels(estimate(world)[name], len(out) // 4)
    assert classifier_auc(documents, taught, out, LONGER) > 0.75


def test_a_classifier_taught_by_shuffled_labels_knows_nothing(documents: Documents, world: World):
    random = np.random.default_rng(SEED)
    out = held_out(documents, random)
    shuffled = random.permutation(labels(estimate(world)["noise"], len(out) // 4))
    assert classifier_auc(documents, shuffled, out, LONGER) < 0.7


def test_documents_are_pieces_of_their_chunks_that_do_not_overlap(documents: Documents):
    chunks = labelled_chunks()
    short = cut(chunks, BANDS["short"], 3, np.random.default_rng(0))
    assert (short.words >= 16).all()
    assert (short.words <= 64).all()
    assert [len(text.split()) for text in short.texts] == list(short.words)
    first = chunks[True][0]
    own = [text for text in short.texts if text in first]
    assert sum(len(text) for text in own) <= len(first)
    shares = [short.explaining[short.domain == domain].mean() for domain in np.unique(short.domain)]
    assert len(set(shares)) > 10  # domains differ in how much they explain
    out = held_out(documents, np.random.default_rng(0))
    assert not set(documents.domain[out]) & set(documents.domain[~out])


def test_text_for_training_benchmark_and_pool_is_parted():
    training, benchmark, pool = parted(labelled_chunks())
    sides = [training[True] + training[False], benchmark, pool[True] + pool[False]]
    assert sum(len(set(side)) for side in sides) == len(set().union(*sides))
    assert len(training[True]) == len(training[False])


def test_the_passages_of_a_minimal_pair_differ_in_the_order_of_two_words():
    _, benchmark, _ = parted(labelled_chunks())
    passages = minimal_pairs(benchmark)
    for true, other in zip(passages[::2], passages[1::2], strict=True):
        places = [n for n, (a, b) in enumerate(zip(true.split(), other.split(), strict=True)) if a != b]
        assert len(places) == 2
        assert places[1] == places[0] + 1
        assert sorted(true.split()) == sorted(other.split())
