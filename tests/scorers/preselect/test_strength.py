"""Predictive strength against plain Python over the definitions."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorers.preselect.pairs import PairStatistics, likely, steadied
from scorers.preselect.strength import average_ranks, measured, standard_error, strength

settings.register_profile("scorers", deadline=None)  # the first call compiles
settings.load_profile("scorers")

PAPER = np.array([75.38, 76.30, 77.27, 79.46, 80.47, 81.19])


@st.composite
def panels(draw, most_benchmarks=1, distinct=False):
    """Losses (D, N) and benchmark scores (B, N), of few different values so that ties are common."""
    models = draw(st.integers(2, 7))
    row = st.permutations(range(models)) if distinct else st.lists(st.integers(0, 5), min_size=models, max_size=models)
    scores = draw(st.lists(row.filter(lambda own: len(set(own)) > 1), min_size=1, max_size=most_benchmarks))
    losses = draw(st.lists(row, min_size=1, max_size=6))
    return np.array(losses, np.float64), np.array(scores, np.float64)


def plain_concordance(losses, scores, weigh, tie, keep_ties):
    """Weighted share of the pairs in which the better model has the lower loss."""
    earned = total = 0.0
    for i, j in combinations(range(len(losses)), 2):
        weight = weigh(abs(scores[i] - scores[j]))
        worse, better = (i, j) if scores[i] < scores[j] else (j, i)
        if scores[i] == scores[j]:
            total += keep_ties
            continue
        total += weight
        earned += weight * (1 if losses[worse] > losses[better] else tie if losses[worse] == losses[better] else 0)
    return earned / total


def plain_spearman(losses, scores):
    def ranks(values):
        return [sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values]

    if len(set(losses)) == 1:
        return math.nan
    return np.corrcoef(ranks([-loss for loss in losses]), ranks(list(scores)))[0, 1]


FORMS = {
    "paper": ({}, lambda a, b: plain_concordance(a, b, lambda gap: 1, 0, 1)),
    "half": ({"ties": "half"}, lambda a, b: plain_concordance(a, b, lambda gap: 1, 0.5, 0)),
    "margin": ({"estimator": "margin"}, lambda a, b: plain_concordance(a, b, lambda gap: gap, 0.5, 0)),
    "spearman": ({"estimator": "spearman"}, plain_spearman),
}


@pytest.mark.parametrize("form", FORMS)
@given(panels(most_benchmarks=3))
def test_every_form_is_its_definition_averaged_over_benchmarks(form, panel):
    losses, scores = panel
    given_settings, plain = FORMS[form]
    expected = [np.mean([plain(row, benchmark) for benchmark in scores]) for row in losses]
    np.testing.assert_allclose(strength(losses, scores, **given_settings).value, expected, rtol=0, atol=1e-12)


@given(panels(distinct=True))
def test_spearman_is_the_sign_cdf_estimator_up_to_a_factor(panel):
    losses, scores = panel[0], panel[1][0]
    models = len(scores)
    ranks = average_ranks(losses) / models
    error = -scores
    sums = np.zeros(len(losses))
    for k, g in combinations(range(models), 2):
        sums += np.sign(error[g] - error[k]) * (ranks[:, g] - ranks[:, k])
    sign_cdf = 2 * sums / (models * (models - 1))
    rho = strength(losses, scores, "spearman").value
    np.testing.assert_allclose(sign_cdf, rho * (models + 1) / (3 * models), atol=1e-12)


@given(panels(distinct=True))
def test_the_paper_s_strength_is_half_of_one_plus_kendall_s_tau(panel):
    losses, scores = panel[0], panel[1][0]
    i, j = np.triu_indices(len(scores), 1)
    tau = (np.sign(losses[:, i] - losses[:, j]) * np.sign(scores[j] - scores[i])).mean(axis=1)
    np.testing.assert_allclose(strength(losses, scores).value, (1 + tau) / 2, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@given(panels(most_benchmarks=2), st.randoms(use_true_random=False))
def test_the_order_of_the_models_does_not_matter(form, panel, random):
    losses, scores = panel
    order = random.sample(range(losses.shape[1]), losses.shape[1])
    found = strength(losses, scores, **FORMS[form][0]).value
    moved = strength(losses[:, order], scores[:, order], **FORMS[form][0]).value
    np.testing.assert_allclose(moved, found, atol=1e-12)


@pytest.mark.parametrize("form", ["paper", "half", "spearman"])
@given(panels())
def test_rank_based_forms_keep_still_under_monotone_change_of_scores_and_losses(form, panel):
    losses, scores = panel
    found = strength(losses, scores, **FORMS[form][0]).value
    np.testing.assert_array_equal(strength(np.exp(losses), scores**3 - 7, **FORMS[form][0]).value, found)


@given(panels(distinct=True))
def test_margin_keeps_still_under_a_change_of_unit_only(panel):
    losses, scores = panel
    found = strength(losses, scores, "margin").value
    np.testing.assert_allclose(strength(losses, 100 * scores + 3, "margin").value, found, atol=1e-12)


def test_margin_weighs_the_pairs_that_differ_most():
    losses = np.array([[3.0, 2.0, 1.0], [2.0, 3.0, 1.0]])  # the second confuses the two models that are nearly equal
    assert strength(losses, np.array([1, 1.1, 5]), "margin").value[1] > 0.98
    assert strength(losses, np.array([1, 1.1, 5])).value[1] == 2 / 3


@pytest.mark.parametrize("form", FORMS)
def test_perfect_agreement_is_exactly_one_and_its_reverse_the_least(form):
    benchmarks = np.array([PAPER, PAPER**2 / 7, np.log(PAPER)])
    found = strength(np.array([-PAPER, PAPER]), benchmarks, **FORMS[form][0])
    assert found.value[0] == 1
    assert found.value[1] == (-1 if form == "spearman" else 0)


def test_six_models_have_sixteen_levels():
    losses = np.random.default_rng(0).normal(size=(5000, 6))
    found = strength(losses, PAPER)
    assert (found.levels, found.denominator) == (16, 15)
    np.testing.assert_array_equal(np.unique(found.numerator), np.arange(16))
    assert strength(losses, PAPER, ties="half").levels == 31


def test_ties_cost_in_the_paper_s_form_and_not_in_the_other():
    tied_losses = np.array([[2.0, 2.0, 1.0]])
    assert strength(tied_losses, np.array([1, 2, 3])).value == [2 / 3]
    assert strength(tied_losses, np.array([1, 2, 3]), ties="half").value == [2.5 / 3]
    tied_scores = np.array([1, 1, 3])
    assert strength(np.array([[3.0, 2.0, 1.0]]), tied_scores).value == [2 / 3]
    assert strength(np.array([[3.0, 2.0, 1.0]]), tied_scores, ties="half").value == [1]


@pytest.mark.parametrize("combine", ["zscore", "rank"])
def test_combined_benchmarks_order_the_models_by_their_mean(combine):
    losses = np.array([[3.0, 2.0, 1.0], [2.0, 3.0, 1.0]])
    scores = np.array([[1, 2, 3], [10, 20, 30], [3, 2, 9]])
    assert strength(losses, scores, combine=combine).value.tolist() == [1, 2 / 3]
    assert strength(losses, scores, combine="mean").value.tolist() == pytest.approx([8 / 9, 7 / 9])


@pytest.mark.parametrize("estimator", ["preselect", "margin", "spearman", "noise"])
def test_a_document_with_a_missing_loss_is_undefined_and_spoils_no_other(estimator):
    losses = np.array([[3.0, 2.0, 1.0], [3.0, np.nan, 1.0], [3.0, 2.0, 1.0]])
    pairs = PairStatistics(np.ones((3, 3)), np.ones((3, 3)), np.full(3, 50))
    value = strength(losses, np.array([1, 2, 3]), estimator, pairs=pairs).value
    assert np.isnan(value).tolist() == [False, True, False]
    assert value[0] == value[2]


def gaussian_pairs(losses, error):
    i, j = np.triu_indices(losses.shape[1], 1)
    difference = losses[:, i] - losses[:, j]
    return PairStatistics(difference, np.full_like(difference, error), np.full(len(losses), 100))


@given(panels(most_benchmarks=2), st.floats(0.1, 10), st.sampled_from(["mean", "product"]))
def test_the_noise_aware_form_pools_the_probabilities_that_the_better_model_is_better(panel, error, pooling):
    losses, scores = panel
    expected = []
    for row in losses:
        terms = []  # (weight, probability)
        for benchmark in scores:
            untied = [pair for pair in combinations(range(len(row)), 2) if benchmark[pair[0]] != benchmark[pair[1]]]
            for i, j in untied:
                worse, better = (i, j) if benchmark[i] < benchmark[j] else (j, i)
                chance = 0.5 * math.erfc(-(row[worse] - row[better]) / error / math.sqrt(2))
                terms.append((1 / len(untied) / len(scores), max(chance, 1e-6) if pooling == "product" else chance))
        if pooling == "product":
            expected.append(math.exp(sum(weight * math.log(chance) for weight, chance in terms)))
        else:
            expected.append(sum(weight * chance for weight, chance in terms))
    found = strength(losses, scores, "noise", pairs=gaussian_pairs(losses, error), prior_tokens=0, pooling=pooling)
    np.testing.assert_allclose(found.value, expected, atol=1e-9)


@given(panels(distinct=True))
def test_without_noise_the_noise_aware_form_as_it_comes_is_the_paper_s(panel):
    losses, scores = panel
    sure = strength(losses, scores, "noise", pairs=gaussian_pairs(losses, 0.0), prior_tokens=0)
    np.testing.assert_allclose(sure.value, strength(losses, scores).value, atol=1e-12)


def test_what_cannot_be_told_is_worth_one_half():
    losses = np.array([-PAPER, -PAPER])
    pairs = gaussian_pairs(losses, np.nan)
    pairs.error[1] = 1e9
    for pooling in ("mean", "product"):
        found = strength(losses, PAPER, "noise", pairs=pairs, prior_tokens=0, pooling=pooling)
        np.testing.assert_allclose(found.value, 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("losses", "benchmark", "wanted", "message"),
    [
        (np.ones(6), PAPER, {}, "losses have shape"),
        (np.ones((2, 6)), PAPER[:5], {}, "benchmark scores have shape"),
        (np.ones((2, 6)), np.where(PAPER > 80, np.nan, PAPER), {}, "one finite score per model"),
        (np.ones((2, 6)), [PAPER, np.ones(6)], {}, "benchmark 1 gives every model the same score"),
        (np.ones((2, 6)), [PAPER, np.ones(6)], {"combine": "rank"}, "benchmark 1 gives every model the same score"),
        (np.ones((2, 6)), [PAPER, -PAPER], {"combine": "zscore"}, "the benchmarks cancel out"),
        (np.ones((2, 6)), PAPER, {"estimator": "noise"}, "needs the token losses"),
        (np.ones((2, 6)), PAPER, {"estimator": "kendall"}, "there are preselect, spearman"),
        (np.ones((2, 6)), PAPER, {"ties": "drop"}, "expected paper or half"),
        (np.ones((2, 6)), PAPER, {"combine": "median"}, "expected mean, zscore or rank"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(losses, benchmark, wanted, message):
    with pytest.raises(ValueError, match=message):
        strength(losses, benchmark, **wanted)


def test_the_standard_error_is_that_of_independent_pairs_that_the_benchmarks_tell_apart():
    told = np.array([[0.5, 0.9, 1.0], [0.2, np.nan, 0.5]])
    found = standard_error(told, np.array([1.0, 2.0, 3.0]))
    assert found[0] == pytest.approx(math.sqrt(0.25 + 0.09 + 0) / 3)
    assert math.isnan(found[1])
    found = standard_error(told, np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 3.0]]))  # the second says nothing of pair 0
    assert found[0] == pytest.approx(math.sqrt(0.25 * 0.5**2 + 0.09) / 2.5)


@given(panels(most_benchmarks=2))
def test_a_measure_made_once_gives_the_strengths_of_every_benchmark(panel):
    losses, scores = panel
    random = np.random.default_rng(len(losses))
    number = losses.shape[1] * (losses.shape[1] - 1) // 2
    pairs = PairStatistics(
        random.normal(size=(len(losses), number)), random.random((len(losses), number)), np.full(len(losses), 9)
    )
    for estimator in ("preselect", "spearman", "margin", "noise"):
        for pooling in ("mean", "product"):
            once = measured(losses, estimator, told=likely(steadied(pairs, 8.0)), pooling=pooling)
            for benchmark in (scores, scores[:, ::-1]):
                whole = strength(losses, benchmark, estimator, pairs=pairs, pooling=pooling)
                np.testing.assert_array_equal(once(benchmark).value, whole.value)
