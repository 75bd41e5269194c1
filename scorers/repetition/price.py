"""What repeated data costs a model, by two published fits that answer different questions.

Hernandez et al. 2022 (arXiv 2205.10487) repeated a random part of the data and kept the number of training tokens:
between two numbers of repeats, which fall with the size of the model, test loss suffered most. Muennighoff et al. 2023
(arXiv 2305.16264) repeated all of the data: what is worth how much the m-th time. The first says where the danger lies,
the second what repeats still teach; neither says what the other does, and a later result (arXiv 2606.24998) finds that
the worst number of repeats grows with the model where the first says that it falls.

    low, high = damage_band(800e6)                       # repeats
    worth = effective(multiplicities, words, epochs=2)   # words that are worth as much if they are all seen once
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

HERNANDEZ, MUENNIGHOFF = "Hernandez et al. 2022, arXiv 2205.10487", "Muennighoff et al. 2023, arXiv 2305.16264"
NEWER = (
    "arXiv 2606.24998 (2026) disagrees on how the band moves: there the most damaging number of repeats grows with the "
    "size of the model. Its exponents are not at hand, so no figure is given by it.",
    "arXiv 2605.01640 (2026) disagrees on the value of repeats: past some point they do harm, which the formula of "
    "Muennighoff et al. never says.",
)

HERNANDEZ_PARAMETERS = (1.5e6, 1e9)
HERNANDEZ_TOKENS = 100e9
MUENNIGHOFF_PARAMETERS = 9e9
MUENNIGHOFF_TOKENS = 900e9
R_STAR = 15.387756
"""Fitted by Muennighoff et al.: repeats after which the value of one more has fallen to 1/e."""
LEVELS = ((0.10, "alarm"), (0.03, "warn"), (0.01, "note"))
"""Shares of the training tokens within the band, from the grid that Hernandez et al. ran; the words are ours."""


@dataclass(frozen=True)
class Figure:
    """One number, whose it is, where it was measured, and in what it goes beyond that."""

    name: str
    value: float
    model: str
    measured: str
    beyond: tuple[str, ...]


def damage_band(parameters: float) -> tuple[float, float]:
    """Least and most repeats of the band in which a repeated part does most harm by Hernandez et al."""
    return 4.2e6 * parameters**-0.56, 5.1e7 * parameters**-0.50


def worth(times: np.ndarray) -> np.ndarray:
    """How many first sights a text is worth that is seen so many times: 1 + R* (1 - exp(-(times - 1) / R*))."""
    times = np.asarray(times, np.float64)
    # Less than once: a part of it is seen, and each time is new.
    return np.where(times < 1, times, 1 + R_STAR * (1 - np.exp(-(times - 1) / R_STAR)))


def effective(multiplicities: np.ndarray, words: np.ndarray, epochs: float) -> float:
    """Words that are worth as much, if each is seen once, as ``epochs`` over classes of so many words and copies."""
    distinct = words / multiplicities
    return float((distinct * worth(multiplicities * epochs)).sum())


def share_in_band(multiplicities: np.ndarray, words: np.ndarray, epochs: float, parameters: float) -> float:
    """Share of the training words whose text is seen so often that it lies in the band."""
    low, high = damage_band(parameters)
    seen = multiplicities * epochs
    total = float(words.sum())
    return float(words[(seen >= low) & (seen <= high) & (seen > 1)].sum()) / total if total else 0.0


def level(share: float) -> str:
    """What a share in the band calls for: alarm, warn, note, or nothing."""
    return next((name for least, name in LEVELS if share >= least), "")


def priced(
    multiplicities: np.ndarray, words: np.ndarray, epochs: float, parameters: float, tokens: float
) -> list[Figure]:
    """The figures of a corpus: int64 classes and the words of each. tokens: that the training takes in all."""
    total = float(words.sum())
    if not total:
        return []
    band = share_in_band(multiplicities, words, epochs, parameters)
    found = effective(multiplicities, words, epochs)
    beyond_h, beyond_m = _beyond_hernandez(parameters, tokens), _beyond_muennighoff(parameters, tokens)
    ran = "models of 1.5M to 1B parameters, 100B training tokens, 1 to 90 % of them a random part, repeated evenly"
    fit = "all data repeated evenly, up to 9B parameters and 900B training tokens"
    classes = "applied class by class, where the fit repeats all data alike"
    return [
        Figure("share in the damage band", band, HERNANDEZ, ran, beyond_h),
        Figure("worth as words seen once", found, MUENNIGHOFF, fit, (classes, *beyond_m)),
        Figure("worth of a training word", found / (total * epochs), MUENNIGHOFF, fit, (classes, *beyond_m)),
    ]


def _beyond_hernandez(parameters: float, tokens: float) -> tuple[str, ...]:
    low, high = HERNANDEZ_PARAMETERS
    beyond = []
    if not low <= parameters <= high:
        beyond.append(f"{parameters:.3g} parameters lie outside 1.5e+06 to 1e+09")
    if not 0.5 <= tokens / HERNANDEZ_TOKENS <= 2:
        beyond.append(f"{tokens:.3g} training tokens; measured at 1e+11 alone")
    return (*beyond, "repeats of a corpus are of many counts at once and no random part of it")


def _beyond_muennighoff(parameters: float, tokens: float) -> tuple[str, ...]:
    beyond = []
    if parameters > MUENNIGHOFF_PARAMETERS:
        beyond.append(f"{parameters:.3g} parameters; fitted up to 9e+09")
    if tokens > MUENNIGHOFF_TOKENS:
        beyond.append(f"{tokens:.3g} training tokens; fitted up to 9e+11")
    return tuple(beyond)


def amount(text: str) -> float:
    """A number such as 7B, 350M or 1e9. Raises ValueError."""
    shown = text.strip().replace("_", "").replace(",", "")
    factor = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}.get(shown[-1:].lower())
    try:
        value = float(shown[:-1] if factor else shown) * (factor or 1)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"{text!r}: expected a number such as 7B, 350M or 1e9")
    return value
