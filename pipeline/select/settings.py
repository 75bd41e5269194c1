"""What the user may say about a selection. Imports nothing but pydantic, so that configs are checked quickly.

SelectSettings(by="preselect_score", budget="2B tokens", where="rep_ngram10_cover < 0.5", caps={"wiki": "30%"})

The pool of a selection is every document of its corpora that is not held out (held_out=True: every document). A share
of a budget ("10% tokens") is a share of the pool, before `where`: the same number for the cut and for its control.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

UNITS = ("tokens", "chars", "documents", "bytes")
"""What a budget counts; tokens, chars and bytes are columns of the `lengths` stage."""
FACTORS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}
AMOUNT = re.compile(r"\s*([0-9][0-9_,]*\.?[0-9]*|\.[0-9]+)\s*((?:[kmbgt](?![a-z]))?|%)\s*([a-z]*)\s*", re.IGNORECASE)
EXPECTED = "expected a number with K, M, B, T or %, then one of tokens, chars, documents, bytes: '2B tokens'"


@dataclass(frozen=True)
class Amount:
    """A number of units, or a share of one."""

    value: Fraction
    is_share: bool
    unit: str | None

    def of(self, whole: int) -> int:
        """Whole units: the number itself, or the share of `whole`, rounded down."""
        return int(self.value * whole) if self.is_share else int(self.value)


def amount(text: str | int) -> Amount:
    """'2B tokens', '10% tokens', '5000 documents', 300000 or '30%'. Raises ValueError."""
    match = AMOUNT.fullmatch(str(text))
    if match is None:
        raise ValueError(EXPECTED)
    digits, suffix, unit = match[1].replace("_", "").replace(",", ""), match[2].lower(), match[3].lower()
    if unit and unit not in UNITS:
        unit = {
            "token": "tokens",
            "char": "chars",
            "characters": "chars",
            "document": "documents",
            "docs": "documents",
        }.get(unit, unit)
        if unit not in UNITS:
            raise ValueError(EXPECTED)
    if suffix == "%":
        share = Fraction(digits) / 100
        if share > 1:
            raise ValueError("a share is at most 100%")
        return Amount(share, True, unit or None)
    return Amount(Fraction(digits) * FACTORS[suffix], False, unit or None)


class SelectSettings(BaseModel):
    """Everything of a selection that decides which documents are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpora: list[str] = []
    """empty: all corpora of the workspace (of the config, in a config)"""
    by: str | None = None
    """numeric column of `scored` to rank by, compared as 64-bit floats"""
    ascending: bool = False
    """the lowest score first"""
    random: Annotated[int, Field(ge=0, lt=2**64)] | None = None
    """rank by a hash of (id, this seed) instead of a score: the control of equal budget"""
    budget: str | None = None
    """'2B tokens', '10% tokens', '5000 documents': the longest prefix of the ranking whose sum does not exceed it. The
    first document that does not fit ends the prefix; smaller ones after it do not fill the gap."""
    where: str | None = None
    """an SQL predicate over the columns of `scored`; NULL counts as false"""
    gopher: Literal["later", "all"] | None = None
    """Gopher's repetition rules over the columns of `repetition`: counting later copies, or all copies"""
    limits: dict[str, float] = {}
    """{numeric column of `scored`: highest value that passes}, over those of `gopher`; NULL always passes. Each column
    that is exceeded is a reason by its name."""
    language: str | None = None
    """column with the document's language, for `languages`: text, or a list whose first entry counts"""
    languages: dict[str, dict[str, float]] = {}
    """{language: {column: highest value that passes}}: a language's own limits, over all others"""
    caps: dict[str, str | int] = {}
    """{source: at most}: an amount in the budget's unit, or a share of the budget (without one: of the pool). Each cap
    is an exact prefix of that source's own ranking; the budget is then cut over what the caps leave."""
    shares: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """{source: share of the budget}: an exact budget of its own for each. Sources that are not named compete for what
    the shares leave. A source that has too little gives all it has; the rest of its share is not given to others."""
    undefined: Literal["reject", "last", "first"] = "reject"
    """documents whose score is NULL or NaN: rejected, or ranked after (before) all others"""
    seed: Annotated[int, Field(ge=0, lt=2**64)] = 0
    """equal scores are ranked by a hash of (id, seed), then by id"""
    held_out: bool = False
    """let the held-out split take part"""
    allow_missing: bool = False
    """go on where scores or documents are missing; documents without scores are rejected as `missing_scores`"""

    @field_validator("budget")
    @classmethod
    def _budget(cls, value: str | None) -> str | None:
        if value is not None and amount(value).unit is None:
            raise ValueError(EXPECTED)
        return value

    @field_validator("caps")
    @classmethod
    def _caps(cls, value: dict[str, str | int]) -> dict[str, str | int]:
        for cap in value.values():
            amount(cap)
        return value

    @model_validator(mode="after")
    def _together(self) -> SelectSettings:
        if self.by is not None and self.random is not None:
            raise ValueError("`by` and `random` exclude each other: a control is not ranked by a score")
        if (self.budget or self.caps) and self.by is None and self.random is None:
            raise ValueError("a budget or cap needs a ranking: `by` a score column, or `random` with a seed")
        if bool(self.languages) != bool(self.language):
            raise ValueError("`language` names the column of the language and `languages` the limits: give both")
        if self.shares and not self.budget:
            raise ValueError("`shares` are shares of a budget: give one, such as '2B tokens'")
        if sum(Fraction(str(share)) for share in self.shares.values()) > 1:
            raise ValueError(f"the shares add up to {sum(self.shares.values()):g}, which is more than 1")
        units = {unit for unit in [a.unit for a in self._amounts()] if unit}
        if len(units) > 1:
            raise ValueError(f"budget and caps count in one unit, not in {' and '.join(sorted(units))}")
        if self.caps and not units:
            raise ValueError(f"a cap without a budget names its unit; {EXPECTED}")
        return self

    def _amounts(self) -> list[Amount]:
        return [amount(text) for text in ([self.budget] if self.budget else []) + list(self.caps.values())]

    @property
    def unit(self) -> str | None:
        """What budget and caps count; None if there are neither."""
        return next((a.unit for a in self._amounts() if a.unit), None)

    def budget_of(self, pool: int) -> int | None:
        """The budget in units, given the units in the pool."""
        return amount(self.budget).of(pool) if self.budget else None

    def caps_of(self, pool: int) -> dict[str | None, int]:
        """{source: cap in units}, given the units in the pool."""
        budget = self.budget_of(pool)
        whole = pool if budget is None else budget
        return {source: amount(cap).of(whole) for source, cap in self.caps.items()}

    def shares_of(self, pool: int) -> dict[str | None, int]:
        """{source: its exact budget}, None for all sources that have no share of their own; empty without a budget."""
        budget = self.budget_of(pool)
        if budget is None:
            return {}
        parts = {source: Fraction(str(share)) for source, share in self.shares.items()}
        own: dict[str | None, int] = {source: int(part * budget) for source, part in parts.items()}
        return own | {None: int((1 - sum(parts.values())) * budget)}
