"""What the user may say about an insertion. Imports nothing but pydantic.

InsertSettings(owner_column="author", place="word", between=(0.5, 1.0))      # one in each document of an owner
InsertSettings(grid="100x1,50x2,20x5,10x10")                # identifiers x repetitions
InsertSettings(repetitions=10, sql="SELECT id FROM scored WHERE words > 300")
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Place = Literal["paragraph_end", "own_line", "sentence_end", "word", "document_end"]
Fraction = Annotated[float, Field(ge=0, le=1)]
_LEVEL = re.compile(r"\s*(\d+)\s*[xX*]\s*(\d+)\s*")


class InsertSettings(BaseModel):
    """Everything that decides which document gets which identifier, and where in its text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner_column: str | None = None
    """column of the documents: each document of an owner gets one of the owner's identifiers, all equally often"""
    repetitions: Annotated[int, Field(ge=1)] | None = None
    """documents of each identifier; with owner_column: at most so many"""
    grid: str | None = None
    """'100x1,50x2': so many identifiers in so many documents each"""
    sql: str | None = None
    """a SELECT over the workspace's views that gives `id`: only these documents"""
    place: Place = "paragraph_end"
    between: tuple[Fraction, Fraction] = (0.0, 1.0)
    """the part of the text, in bytes from its beginning"""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    held_out: bool = False
    """let documents of the held-out split take part"""

    @field_validator("grid")
    @classmethod
    def _grid(cls, value: str | None) -> str | None:
        if value is not None:
            levels(value)
        return value

    @model_validator(mode="after")
    def _one_way(self) -> InsertSettings:
        ways = [name for name in ("owner_column", "repetitions", "grid") if getattr(self, name) is not None]
        if ways not in (["owner_column"], ["repetitions"], ["grid"], ["owner_column", "repetitions"]):
            raise ValueError(
                "expected one of owner_column (perhaps with repetitions), repetitions or grid, to say which documents "
                "get which identifier"
            )
        if self.between[0] > self.between[1]:
            raise ValueError(f"between: {self.between[0]:g} is after {self.between[1]:g}")
        if self.place == "document_end" and self.between != (0.0, 1.0):
            raise ValueError("between: the end of a document lies where it lies; expected another place")
        return self


def levels(grid: str) -> list[tuple[int, int]]:
    """(identifiers, repetitions) of '100x1,50x2'. Raises ValueError."""
    found = []
    for part in grid.split(","):
        matched = _LEVEL.fullmatch(part)
        if matched is None or not int(matched[1]) or not int(matched[2]):
            raise ValueError(f"{part.strip()!r}: expected identifiers x repetitions, such as 100x1,50x2,20x5")
        found.append((int(matched[1]), int(matched[2])))
    return found


class SurviveSettings(BaseModel):
    """What `tamis ghosts survive` tries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: Annotated[int, Field(ge=20)] = 2000
    """drawn from the corpus"""
    repetitions: Annotated[int, Field(ge=1)] = 10
    identifiers: Annotated[int, Field(ge=1)] | None = None
    """None: as many as half of the documents hold"""
    places: tuple[Place, ...] = get_args(Place)
    carrier: Literal["both", "with", "without"] = "both"
    """the sentences of the registry, phrases alone, or each in turn"""
    between: tuple[Fraction, Fraction] = (0.5, 1.0)
    """of the place `word`"""
    model: str | None = None
    """a fastText model for the cut by a classifier"""
    language_model: str | None = None
    """folder of a causal language model for the cuts by perplexity"""
    seed: Annotated[int, Field(ge=0)] = 0
