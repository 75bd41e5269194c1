"""Limits and order of each tool's rules, and the verdict they make.

PROFILES holds, per tool, how it splits words and its limits, in the order in which it looks. A document is dropped by
the first number that is past its limit: above it, or below it where the number is a share of what is distinct (nemo's
lines and paragraphs). FINEWEB2 holds the limits of FineWeb-2 for datatrove's numbers in other languages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

TOP = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


@dataclass(frozen=True)
class Rules:
    """words: the splitter, by name. limits: {number: limit}, in the tool's order. at_least: limits from below."""

    words: str
    limits: dict[str, float]
    at_least: frozenset[str] = frozenset()
    empty: str | None = None
    """why a document without text is dropped; None: it is judged like any other"""
    undefined: frozenset[str] = frozenset()
    """numbers that drop a document where the tool cannot compute them"""


def _grams(top: str, duplicate: str) -> dict[str, float]:
    return {top.format(n=n): v for n, v in TOP.items()} | {duplicate.format(n=n): v for n, v in DUPLICATE.items()}


_DATATROVE = {"dup_para_frac": 0.3, "dup_para_char_frac": 0.2, "dup_line_frac": 0.3, "dup_line_char_frac": 0.2}
_DOLMA = {"fraction_of_duplicate_lines": 0.3, "fraction_of_characters_in_duplicate_lines": 0.3}
_DOLMA |= _grams("fraction_of_characters_in_most_common_{n}grams", "fraction_of_characters_in_duplicate_{n}grams")
_NEMO = {
    "repeated_lines": 0.7,
    "repeated_paragraphs": 0.7,
    "repeated_lines_char": 0.8,
    "repeated_paragraphs_char": 0.8,
}
_UNITS = {"line_count": 0.3, "paragraph_count": 0.3, "line_chars": 0.2, "paragraph_chars": 0.2}

PROFILES = {
    "datatrove": Rules("spacy", _DATATROVE | _grams("top_{n}_gram", "duplicated_{n}_n_grams"), empty="empty"),
    "dolma-v1": Rules("whitespace", _DOLMA),
    "dolma-v2": Rules("whitespace", _DOLMA),
    "nemo": Rules(
        "nemo",
        _NEMO | _grams("repeating_top_{n}grams", "repeating_dup_{n}gram"),
        at_least=frozenset(_NEMO),
        undefined=frozenset(_NEMO),
    ),
    "rpv2": Rules("rpv2", _grams("rps_doc_frac_chars_top_{n}gram", "rps_doc_frac_chars_dupe_{n}grams")),
    "dclm": Rules(
        "uniseg",
        _UNITS | _grams("{n}gram_top", "{n}gram_all"),
        empty="empty",
        undefined=frozenset(_UNITS),
    ),
    "olmo3": Rules("unicode_words", _UNITS | _grams("{n}gram_top", "{n}gram_all")),
}

# dup_line_frac; top 2, 3, 4; duplicated 5 to 10. FineWeb-2 looks at no paragraphs and no characters of lines.
FINEWEB2: dict[str, tuple[float, ...]] = {
    "ar": (0.304, 0.197, 0.172, 0.146, 0.165, 0.153, 0.142, 0.131, 0.12, 0.109),
    "de": (0.263, 0.169, 0.153, 0.137, 0.141, 0.134, 0.126, 0.117, 0.108, 0.098),
    "es": (0.265, 0.077, 0.097, 0.112, 0.152, 0.137, 0.123, 0.114, 0.107, 0.099),
    "fr": (0.264, 0.161, 0.149, 0.134, 0.15, 0.141, 0.131, 0.121, 0.111, 0.1),
    "it": (0.246, 0.198, 0.156, 0.133, 0.144, 0.136, 0.127, 0.118, 0.109, 0.1),
    "nl": (0.333, 0.093, 0.117, 0.14, 0.177, 0.16, 0.145, 0.133, 0.123, 0.112),
    "pl": (0.353, 0.096, 0.12, 0.144, 0.203, 0.182, 0.163, 0.15, 0.137, 0.126),
    "pt": (0.325, 0.093, 0.117, 0.139, 0.19, 0.172, 0.154, 0.142, 0.131, 0.12),
    "ru": (0.322, 0.184, 0.164, 0.146, 0.168, 0.156, 0.145, 0.133, 0.121, 0.109),
    "zh": (0.287, 0.256, 0.201, 0.171, 0.198, 0.182, 0.167, 0.154, 0.14, 0.127),
}


def limits_for(profile: str, language: str) -> dict[str, float | None]:
    """The limits of a profile in a language, in order; those of English where the tool has none for it."""
    limits: dict[str, float | None] = dict(PROFILES[profile].limits)
    if profile == "datatrove" and language in FINEWEB2:
        grams = [name for name in limits if "gram" in name]
        own = dict(zip(["dup_line_frac", *grams], FINEWEB2[language], strict=True))
        off = dict.fromkeys(("dup_para_frac", "dup_para_char_frac", "dup_line_char_frac"))
        return {name: (off | own)[name] for name in limits}
    return limits


def verdict(
    profile: str, text: str, numbers: Mapping[str, float | None], limits: Mapping[str, float | None]
) -> str | None:
    """The first rule that drops a document, None if it is kept."""
    rules = PROFILES[profile]
    if not text and rules.empty:
        return rules.empty
    for name, limit in limits.items():
        # datatrove takes a limit of 0 on lines and paragraphs for no limit.
        if limit is None or (limit == 0 and name in _DATATROVE):
            continue
        if profile == "olmo3":  # compared in single precision
            limit = float(np.float32(limit))
        number = numbers.get(name)
        if number is None:
            if name in rules.undefined:
                return f"{name} undefined"
            continue
        if number < limit if name in rules.at_least else number > limit:
            return name
    return None
