"""What `tamis repeats near` can be told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scorers.near.minhash import Scheme

ASIDE = ("corpora", "alarm_cluster", "alarm_source", "alarm_documents", "buffer_mb")
"""Settings that do not change what is written (corpora count by their hashes)."""


KEEPS = ("longest", "first")
"""Rules of `keep` that need no column."""


class NearSettings(BaseModel):
    """Settings of a search for near-duplicates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpora: list[str] = []
    """searched together, in this order; empty: all of the workspace (in a config: of the config)"""
    ngram: Annotated[int, Field(ge=1, le=100)] = 5
    """words of a shingle"""
    bands: Annotated[int, Field(ge=1, le=1000)] = 20
    rows: Annotated[int, Field(ge=1, le=100)] = 6
    """a pair of Jaccard similarity s is looked at with probability 1 - (1 - s^rows)^bands"""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    fold: bool = True
    """case and punctuation do not count"""
    verify_ngram: Annotated[int, Field(ge=1, le=100)] = 3
    """words of the n-grams that candidates are compared by"""
    measure: Literal["containment", "jaccard"] = "containment"
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """the least share of a document's n-grams that the kept document has (or Jaccard similarity of the two)"""
    keep: str = "longest"
    """who stays: 'longest', 'first', a column of `scored` (its highest value), or '-column' (its lowest)"""
    sources: list[str] = []
    """sources to be kept before others, the best first; counts before `keep`"""
    alarm_cluster: Annotated[float, Field(gt=0, le=1)] = 0.01
    """share of all documents that one cluster may lose"""
    alarm_source: Annotated[float, Field(gt=0, le=1)] = 0.5
    """share of its documents that one source may lose"""
    alarm_documents: Annotated[int, Field(ge=1)] = 100
    """no alarm below so many documents"""
    buffer_mb: Annotated[int, Field(ge=16)] = 512
    """MB of keys, pairs or n-grams that a worker holds at once"""

    @model_validator(mode="after")
    def _possible(self) -> NearSettings:
        if self.bands * self.rows > 10_000:
            raise ValueError(f"bands x rows is {self.bands * self.rows}; expected at most 10,000 values a document")
        if not self.keep.strip("-"):
            raise ValueError("keep: expected longest, first, or a column")
        return self

    @property
    def scheme(self) -> Scheme:
        """How signatures are made."""
        return Scheme(self.ngram, self.bands, self.rows, self.seed)

    @property
    def buffer(self) -> int:
        """The same in bytes."""
        return int(self.buffer_mb * 10**6)

    def hashed(self) -> dict[str, Any]:
        """What shapes the result."""
        return self.model_dump(mode="json", exclude=set(ASIDE))
