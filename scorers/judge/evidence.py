"""Whether a judge's answers are answers: how well they agree with themselves, and what a judge that guesses looks like.

    found = evidence(groups, logprobs, mass, documents)
    found.reliability       # Spearman's correlation between the fits of the two halves of the rounds, stepped up
    complaint(found)        # None, or what is wrong in one line

A judge can fail in ways that leave plausible columns of numbers: it gives every letter the same probability (flat), it
always likes the first text (position alone), its answers on the same document have nothing to do with each other
(noise), or it wants to say something else and the letters get what is left (no answer).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from scorers.judge.design import Groups
from scorers.judge.fit import Fit, centred, expectation, fit
from scorers.preselect.diagnostics import rank_correlation

FLAT = 0.05
"""Nats: a judge whose median prompt spreads its log-probabilities less than this tells nothing apart."""
MASS = 0.2
"""Median probability of all letters together below which the judge wants to say something else."""
POSITION = 0.8
"""Share of the answers' variance that slots explain, above which they are about places..."""
AGREED = 0.5
"""...unless what is left agrees with itself so well that the pull of the slots can be taken off."""
RELIABILITY = 0.2
"""Agreement of the halves below which the answers are noise."""


@dataclass(frozen=True)
class Evidence:
    """What the answers show about the judge.

    prompts: how many were looked at. spread: median over prompts of the standard deviation of the centred
    log-probabilities, nats. mass: median probability of the letters together; NaN if the engine does not tell.
    position: share of that variance that the slots explain. bias: float (slots,), nats.
    halves: Spearman's correlation between fits of even and of odd rounds; reliability: of all rounds together, by
    Spearman and Brown. Both are NaN where a document was seen in one half only.
    """

    prompts: int
    spread: float
    mass: float
    position: float
    bias: tuple[float, ...]
    halves: float
    reliability: float

    def record(self) -> dict[str, object]:
        """For JSON: NaN becomes None."""
        values = asdict(self)
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in values.items()}


def evidence(
    groups: Groups, logprobs: np.ndarray, mass: np.ndarray | None, documents: int, found: Fit | None = None
) -> Evidence:
    """From the answers so far. logprobs: float (prompts, slots); mass: float (prompts,), if known."""
    found = fit(groups.members, logprobs, documents) if found is None else found
    y = centred(logprobs)
    total = float((y**2).mean())
    slots = float((y.mean(axis=0) ** 2).mean())
    halves = split_half(groups, logprobs, documents)
    return Evidence(
        prompts=len(groups),
        spread=float(np.median(y.std(axis=1))),
        mass=float("nan") if mass is None or len(mass) == 0 else float(np.median(mass)),
        position=slots / total if total > 0 else 0.0,
        bias=tuple(float(b) for b in found.bias),
        halves=halves,
        reliability=2 * halves / (1 + halves) if halves > -1 else halves,
    )


def split_half(groups: Groups, logprobs: np.ndarray, documents: int) -> float:
    """Spearman's correlation between the utilities of even and odd rounds, over documents that both have seen."""
    values = []
    for half in (0, 1):
        rows = groups.rounds % 2 == half
        if not rows.any():
            return float("nan")
        values.append(fit(groups.members[rows], np.asarray(logprobs)[rows], documents).utility)
    both = ~np.isnan(values[0]) & ~np.isnan(values[1])
    return rank_correlation(values[0][both], values[1][both])


def graded(groups: Groups, logprobs: np.ndarray, mass: np.ndarray) -> Evidence:
    """Of a pointwise judge: logprobs (prompts, grades), one document a prompt, rounds that ask from either end.

    spread: standard deviation of the expected grade over documents, in grades. position: share of its variance that
    the direction of the question explains. bias: mean log-probability of each grade, centred.
    """
    value = expectation(logprobs)
    rounds = np.unique(groups.rounds)
    means = [value[groups.rounds == number].mean() for number in rounds]
    total = float(((value - np.mean(means)) ** 2).mean())
    halves = float("nan")
    if len(rounds) == 2 and (groups.rounds == rounds[0]).sum() == (groups.rounds == rounds[1]).sum():
        halves = rank_correlation(value[groups.rounds == rounds[0]], value[groups.rounds == rounds[1]])
    return Evidence(
        prompts=len(groups),
        spread=float(np.mean([value[groups.rounds == number].std() for number in rounds])),
        mass=float(np.median(mass)),
        position=float(np.var(means)) / total if total > 0 else 0.0,
        bias=tuple(float(b) for b in centred(logprobs).mean(axis=0)),
        halves=halves,
        reliability=2 * halves / (1 + halves) if halves > -1 else halves,
    )


def complaint(found: Evidence, reliability: float = RELIABILITY) -> str | None:
    """Why these answers are no basis for labels; None if they may be one."""
    if not np.isnan(found.mass) and found.mass < MASS:
        return (
            f"the judge wants to say something else: over {found.prompts:,} prompts the letters together have a median "
            f"probability of {found.mass:.3f} (below {MASS})"
        )
    if found.spread < FLAT:
        return (
            f"the judge's answers are flat: in the median of {found.prompts:,} prompts its log-probabilities differ by "
            f"{found.spread:.4f} nats (below {FLAT})"
        )
    if found.position > POSITION and not found.reliability >= AGREED:
        pulls = ", ".join(f"{b:+.2f}" for b in found.bias)
        return (
            f"the judge answers by position: which letter stands where explains {found.position:.0%} of its "
            f"answers over {found.prompts:,} prompts (pull of the slots in nats: {pulls})"
        )
    if not np.isnan(found.reliability) and found.reliability < reliability:
        return (
            f"the judge does not agree with itself: two halves of {found.prompts:,} prompts order the documents with a "
            f"reliability of {found.reliability:.2f} (below {reliability})"
        )
    return None
