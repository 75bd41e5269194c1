"""Document quality and position bias from a judge's log-probabilities over the letters of its prompts.

Plackett-Luce: the judge names document i of a prompt with probability exp(u_i + b_s) / sum over the prompt, u_i the
document's quality and b_s the pull of slot s. So the log-probabilities of a prompt, less their mean, are differences of
u + b: linear in what is sought, all of a prompt's documents at once. Fitted by least squares with a ridge on u:

    minimise  sum over prompts and slots of (y_ks - [u + b]_ks + mean over the prompt of [u + b])^2  +  ridge sum u_i^2

y are log-probabilities, centred within their prompt and cut off at `floor` nats below the prompt's best: what a model
says of letters it rules out is noise. By conjugate gradients, exact to 1e-9; the same input gives the same bytes.

    found = fit(groups.members, logprobs, documents=len(sample))
    found.utility, found.error, found.bias
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGE = 0.05
"""Weight of the ridge: a twentieth of a prompt. Documents that were seen little stay near the middle."""
FLOOR = 12.0


@dataclass(frozen=True)
class Fit:
    """What the answers say.

    utility: float64 (documents,), mean 0 over those that were shown; NaN for the others.
    error: float64 (documents,), standard error of the utility from the residuals.
    bias: float64 (slots,), sum 0.
    noise: standard deviation of the residuals, in nats.
    explained: share of the centred log-probabilities' variance that documents and slots explain together.
    """

    utility: np.ndarray
    error: np.ndarray
    bias: np.ndarray
    noise: float
    explained: float


def centred(logprobs: np.ndarray, floor: float = FLOOR) -> np.ndarray:
    """float64 (prompts, slots): log-probabilities cut off `floor` below the best of their prompt, less their mean."""
    values = np.asarray(logprobs, np.float64)
    values = np.maximum(values, values.max(axis=1, keepdims=True) - floor)
    return values - values.mean(axis=1, keepdims=True)


def fit(members: np.ndarray, logprobs: np.ndarray, documents: int, ridge: float = RIDGE, floor: float = FLOOR) -> Fit:
    """members: int (prompts, slots), document numbers; logprobs: float (prompts, slots), of the slots' letters.

    ValueError for shapes that do not fit, and for log-probabilities that are NaN or all -inf.
    """
    members = np.asarray(members)
    if members.ndim != 2 or members.shape != np.shape(logprobs) or len(members) == 0:
        raise ValueError(f"members {members.shape}, log-probabilities {np.shape(logprobs)}: expected (prompts, slots)")
    if members.min() < 0 or members.max() >= documents:
        raise ValueError(f"documents {members.min()} to {members.max()}; expected numbers below {documents}")
    y = centred(logprobs, floor)
    if not np.isfinite(y).all():
        raise ValueError("a prompt has log-probabilities that are not finite")
    flat = members.reshape(-1)
    slots = members.shape[1]

    def spread(u: np.ndarray, b: np.ndarray) -> np.ndarray:
        values = u[members] + b
        return values - values.mean(axis=1, keepdims=True)

    def gathered(residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Residuals are centred within prompts, so the centring's own adjoint leaves them as they are.
        return np.bincount(flat, residual.reshape(-1), documents), residual.sum(axis=0)

    def normal(v: np.ndarray) -> np.ndarray:
        u, b = v[:documents], v[documents:]
        du, db = gathered(spread(u, b))
        # The slots' common part is free; drawing it to 0 makes the solution one.
        return np.concatenate([du + ridge * u, db + len(members) * b.mean()])

    right = np.concatenate(gathered(y))
    solution = _conjugate_gradients(normal, right)
    utility, bias = solution[:documents], solution[documents:]
    bias -= bias.mean()
    residual = y - spread(utility, bias)
    counts = np.bincount(flat, minlength=documents)
    seen = counts > 0
    total, left = float((y**2).sum()), float((residual**2).sum())
    freedom = max(len(members) * (slots - 1) - (int(seen.sum()) - 1) - (slots - 1), 1)
    noise = float(np.sqrt(left / freedom))
    utility = np.where(seen, utility - utility[seen].mean(), np.nan)
    with np.errstate(divide="ignore"):
        error = np.where(seen, noise / np.sqrt(counts * (1 - 1 / slots) + ridge), np.nan)
    return Fit(utility, error, bias, noise, 1 - left / total if total > 0 else 0.0)


def _conjugate_gradients(normal, right: np.ndarray, steps: int = 2000, exact: float = 1e-9) -> np.ndarray:  # type: ignore[no-untyped-def]
    """x with normal(x) = right, for a symmetric positive definite `normal`."""
    x = np.zeros_like(right)
    residual = right.copy()
    direction = residual.copy()
    size = float(residual @ residual)
    goal = size * exact**2
    for _ in range(steps):
        if size <= goal:
            break
        along = normal(direction)
        step = size / float(direction @ along)
        x += step * direction
        residual -= step * along
        new = float(residual @ residual)
        direction = residual + (new / size) * direction
        size = new
    return x


def expectation(logprobs: np.ndarray) -> np.ndarray:
    """float64 (prompts,): the expected grade, logprobs (prompts, grades) of the grades 0, 1, 2, ... in this order."""
    values = np.asarray(logprobs, np.float64)
    share = np.exp(values - values.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    return share @ np.arange(values.shape[1])
