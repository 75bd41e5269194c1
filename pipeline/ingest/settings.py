"""What the user may say about an ingest. Imports nothing but pydantic, so that configs are checked quickly.

IngestSettings(sources=["crawl/*.jsonl.zst"], text="content", id="doc_id", held_out=0.01)
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]


class IngestSettings(BaseModel):
    """Everything of an ingest that decides about its documents; `sources` counts by content, not by place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: list[str] = Field(min_length=1)
    """files, folders, globs, fsspec URLs, saved datasets; `hf://datasets/org/name`, or `org/name` with format hf"""
    format: Literal["auto", "jsonl", "parquet", "csv", "text", "hf"] = "auto"
    """auto: by the endings of the file names; all files of one corpus have one format"""
    text: str = "text"
    """column of the text"""
    id: str | None = None
    """column of the id (strings or integers); None: a hash of source path and row position. An input column named `id`
    that is not chosen here is kept as `input_id`."""
    source: str | None = None
    """column that names the source; None: the column `source` if there is one. Where it is empty: the file's top folder
    below the given path, else the corpus name."""
    columns: list[str] | None = None
    """other columns to keep; None: all"""
    messages: Literal["auto", "off", "messages", "conversations", "prompt", "instruction"] = "auto"
    """which columns hold a conversation; auto: the first of these that the input has, unless it has the text column"""
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """of CSV; None: a tab for .tsv, else a comma"""
    held_out: Fraction | dict[str, Fraction] = 0.0
    """fraction of documents marked as held out, by hash of (seed, id); a dict gives it per source"""
    seed: int = Field(default=0, ge=0, lt=2**64)
    max_chars: int = Field(default=10_000_000, gt=0)
    """longer texts are rejected; a line of JSON longer than 6 * max_chars + 16 MiB bytes is rejected unread"""
    shard_mb: float = Field(default=128, gt=0)
    """decompressed input per shard, in 10^6 bytes"""
    hf_config: str | None = None
    hf_split: str | None = None
    """None: all splits, one after another"""
    limit: int | None = Field(default=None, gt=0)
    """only the first shards of the cut; the corpus then consists of these"""

    @property
    def shard_bytes(self) -> int:
        """Decompressed input per shard."""
        return max(int(self.shard_mb * 1_000_000), 1)

    @property
    def max_line(self) -> int:
        """Bytes of the longest line that is read: every character may be written as an escape of six bytes."""
        return 6 * self.max_chars + (16 << 20)
