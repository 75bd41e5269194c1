"""The numbers of each tool, as it computes them. MEASURES: {profile: text and splitter to {number: value}}.

What they disagree about, in short: which copies count (later ones, or all), whether overlapping n-grams count their
characters once, whether an n-gram that occurs once scores, what is divided by, and what a short document gets.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from scorers.profiles.rules import DUPLICATE, TOP
from scorers.profiles.splitters import Splitter

Numbers = dict[str, float | None]
Grams = list[tuple[str, ...]]

_BLANK_LINES, _LINE_BREAKS = re.compile(r"\n{2,}"), re.compile(r"\n+")
RPV2_DIGITS = 8


def grams_of(words: Sequence[str], n: int) -> Grams:
    """All n-grams, in order."""
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def _chars(words: Iterable[str]) -> int:
    return sum(map(len, words))


def datatrove(text: str, split: Splitter) -> Numbers:
    """Later copies; characters of the whole text as denominator; the top n-gram scores though it occurs once."""
    if not text:
        return {}
    numbers: Numbers = {}
    for unit, units in (("para", _BLANK_LINES.split(text.strip())), ("line", _LINE_BREAKS.split(text))):
        seen: set[str] = set()
        later = [one for one in units if one in seen or seen.add(one)]  # type: ignore[func-returns-value]
        numbers[f"dup_{unit}_frac"] = len(later) / len(units)
        numbers[f"dup_{unit}_char_frac"] = _chars(later) / len(text)
    words = split(text)
    for n in TOP:
        joined = Counter(" ".join(gram) for gram in grams_of(words, n))
        if joined:
            gram, count = joined.most_common(1)[0]
            numbers[f"top_{n}_gram"] = len(gram) * count / len(text)
    for n in DUPLICATE:
        numbers[f"duplicated_{n}_n_grams"] = _greedy_duplicates(words, n) / len(text)
    return numbers


def _greedy_duplicates(words: Sequence[str], n: int) -> int:
    """Characters of n-grams met before, left to right, n words on after each; words are joined without a space."""
    seen: set[str] = set()
    at = repeated = 0
    while at < len(words) - n + 1:
        gram = "".join(words[at : at + n])
        if gram in seen:
            repeated += len(gram)
            at += n
        else:
            seen.add(gram)
            at += 1
    return repeated


def dolma_v1(text: str, split: Splitter) -> Numbers:
    """All copies; characters of words as denominator, of n-grams for duplicate n-grams; blank lines are lines."""
    return _dolma(text, split, text.split("\n"))


def dolma_v2(text: str, split: Splitter) -> Numbers:
    """As v1, with lines cut at any run of line breaks."""
    return _dolma(text, split, _LINE_BREAKS.split(text))


def _dolma(text: str, split: Splitter, lines: list[str]) -> Numbers:
    if not text:
        return {"fraction_of_duplicate_lines": 0.0, "fraction_of_characters_in_duplicate_lines": 0.0}
    words = split(text)
    total = max(_chars(words), 1)
    numbers: Numbers = {}
    for n in (*TOP, *DUPLICATE):
        counts = Counter(grams_of(words, n))
        if not counts:
            continue
        if n in TOP:
            gram, count = counts.most_common(1)[0]
            numbers[f"fraction_of_characters_in_most_common_{n}grams"] = count * _chars(gram) / total
        else:
            mass = {gram: count * _chars(gram) for gram, count in counts.items()}
            repeated = sum(size for gram, size in mass.items() if counts[gram] > 1)
            numbers[f"fraction_of_characters_in_duplicate_{n}grams"] = repeated / max(sum(mass.values()), 1)
    counts_of_lines = [(line, count) for line, count in Counter(lines).items() if count > 1]
    numbers["fraction_of_duplicate_lines"] = sum(count for _, count in counts_of_lines) / len(lines)
    repeated = sum(len(line) * count for line, count in counts_of_lines)
    numbers["fraction_of_characters_in_duplicate_lines"] = repeated / total
    return numbers


def nemo(text: str, split: Splitter) -> Numbers:
    """Distinct lines and paragraphs over all; fewer than n words score 1; the top n-gram is looked for as a string.

    Of several top n-grams the first is taken: NeMo's choice follows the hash seed of the process. A number is null
    where NeMo divides by zero.
    """
    numbers: Numbers = {}
    lines = [line for line in text.split("\n") if line.strip()]
    for unit, units in (("lines", lines), ("paragraphs", text.split("\n\n"))):
        distinct = set(units)
        numbers[f"repeated_{unit}"] = len(distinct) / len(units) if units else None
        numbers[f"repeated_{unit}_char"] = _chars(distinct) / _chars(units) if _chars(units) else None
    words = split(text.strip())
    for n in (*TOP, *DUPLICATE):
        name = f"repeating_top_{n}grams" if n in TOP else f"repeating_dup_{n}gram"
        grams = grams_of(words, n)
        if not grams:
            numbers[name] = 1.0
        elif n in TOP:
            top = " ".join(Counter(grams).most_common(1)[0][0])
            numbers[name] = (len(text) - len(text.replace(top, ""))) / len(text)
        else:
            numbers[name] = _nemo_duplicates(grams, n) / len(text)
    return numbers


def _nemo_duplicates(grams: Grams, n: int) -> int:
    """Characters of later copies with the spaces between their words, each word once."""
    seen: set[tuple[str, ...]] = set()
    repeated = overlap = 0
    for gram in grams:
        if gram in seen:
            repeated += _chars(gram[overlap:]) + min(n - overlap, n - 1)
            overlap = n
        seen.add(gram)
        overlap = max(overlap - 1, 0)
    return repeated


def _covered(words: Sequence[str], grams: Grams, n: int, length: Callable[[str], int]) -> int:
    """Characters inside n-grams that occur twice, each once."""
    counts = Counter(grams)
    inside = np.zeros(len(words) + 1, np.int64)
    for at, gram in enumerate(grams):
        if counts[gram] > 1:
            inside[at] += 1
            inside[at + n] -= 1
    return sum(length(word) for word, depth in zip(words, np.cumsum(inside).tolist(), strict=False) if depth)


def rpv2(text: str, split: Splitter) -> Numbers:
    """All copies of normalised words; an n-gram that occurs once scores 0, and so do fewer than n words."""
    words = split(text)
    total = _chars(words)
    numbers: Numbers = {}
    for n in (*TOP, *DUPLICATE):
        name = f"rps_doc_frac_chars_{'top' if n in TOP else 'dupe'}_{n}gram{'' if n in TOP else 's'}"
        grams = grams_of(words, n)
        share = 0.0
        if grams and n in TOP:
            gram, count = Counter(grams).most_common(1)[0]
            share = _chars(gram) * count / total if count > 1 else 0.0
        elif grams:
            share = _covered(words, grams, n, len) / total
        numbers[name] = round(share, RPV2_DIGITS)
    return numbers


def dclm(text: str, split: Splitter) -> Numbers:
    """All copies of stripped lines and paragraphs; one alone scores 0, none at all is undefined."""
    if not text:
        return {}
    numbers: Numbers = {}
    for unit, separator in (("line", "\n"), ("paragraph", "\n\n")):
        units = [one.strip() for one in text.split(separator) if one.strip()]
        repeated = [(one, count) for one, count in Counter(units).items() if count > 1]
        if units:
            numbers[f"{unit}_count"] = sum(count for _, count in repeated) / len(units)
            numbers[f"{unit}_chars"] = sum(len(one) * count for one, count in repeated) / _chars(units)
    words = split(text)
    total = _chars(words)
    for n in (*TOP, *DUPLICATE):
        grams = grams_of(words, n)
        share = 0.0
        if grams and n in TOP:
            counts = Counter(grams)
            most = max(counts.values())
            if most > 1:  # of several the longest
                share = most * max(_chars(gram) for gram, count in counts.items() if count == most) / total
        elif grams:
            share = _covered(words, grams, n, len) / total
        numbers[f"{n}gram_{'top' if n in TOP else 'all'}"] = share
    return numbers


def olmo3(text: str, split: Splitter) -> Numbers:
    """As dclm, in bytes and float32, with the top n-gram's coverage; nothing is stripped, no unit at all scores 1.

    Of several top n-grams the most frequent and longest is taken, of several again the first: the tool's choice follows
    its hash table.
    """

    def size(word: str) -> int:
        return len(word.encode())

    numbers: Numbers = {}
    for unit, separator in (("line", "\n"), ("paragraph", "\n\n")):
        units = [one for one in text.split(separator) if one]
        repeated = [(one, count) for one, count in Counter(units).items() if count > 1]
        total = sum(map(size, units))
        numbers[f"{unit}_count"] = _float32(sum(c for _, c in repeated), len(units)) if units else 1.0
        numbers[f"{unit}_chars"] = _float32(sum(size(one) * c for one, c in repeated), total) if units else 1.0
    words = split(text)
    total = sum(map(size, words))
    for n in (*TOP, *DUPLICATE):
        grams = grams_of(words, n)
        covered = 0
        if n in TOP and len(grams) > 1:
            counts = Counter(grams)
            top = max(counts, key=lambda gram: (counts[gram], sum(map(size, gram))))
            if counts[top] > 1:
                places = {at + k for at, gram in enumerate(grams) if gram == top for k in range(n)}
                covered = sum(size(words[place]) for place in places)
        elif n in DUPLICATE:
            covered = _covered(words, grams, n, size)
        numbers[f"{n}gram_{'top' if n in TOP else 'all'}"] = _float32(covered, total) if covered else 0.0
    return numbers


def _float32(part: int, whole: int) -> float:
    """A share as the tool's own arithmetic gives it, in single precision."""
    return float(np.float32(part) / np.float32(whole))


MEASURES: dict[str, Callable[[str, Splitter], Numbers]] = {
    "datatrove": datatrove,
    "dolma-v1": dolma_v1,
    "dolma-v2": dolma_v2,
    "nemo": nemo,
    "rpv2": rpv2,
    "dclm": dclm,
    "olmo3": olmo3,
}
