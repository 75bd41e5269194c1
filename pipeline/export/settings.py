"""What the user may say about an export. Imports nothing but pydantic, so that configs are checked quickly.

ExportSettings(selection="best", format="hf", scores=["preselect_score"], hf={"license": "odc-by"})
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class CardSettings(BaseModel):
    """The part of a dataset card that only the user knows; see the hub's documentation of dataset cards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pretty_name: str | None = None
    license: str | None = None
    """an identifier of the hub, such as odc-by or cc-by-sa-4.0"""
    language: list[str] = []
    """ISO 639 codes"""
    tags: list[str] = []
    task_categories: list[str] = ["text-generation"]
    description: str | None = None


class ExportSettings(BaseModel):
    """Everything of an export that decides about its bytes, and `out`, which decides only where they lie."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    selection: str | None = None
    """a selection by name (the newest of it) or by folder name (best-1a2b3c4d); None: all that is not held out"""
    corpora: list[str] = []
    """without a selection: the corpora to export; empty: all"""
    format: Literal["parquet", "jsonl", "hf"] = "parquet"
    out: str | None = None
    """folder or URL; None: exports/<name>-<hash8> in the workspace"""
    columns: list[str] | None = None
    """columns of the documents to keep besides id, text and source; None: all"""
    scores: list[str] = []
    """score columns that travel along"""
    weight: str | None = None
    """a column that travels along as `weight`, float64: what a trainer samples or weighs by"""
    shard_mb: Annotated[float, Field(gt=0)] = 256
    """decompressed text per output shard, about, in 10^6 bytes"""
    order: Literal["shuffled", "input"] = "shuffled"
    """shuffled: by a hash of (id, seed), over all shards and corpora; input: as the corpora have it"""
    seed: Annotated[int, Field(ge=0, lt=2**64)] = 0
    with_held_out: bool = False
    """the held-out documents as a split of their own, `held_out`; never mixed with the others"""
    allow_missing: bool = False
    """where a score shard is missing, export NULL instead of refusing"""
    hf: CardSettings = CardSettings()
    """for the card of format hf"""

    @model_validator(mode="after")
    def _together(self) -> ExportSettings:
        if self.selection is not None and self.corpora:
            raise ValueError("`corpora` are for exports without a selection: a selection has its own")
        return self

    @property
    def shard_bytes(self) -> int:
        """Decompressed text per output shard."""
        return max(int(self.shard_mb * 1_000_000), 1)
