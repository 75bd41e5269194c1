"""What the user may say about a judge. Imports nothing heavy.

A judge file (YAML) holds a JudgeSettings:

    rubric: |
      A good text explains something: it defines its terms, gives reasons and examples, and could stand in a textbook.
    judges:
      - {name: qwen, model: Qwen/Qwen2.5-7B-Instruct, dtype: bfloat16}
    way: listwise
    group: 8
    rounds: 4
    refine: {rounds: 2, share: 0.3}
    max_tokens: 200_000_000
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scorers.lm.engines import EngineSettings

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Way = Literal["listwise", "pairwise", "pointwise"]
UNHASHED = {"judges", "max_tokens", "tokens_per_second", "insist", "agree", "least_reliability", "refine"}
"""What does not shape an answer; a judge's model is hashed by content, and agreement and refinement by later stages."""


class Judge(EngineSettings):
    """One judge: a model and what runs it (scorers.lm.engines)."""

    name: str = "judge"
    chat: bool = True
    """ask through the model's chat template, where it has one"""


class Refinement(BaseModel):
    """Further rounds for the documents next to a cut, once the first ones have placed it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cut: Share = 0.2
    """where the cut is, as a share of the documents from the top"""
    share: Share = 0.3
    """how many documents are asked about again, as a share of all"""
    rounds: Positive = 2


class JudgeSettings(BaseModel):
    """A rubric, who judges by it, and how they are asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rubric: Annotated[str, Field(min_length=1)]
    """what makes a text good; the prompt begins with it"""
    judges: Annotated[list[Judge], Field(min_length=1, max_length=2)]
    """one, or two that must agree"""
    way: Way = "listwise"
    group: Annotated[int, Field(ge=2, le=26)] = 8
    """texts of a listwise prompt"""
    rounds: Positive = 4
    """how often each document is shown; of pointwise: 1, or 2 to ask for grades from both ends"""
    anchors: Annotated[int, Field(ge=0)] = 1
    """places of each listwise prompt that go to documents which come back again and again"""
    grades: Annotated[int, Field(ge=2, le=10)] = 6
    """of pointwise, from 0"""
    excerpt: Annotated[int, Field(ge=8)] = 256
    """tokens of a document that the judge reads"""
    place: Literal["head", "random"] = "head"
    """which tokens: the first, or a place that is drawn by the document's id"""
    refine: Refinement | None = None
    agree: Annotated[float, Field(gt=0, le=1)] = 0.25
    """two judges: how far apart their ranks of a document may be, as a share of all documents"""
    least_reliability: Annotated[float, Field(ge=0, le=1)] = 0.2
    """agreement of the two halves of the rounds below which the answers are refused"""
    insist: bool = False
    """make labels even of answers that the evidence speaks against"""
    max_tokens: Positive | None = None
    """tokens that all judges together may read; more is refused before the first prompt"""
    tokens_per_second: Annotated[float, Field(gt=0)] | None = None
    """for `plan`, where no rate was measured yet"""
    batch: Positive = 64
    """prompts of one ledger row: what a kill can cost"""
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _fits(self) -> JudgeSettings:
        if self.way == "listwise" and self.anchors >= self.group:
            raise ValueError(f"{self.anchors} anchors leave no room in a group of {self.group}")
        if self.way == "pointwise" and self.rounds > 2:
            raise ValueError("pointwise has two wordings of its question; rounds: 1 or 2")
        if self.way == "pointwise" and self.refine is not None:
            raise ValueError("refine compares documents with each other; it goes with listwise and pairwise")
        names = [judge.name for judge in self.judges]
        if len(set(names)) < len(names):
            raise ValueError(f"both judges are called {names[0]!r}; give them names")
        return self

    @property
    def slots(self) -> int:
        """Texts of one prompt."""
        return {"listwise": self.group, "pairwise": 2, "pointwise": 1}[self.way]

    @property
    def fixed(self) -> int:
        """Texts of one prompt that are anchors."""
        return self.anchors if self.way == "listwise" else 0

    @property
    def own(self) -> int:
        """Texts of one prompt that a round brings in."""
        return self.slots - self.fixed

    @property
    def symbols(self) -> int:
        """Answers to choose from."""
        return self.grades if self.way == "pointwise" else self.slots
