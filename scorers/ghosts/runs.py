"""What a run of listed words is: a passphrase, or one of the many things that are made of such words too.

The kernel reports stretches of words of the list without function words, none across the end of a sentence. Ordinary
prose hardly ever has eight different ones in a row; menus, indices, tables, code and word lists do. Those betray
themselves by what lies between the words and by their order:

    list         punctuation or a line break between most words; in the order of the alphabet; or longer than any phrase
    passphrase   spaces (or one and the same hyphen, dot or underscore) between words, in no order

and a carrier before it ("The ghost sentence of ...", "Please ignore the following") makes a shorter run count: carrier.

    what = judged(run, text, min_words=8)           # (kind, confidence) or None
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

LONGEST = 40
"""Words of a run that may still be a phrase."""
CARRIER_WORDS = 5
CARRIERS = re.compile(
    rb"ghost\W{0,3}sentence|\bpass\W?phrase\b|(?:ignore|disregard)\W+(?:the\W+)?(?:following|next)|\bcanary\b",
    re.IGNORECASE,
)
BEFORE = 120
"""Bytes before a run in which a carrier is looked for."""

FALSE_PER_MILLION = {5: 8.0, 6: 2.0, 7: 0.6, 8: 0.2, 9: 0.07}
"""Runs of at least so many words per million words of prose that are no passphrases: upper bounds of what
`python -m benchmarks.ghosts` counted. Beyond: a third of the one before."""
CERTAIN = 1.0


@dataclass(frozen=True)
class Judged:
    """kind: passphrase, carrier or list. confidence: 0 to 1."""

    kind: str
    confidence: float


def judged(run: np.void, text: bytes, min_words: int) -> Judged | None:
    """What a run (a record of kernel.FOUND) is, in the bytes of its document; None if it is too short."""
    words = int(run["words"])
    distinct = words - int(run["repeats"])
    begin = int(run["begin"])
    announced = words <= LONGEST and CARRIERS.search(text, max(0, begin - BEFORE), begin) is not None
    if distinct < min_words and not (announced and distinct >= CARRIER_WORDS):
        return None
    if is_list(run, text, announced):
        return Judged("list", 0.05)
    if announced:
        return Judged("carrier", 0.99)
    return Judged("passphrase", round(1 / (1 + false_rate(distinct)), 4))


def false_rate(words: int) -> float:
    """False runs of at least so many words per million words of prose. With one ghost per million words, the
    confidence 1 / (1 + rate) is the share of such runs that are ghosts."""
    longest = max(FALSE_PER_MILLION)
    return FALSE_PER_MILLION[words] if words <= longest else FALSE_PER_MILLION[longest] * 3.0 ** (longest - words)


def is_list(run: np.void, text: bytes, announced: bool = False) -> bool:
    """Whether a run is something other than a phrase. A carrier before it outweighs the order of a few words."""
    words, gaps = int(run["words"]), int(run["words"]) - 1
    if words > LONGEST or int(run["repeats"]) > words // 4:
        return True
    # In order, or nearly: of ten random words less than 1 in 1,000.
    if not announced and min(int(run["falls"]), int(run["rises"])) <= (words >= 10):
        return True
    if int(run["breaks"]) * 3 > gaps:
        return True
    return int(run["marks"]) * 4 > gaps and not hyphened(text[int(run["begin"]) : int(run["end"])])


def hyphened(phrase: bytes) -> bool:
    """Whether one and the same mark, alone, stands between all words: some-thing-like-this."""
    marks = set(re.findall(rb"[^0-9A-Za-z\x80-\xff]+", phrase))
    return len(marks) == 1 and marks <= {b"-", b"_", b"."}
