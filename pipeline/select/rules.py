"""Highest values that pass, per column and language: Gopher's rules, or anyone's, with a reason for each.

    rules = Rules.of(gopher="later", limits={"rep_line_excess": 0.4}, language="lang", languages={"ja": {...}})
    over = rules.exceeded(table)        # {column: bool array}

A null (a document too short for a metric) exceeds nothing. `gopher` takes the limits of scorers/repetition/gopher.py,
`limits` adds to them or changes them, and a language's own limits come over both, for documents of that language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorers.repetition.gopher import gopher_limits

Limits = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Rules:
    """Limits in the order in which they are asked."""

    limits: Limits = ()
    language: str | None = None
    """column of the language: text, or a list whose first entry counts (`top` of a fastText stage)"""
    languages: tuple[tuple[str, Limits], ...] = ()

    @classmethod
    def of(
        cls,
        gopher: str | None,
        limits: Mapping[str, float],
        language: str | None,
        languages: Mapping[str, Mapping[str, float]],
    ) -> Rules:
        """From settings. Raises ValueError for another word than "later" or "all"."""
        base = (gopher_limits(gopher) if gopher else {}) | dict(limits)  # type: ignore[arg-type]
        own = tuple((name, tuple(inner.items())) for name, inner in languages.items())
        return cls(tuple(base.items()), language, own)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Columns that may be exceeded; each is a reason by its own name."""
        names = [name for name, _ in self.limits]
        names += [name for _, inner in self.languages for name, _ in inner]
        return tuple(dict.fromkeys(names))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of `scored` that are read."""
        return (*self.reasons, *([self.language] if self.language else []))

    def exceeded(self, table: pa.Table) -> dict[str, np.ndarray]:
        """{reason: bool array of shape (rows,)}."""
        base, rows = dict(self.limits), table.num_rows
        codes, names = self._languages(table)
        over = {}
        for reason in self.reasons:
            values = table.column(reason)
            kind = np.float32 if values.type == pa.float32() else np.float64
            # A score of exactly float32(0.3) must not exceed a limit of 0.3.
            highest = np.full(len(names), base.get(reason, np.inf), kind)
            for language, inner in self.languages:
                if language in names and reason in dict(inner):
                    highest[names.index(language)] = dict(inner)[reason]
            numbers = pc.cast(values, pa.from_numpy_dtype(kind), safe=False).to_numpy(zero_copy_only=False)
            over[reason] = numbers > highest[codes] if rows else np.zeros(0, bool)  # null became NaN
        return over

    def _languages(self, table: pa.Table) -> tuple[np.ndarray, list[str]]:
        if self.language is None:
            return np.zeros(table.num_rows, np.int64), [""]
        column = table.column(self.language)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            firsts = [None if not v else v[0] for v in column.to_pylist()]
            column = pa.chunked_array([pa.array(firsts, pa.string())])
        coded = pc.fill_null(pc.cast(column, pa.string()), "").combine_chunks().dictionary_encode()
        coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
        return coded.indices.to_numpy(zero_copy_only=False).astype(np.int64), coded.dictionary.to_pylist() or [""]


NO_RULES = Rules()
