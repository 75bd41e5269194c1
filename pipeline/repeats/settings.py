"""What a count of repeats is told, and how it is laid out in memory and on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from scorers.abbreviations import Language

BASE_BYTES = 360 << 20
"""What a worker takes before it holds any record: 260 MB for Python, Arrow, Dask and the kernels, a batch of text and
its words the rest."""
LEAST_BUFFER = 48 << 20
MOST_BITS = 16
Kind = Literal["document", "paragraph", "line", "sentence"]


class CountSettings(BaseModel):
    """What every count is told. `memory` shapes no number of the result and is not part of its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpora: list[str] = []
    """counted together [all]"""
    against: list[str] = []
    """occurrences are those in these corpora instead; `corpora` are only looked up"""
    examples: int = 100
    """repeats kept of each ranking: longest, most frequent, most words"""
    memory: str = "512MB"
    """what a worker may hold, unless --memory says so"""

    @field_validator("examples")
    @classmethod
    def _examples(cls, value: int) -> int:
        if not 1 <= value <= 10_000:
            raise ValueError("expected 1 to 10000")
        return value

    @field_validator("memory")
    @classmethod
    def _memory(cls, value: str) -> str:
        memory_bytes(value)
        return value

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.against and set(self.against) & set(self.corpora):
            raise ValueError("against: a corpus cannot be compared with itself; leave `against` out")
        return self

    def hashed(self) -> dict[str, Any]:
        """What shapes the result, corpora and the tokenizer's path aside: their contents are hashed."""
        return self.model_dump(mode="json", exclude={"corpora", "against", "memory", "tokenizer"})


class SpanSettings(CountSettings):
    """Repeated spans."""

    window: int = 50
    """words or tokens of a span"""
    tokenizer: str | None = None
    """tokenizer.json, its folder, or a hub name: count tokens instead of words"""
    split: Literal["unicode", "whitespace", "characters"] = "unicode"
    thresholds: tuple[int, ...] = (2, 10, 100, 1000)
    """coverage is by spans that occur at least so often; with `against`, 1 comes first"""
    sample: float | None = None
    """count only this share of the spans, drawn by content: mass with an error bar, no coverage"""
    seed: int = 0
    """of the sample"""
    winnow: int | None = None
    """count only the smallest of so many spans in a row: finds every repeat of window + winnow - 1 words"""

    @field_validator("window")
    @classmethod
    def _window(cls, value: int) -> int:
        if not 2 <= value <= 100_000:
            raise ValueError("expected 2 to 100000 words")
        return value

    @field_validator("thresholds")
    @classmethod
    def _thresholds(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if not values or list(values) != sorted(set(values)) or values[0] < 1 or values[-1] >= 2**32 or len(values) > 8:
            raise ValueError("expected at most 8 growing numbers from 1 on, such as [2, 10, 100]")
        return values

    @field_validator("sample")
    @classmethod
    def _sample(cls, value: float | None) -> float | None:
        if value is not None and not 2**-31 < value < 1:
            raise ValueError("expected a share between 0 and 1, such as 0.01")
        return value

    @field_validator("winnow")
    @classmethod
    def _winnow(cls, value: int | None) -> int | None:
        if value is not None and not 2 <= value <= 100_000:
            raise ValueError("expected 2 or more spans in a row")
        return value

    @model_validator(mode="after")
    def _together(self) -> SpanSettings:
        if self.sample is not None and self.winnow is not None:
            raise ValueError("sample and winnow: choose one of them")
        if self.sample is not None and self.against:
            raise ValueError("sample gives no coverage, which is what `against` is for; use winnow, or neither")
        if not self.against and self.thresholds[0] < 2:
            raise ValueError("thresholds: every span occurs once; expected 2 or more")
        return self

    @property
    def levels(self) -> tuple[int, ...]:
        """The thresholds of coverage."""
        return tuple(dict.fromkeys((1, *self.thresholds))) if self.against else self.thresholds


class UnitSettings(CountSettings):
    """Exact duplicates of documents, paragraphs, lines and sentences."""

    kinds: tuple[Kind, ...] = ("document", "paragraph", "line", "sentence")
    least_words: int = Field(default=1, ge=1)
    """units of fewer words are not counted"""
    language: Language = "en"
    """whose abbreviations do not end a sentence"""
    abbreviations: tuple[str, ...] = ()

    sample: ClassVar[None] = None
    tokenizer: ClassVar[None] = None

    @field_validator("kinds")
    @classmethod
    def _kinds(cls, values: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if not values or len(set(values)) < len(values):
            raise ValueError("expected some of document, paragraph, line, sentence, each once")
        return values


@dataclass(frozen=True)
class Layout:
    """How records lie on disk: 2^bits partitions, in runs of so many records; a slab is what is sorted at once."""

    bits: int
    run: int
    slab: int

    @property
    def partitions(self) -> int:
        """How many."""
        return 1 << self.bits

    @property
    def name(self) -> str:
        """Of the folder of files that are laid out so."""
        return f"work-{self.partitions}x{self.run}"

    @classmethod
    def of(cls, records: float, memory: int) -> Layout:
        """For about so many records, and workers of so many bytes."""
        from scorers.repetition.counting import RECORD_BYTES, SCRATCH_BYTES, TABLE_BYTES

        budget = max(memory - BASE_BYTES, LEAST_BUFFER)
        # A run is held twice: as it came, and routed.
        run = _power_below(0.25 * budget / (2 * RECORD_BYTES))
        slab = _power_below(0.35 * budget / (RECORD_BYTES + SCRATCH_BYTES))
        # Partitions differ a little in size.
        fits = min(0.5 * budget / TABLE_BYTES / 1.2, 1 << 30)
        bits = 0
        while bits < MOST_BITS and records > fits * 2**bits:
            bits += 1
        return cls(bits, run, slab)


def sieve_bytes(memory: int) -> int:
    """What the sieve of a search may take of a worker's memory."""
    return _power_below(0.2 * max(memory - BASE_BYTES, LEAST_BUFFER))


def _power_below(value: float) -> int:
    return 1 << (max(int(value), 1).bit_length() - 1)


def memory_bytes(text: str) -> int:
    """Bytes of a size such as '512MB'. Raises ValueError."""
    from dask.utils import parse_bytes

    try:
        value = parse_bytes(text)
    except ValueError:
        raise ValueError(f"{text!r} is no size; expected one such as 512MB or 4GB") from None
    if value < 450e6:
        raise ValueError(
            f"{text!r} is too little: a worker takes some 360 MB before it holds any record; give 450MB or more"
        )
    return value
