"""Documents in: JSONL, Parquet, CSV, text files and Hugging Face datasets become a corpus.

    settings.py    what the user may say (imports only pydantic)
    sources.py     which files that is, and their fingerprints
    layout.py      which input column becomes which output column, and its type
    read.py        bytes to lines and records, damage told from silence
    split.py       one huge compressed or CSV file into chunks that all workers can share
    cut.py         files into slices: one slice is one shard
    lines.py       JSON lines to rows
    scan.py        texts of JSON lines, without a parser
    rows.py        rows of JSON, CSV and text, checked row by row
    tables.py      Parquet and datasets, checked column by column
    checks.py      what makes a text no document
    chat.py        conversations
    shard.py       one slice into one shard, its rejects and its counts
    duplicates.py  ids that came before
    run.py         the stage

    settings = IngestSettings(sources=["crawl/*.jsonl.zst"], held_out=0.01)
    with held(workspace.store), Pool(Compute(workers=4), workspace) as pool:
        rows = ingest(workspace, "web", settings, pool)

Importing this package imports pydantic alone; the functions import the rest when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.ingest.settings import IngestSettings

if TYPE_CHECKING:
    from pipeline.execute import Pool
    from pipeline.ledger import Row
    from pipeline.stage import Stage
    from pipeline.workspace import Workspace

__all__ = ["IngestSettings", "check_sources", "ingest", "ingest_stage"]


def ingest(workspace: Workspace, name: str, settings: IngestSettings, pool: Pool) -> list[Row]:
    """Make or resume a corpus; its ledger rows, in order. The caller holds the workspace's lock.

    Raises UserError if the input is wrong or the corpus was made of something else; ShardsFailed once all shards have
    been tried.
    """
    from pipeline.ingest import run

    return run.ingest(workspace, name, settings, pool)


def ingest_stage(workspace: Workspace, name: str, settings: IngestSettings) -> Stage:
    """The stage as data, from the names, sizes and fingerprints of the input. Raises UserError if there is none."""
    from pipeline.ingest import run

    return run.ingest_stage(workspace, name, settings)


def check_sources(settings: IngestSettings) -> None:
    """Raise UserError if no file matches, or the files are not of one format. Reads no file, asks no hub."""
    from pipeline.ingest.sources import discover

    discover(settings)
