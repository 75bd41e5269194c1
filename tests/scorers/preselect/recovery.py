"""A world in which it is known which documents are predictive, for asking which estimator finds them.

It imports nothing from scorers/. Six models have true abilities. On a **predictive** document their true mean losses
per token fall with ability; the others are of three kinds in equal parts: ``flat`` (no model is better), ``scrambled``
(the gaps of a predictive document in a random other order) and ``swapped`` (the true order but for two models
exchanged). How many documents are predictive differs between domains.

A token's loss is its document's difficulty (the same for all models: it cancels), the model's mean, and noise of its
own that is heavy-tailed, larger in some documents than in others, correlated from token to token (AR(1)) and
between models. Sizes follow the Llama panel of the paper: about 0.2 nats per token between the worst and the
best model, half a nat of spread in the paired difference of one token. Losses are rounded to 1/64 nat, and in some
documents two models are one and the same: both make ties. The benchmark is measured with noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

MODELS = 6
ABILITY = np.array([0.0, 0.15, 0.34, 0.62, 0.8, 1.0])  # uneven, as 75.4, 76.3, 77.3, 79.5, 80.5, 81.2 are
BANDS = {"short": (16, 64), "medium": (128, 512), "long": (1024, 2048), "mixed": (16, 2048)}  # tokens
KINDS = ("flat", "scrambled", "swapped")


@dataclass(frozen=True)
class World:
    """predictive: bool (D,); domain: int64 (D,); token_losses: float32 (N, T); offsets: int64 (D + 1,);
    losses: float64 (D, N), sums over the tokens; benchmark: float64 (N,), as measured.
    """

    predictive: np.ndarray
    domain: np.ndarray
    token_losses: np.ndarray
    offsets: np.ndarray
    losses: np.ndarray
    benchmark: np.ndarray


def make_world(
    seed: int,
    documents: int = 1000,
    tokens: tuple[int, int] = BANDS["short"],
    *,
    prevalence: float = 0.25,
    domains: int = 40,
    **losses: Any,
) -> World:
    """A world of ``documents`` documents with lengths log-uniform in ``tokens``; losses: settings of ``plant``."""
    random = np.random.default_rng([seed, 2503])
    domain = np.sort(random.integers(0, domains, documents))
    share = random.beta(4 * prevalence, 4 * (1 - prevalence), domains)
    predictive = random.random(documents) < share[domain]
    return plant(random, predictive, domain, tokens, **losses)


def plant(
    random: np.random.Generator,
    predictive: np.ndarray,
    domain: np.ndarray,
    tokens: tuple[int, int] | np.ndarray,
    *,
    noise: float = 0.35,
    correlation: float = 0.3,
    benchmark_noise: float = 0.03,
    same_models: float = 0.02,
    others: tuple[str, ...] = KINDS,
) -> World:
    """Losses and a benchmark for documents of which it is given which are predictive (D,), and their domains (D,).

    tokens: the range of the lengths, or the lengths themselves (D,), as of documents that have a text.
    noise: spread of one token's own noise, nats; correlation: between neighbouring tokens; benchmark_noise: in units of
    the distance between the worst and the best model; same_models: share of documents in which two models are one;
    others: the kinds of the documents that are not predictive.
    """
    documents = len(predictive)
    gap = 0.2 * random.lognormal(0, 0.4, (documents, 1))
    means = -gap * np.where(predictive[:, None], ABILITY, _other_abilities(random, documents, others))
    if isinstance(tokens, tuple):
        lengths = np.exp(random.uniform(np.log(tokens[0]), np.log(tokens[1] + 1), documents)).astype(np.int64)
    else:
        lengths = tokens
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    owner = np.repeat(np.arange(documents), lengths)
    token_losses = _correlated(random, lengths, correlation)
    token_losses *= noise * random.lognormal(0, 0.3, documents)[owner]
    token_losses += means.T[:, owner] + random.gamma(1.0, 2.5, len(owner))
    token_losses = np.round(token_losses * 64) / 64
    for doc in np.flatnonzero(random.random(documents) < same_models):
        one, other = random.choice(MODELS, 2, replace=False)
        token_losses[one, offsets[doc] : offsets[doc + 1]] = token_losses[other, offsets[doc] : offsets[doc + 1]]
    losses = np.add.reduceat(token_losses, offsets[:-1], axis=1).T
    benchmark = ABILITY + benchmark_noise * random.normal(size=MODELS)
    return World(predictive, domain, token_losses.astype(np.float32), offsets, losses, benchmark)


def _other_abilities(random: np.random.Generator, documents: int, kinds: tuple[str, ...]) -> np.ndarray:
    """(documents, models): flat, scrambled or swapped, never the true order."""
    found = np.zeros((documents, MODELS))
    for doc, kind in enumerate(random.choice(kinds, documents)):
        order = np.arange(MODELS)
        if kind == "scrambled":
            while (order == np.arange(MODELS)).all():
                order = random.permutation(MODELS)
        else:
            one, other = random.choice(MODELS, 2, replace=False)
            order[[one, other]] = other, one
        found[doc] = 0 if kind == "flat" else ABILITY[order]
    return found


def _correlated(random: np.random.Generator, lengths: np.ndarray, correlation: float) -> np.ndarray:
    """(models, tokens) of spread 1: Student's t, 5 degrees of freedom, through an AR(1) filter anew in every document.

    Neighbouring models share part of it: their correlation is 0.4.
    """
    longest = int(lengths.max())
    fresh = random.standard_t(5, (longest, MODELS + 1, len(lengths)))
    noise = (np.sqrt(0.8) * fresh[:, :-1] + np.sqrt(0.2) * fresh[:, 1:]) / np.sqrt(5 / 3)
    for position in range(1, longest):
        noise[position] = correlation * noise[position - 1] + np.sqrt(1 - correlation**2) * noise[position]
    return noise.transpose(1, 2, 0)[:, np.arange(longest) < lengths[:, None]]
