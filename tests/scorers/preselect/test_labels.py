"""Labels: the paper's walk and the quantiles in plain Python, caps, and cuts through ties."""

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from scorers.preselect.labels import label

settings.register_profile("scorers", deadline=None)
settings.load_profile("scorers")


@st.composite
def documents(draw):
    """(strengths with ties and NaN, ids, domains)"""
    size = draw(st.integers(2, 25))
    levels = st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")])
    value = draw(st.lists(levels, min_size=size, max_size=size))
    domains = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    return np.array(value), [f"doc-{n}" for n in range(size)], np.array(domains)


def plain_label(value, ids, rule, domains, per_domain, seed, share):
    """One document after the other, down from the top and up from the bottom."""
    defined = [n for n in range(len(ids)) if not np.isnan(value[n])]

    def tie(n):
        return (xxhash.xxh3_64_intdigest(ids[n].encode(), seed=seed), ids[n])

    def walk(order, most):
        taken, used = [], {}
        for n in order:
            if len(taken) < most and used.get(domains[n], 0) < per_domain:
                taken.append(n)
                used[domains[n]] = used.get(domains[n], 0) + 1
        return taken

    falling = sorted(defined, key=lambda n: (-value[n], tie(n)))
    rising = sorted(defined, key=lambda n: (value[n], tie(n)))
    if rule == "paper":
        top = walk([n for n in falling if value[n] == 1], len(ids))
        bottom = walk([n for n in rising if value[n] < 1], len(top))
    else:
        top = walk(falling, max(int(share * len(defined)), 1))
        bottom = walk([n for n in rising if n not in top], max(int(share * len(defined)), 1))
    return [1 if n in top else 0 if n in bottom else None for n in range(len(ids))]


@given(documents(), st.sampled_from(["paper", "quantile"]), st.integers(1, 9), st.integers(0, 3))
def test_labels_are_what_a_walk_gives(sample, rule, per_domain, seed):
    value, ids, domains = sample
    expected = plain_label(value, ids, rule, domains, per_domain, seed, 0.3)
    if 1 not in expected or 0 not in expected:
        with pytest.raises(ValueError):
            label(value, pa.array(ids), rule, domains=domains, per_domain=per_domain, seed=seed)
        return
    found = label(
        value, pa.array(ids), rule, positive=0.3, negative=0.3, domains=domains, per_domain=per_domain, seed=seed
    )
    assert found.type == pa.int8()
    assert found.to_pylist() == expected


@given(documents(), st.randoms(use_true_random=False))
def test_the_order_of_the_documents_does_not_matter(sample, random):
    value, ids, _ = sample
    if np.isfinite(value).sum() < 2:
        return
    order = random.sample(range(len(ids)), len(ids))
    found = label(value, pa.array(ids), "quantile", positive=0.4, negative=0.4)
    moved = label(value[order], pa.array([ids[n] for n in order]), "quantile", positive=0.4, negative=0.4)
    assert moved.to_pylist() == found.take(pa.array(order)).to_pylist()


def test_the_paper_s_rule_takes_as_many_negatives_as_there_are_positives():
    value = np.array([1, 1, 0.2, 0, 0.1, 0.9, np.nan])
    assert label(value, pa.array(list("abcdefg"))).to_pylist() == [1, 1, None, 0, 0, None, None]


def test_another_seed_takes_other_documents_of_a_tie():
    value = np.concatenate([np.ones(50), np.zeros(200)])
    ids = pa.array([str(n) for n in range(250)])
    first, again, other = (label(value, ids, seed=seed) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.parametrize(
    ("value", "wanted", "message"),
    [
        ([0.5, 0.2], {}, "use the rule 'quantile'"),
        ([1.0, 1.0], {}, "no document is left for a negative"),
        ([1.0, 0.0], {"rule": "quantile", "positive": 0.7, "negative": 0.7}, "a sum of at most 1"),
        ([1.0, 0.0], {"rule": "top"}, "there are paper, quantile"),
        ([1.0, 0.0], {"per_domain": 3}, "together with the documents' domains"),
        ([1.0, 0.0, 0.5], {}, "expected one of each per document"),
        ([np.nan, 0.5], {"rule": "quantile"}, "1 documents have a strength"),
    ],
)
def test_what_gives_no_labels_is_refused(value, wanted, message):
    with pytest.raises(ValueError, match=message):
        label(np.array(value), pa.array(["a", "b"]), **wanted)
