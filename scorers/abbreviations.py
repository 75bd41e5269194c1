"""Words after whose full stop a sentence goes on, per language; lower case, without the last dot.

Short on purpose: titles, months and the like that a name or a number follows. Words that often end a sentence
("etc.", "usw.") are left out. Single capital letters ("J."), letters with dots between them ("e.g.", "U.S.") and the
number that opens a line ("1.") need no list.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Language = Literal["none", "en", "de", "fr", "es", "it", "nl", "pt", "ru"]

ABBREVIATIONS: dict[str, str] = {
    "none": "",
    "en": "mr mrs ms dr prof rev gen col capt lt sgt sen rep gov hon st mt ft vs fig figs no nos vol ch sec eq cf al "
    "approx dept jan feb mar apr jun jul aug sep sept oct nov dec",
    "de": "dr prof hr fr st nr bd abb art abs bzw ca evtl ggf inkl sog vgl z.b z.t d.h u.a jan feb okt nov dez",
    "fr": "m mm mme mlle dr pr st ste no vol chap art fig p pp av cf env janv avr juil sept oct nov",
    "es": "sr sra srta dr dra ud uds prof st art cap fig p pp pag vol av aprox ene abr ago sept oct nov dic",
    "it": "sig dott prof avv ing on art cap fig p pp pag vol ecc cfr gen feb mar apr giu lug ago sett ott nov dic",
    "nl": "dhr mevr mr dr prof ir ing drs st nr blz bijv ca dwz enz evt incl o.a jan feb okt nov dec",
    "pt": "sr sra dr dra prof st art cap fig p pp pag vol av aprox jan fev abr ago set out nov dez",
    "ru": "г гг ул им рис стр см ст пр др т.е т.д т.п",
}

MAX_BYTES = 7  # an abbreviation is compared as one 64-bit number


def abbreviation_keys(language: str, more: tuple[str, ...] = ()) -> np.ndarray:
    """uint64, sorted: the bytes of each abbreviation, first byte lowest. Raises ValueError for one that is too long."""
    keys = set()
    for word in (*ABBREVIATIONS[language].split(), *more):
        encoded = word.lower().rstrip(".").encode()
        if not 0 < len(encoded) <= MAX_BYTES:
            raise ValueError(f"abbreviation {word!r} has {len(encoded)} bytes; expected 1 to {MAX_BYTES} in UTF-8")
        keys.add(int.from_bytes(encoded, "little"))
    return np.array(sorted(keys), np.uint64)
