"""How much of a document repeats itself: lines, paragraphs, sentences, word n-grams, loops. All exact, no thresholds.

"The Gopher repetition filter" is not one filter: its implementations disagree on which copies count, whether characters
are counted once, and the denominator. These columns fix each choice (repetition/units.py, ngrams.py and loops.py say
how), lie in [0, 1], and leave the verdict to a query or to repetition/gopher.py. With prefix ``rep_``, or ``<alias>_``:

- ``line_``, ``para_``, ``sent_`` + ``excess``, ``mass``, ``excess_chars``, ``mass_chars``: float32;
- ``sent_consecutive``, ``sents``, ``sent_longest_run``: int32, for the corpus rate of repeated sentences;
- ``ngram2_`` .. ``ngram10_`` + ``cover``, ``cover_later``, ``top_cover``, ``excess``: float32;
- ``loop_period``, ``loop_copies``: int32, ``loop_share``: float32.

A share is null when the document holds no unit of the kind at all (no line, fewer than n words), and 0 when nothing
repeats. ``loop_period`` is null without a loop.

    scorer = load(Settings(language="de"), {}, "repetition")
    columns = scorer.score(texts)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, field_validator

from scorers.abbreviations import Language, abbreviation_keys

if TYPE_CHECKING:
    import numpy as np

    from scorers.texts import Texts

VERSION = 1


class Settings(BaseModel):
    """What shapes the columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # What the words of n-grams and loops are (scorers/words.py). Lines, paragraphs and sentences do not depend on it.
    split: Literal["unicode", "whitespace", "characters"] = "unicode"
    # Whose abbreviations do not end a sentence (scorers/abbreviations.py), and more of them.
    language: Language = "en"
    abbreviations: tuple[str, ...] = ()

    @field_validator("abbreviations")
    @classmethod
    def _short_enough(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        abbreviation_keys("none", words)
        return words


def model_files(settings: Settings) -> dict[str, str]:
    """None: everything is in the settings."""
    return {}


def load(settings: Settings, files: dict[str, str], name: str) -> Repetition:
    """The scorer; its columns start with ``rep_``, or with ``<name>_`` under another name."""
    prefix = "rep_" if name == "repetition" else f"{name}_"
    return Repetition(settings, abbreviation_keys(settings.language, settings.abbreviations), schema_for(prefix))


def schema_for(prefix: str = "rep_") -> pa.Schema:
    """The columns, in order."""
    from scorers.repetition import ngrams, units

    sizes = range(ngrams.MIN_N, ngrams.MAX_N + 1)
    fields = [(f"{unit}_{metric}", pa.float32()) for unit in units.UNITS for metric in units.METRICS]
    fields += [(name, pa.int32()) for name in ("sent_consecutive", "sents", "sent_longest_run")]
    fields += [(f"ngram{n}_{metric}", pa.float32()) for n in sizes for metric in ngrams.METRICS]
    fields += [("loop_period", pa.int32()), ("loop_copies", pa.int32()), ("loop_share", pa.float32())]
    return pa.schema([(prefix + name, kind) for name, kind in fields])


@dataclass(frozen=True)
class Repetition:
    """A loaded scorer. abbreviations: what ``abbreviation_keys`` made of the settings."""

    settings: Settings
    abbreviations: np.ndarray
    schema: pa.Schema

    def score(self, texts: Texts) -> list[pa.Array]:
        """One array per field of ``schema``."""
        import numpy as np

        from scorers.repetition.loops import measure_loops
        from scorers.repetition.ngrams import measure_ngrams
        from scorers.repetition.tables import number_words
        from scorers.repetition.units import measure_units
        from scorers.sentences import unit_ends
        from scorers.words import split_words

        data, offsets, words = texts.data, texts.offsets, texts.words
        ids = number_words(data, offsets, words)
        shares, counts = measure_units(data, offsets, words, ids, unit_ends(data, offsets, words, self.abbreviations))
        if self.settings.split != "unicode":
            words = split_words(data, offsets, self.settings.split)
            ids = number_words(data, offsets, words)
        period, copies, share = measure_loops(words, ids)
        arrays = [*shares, *counts, *measure_ngrams(words, ids)]
        columns = [pa.array(values, mask=np.isnan(values) if values.dtype.kind == "f" else None) for values in arrays]
        return [*columns, pa.array(period, mask=period == 0), pa.array(copies), pa.array(share, mask=np.isnan(share))]
