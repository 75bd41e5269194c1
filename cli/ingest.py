"""`tamis ingest SRC... --corpus NAME`: documents in."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import LimitOption, MemoryOption, SchedulerOption, WorkersOption, WorkspaceOption


def ingest(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SRC...", help="Files, folders, globs, URLs, saved datasets, hf://datasets/owner/name."),
    ],
    corpus: Annotated[str, typer.Option("--corpus", help="Name of the corpus to make.")],
    format: Annotated[str, typer.Option(help="auto, jsonl, parquet, csv, text or hf.")] = "auto",
    text: Annotated[str, typer.Option(help="Column of the text.")] = "text",
    id: Annotated[str | None, typer.Option(help="Column of the id [a hash of file and position].")] = None,
    source: Annotated[str | None, typer.Option(help="Column that names the source [source, if there is one].")] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Other columns to keep [all]; '' keeps none.")
    ] = None,
    messages: Annotated[
        str, typer.Option(help="Columns of a conversation: auto, off, messages, conversations, prompt, instruction.")
    ] = "auto",
    held_out: Annotated[
        list[str] | None,
        typer.Option("--held-out", metavar="FRACTION|SOURCE=FRACTION", help="Share of documents held out."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the held-out split.")] = 0,
    max_chars: Annotated[int | None, typer.Option(help="Longer texts are rejected [10 million].")] = None,
    shard_mb: Annotated[float | None, typer.Option(help="Decompressed MB of input per shard [128].")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Delimiter of CSV [by file name].")] = None,
    hf_config: Annotated[str | None, typer.Option(help="Configuration of a hub dataset.")] = None,
    hf_split: Annotated[str | None, typer.Option(help="Split of a dataset [all].")] = None,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
    limit: LimitOption = None,
) -> None:
    """Read documents into a corpus; bad rows become rejects with a reason, and nothing is lost."""
    from pipeline.config_errors import parsed
    from pipeline.execute import Compute, Pool
    from pipeline.ingest import IngestSettings
    from pipeline.ingest import ingest as run
    from pipeline.lock import held
    from pipeline.workspace import Workspace, checked_name, default_url

    given = {
        "sources": sources,
        "format": format,
        "text": text,
        "id": id,
        "source": source,
        "columns": None if columns is None else [name for name in columns.split(",") if name],
        "messages": messages,
        "held_out": _fractions(held_out or []),
        "seed": seed,
        "max_chars": max_chars,
        "shard_mb": shard_mb,
        "delimiter": delimiter,
        "hf_config": hf_config,
        "hf_split": hf_split,
        "limit": limit,
    }
    settings = parsed(IngestSettings, {key: value for key, value in given.items() if value is not None}, "ingest")
    place = Workspace(workspace or default_url())
    with held(place.store), Pool(Compute(workers, scheduler, memory), place) as pool:
        rows = run(place, checked_name(corpus, "--corpus"), settings, pool)
    kept, rejected = sum(row.rows_out for row in rows), sum(row.rejected for row in rows)
    reasons: dict[str, int] = {}
    for row in rows:
        for item in row.reasons:
            reasons[item["reason"]] = reasons.get(item["reason"], 0) + item["rows"]
    why = f" ({', '.join(f'{reason} {count:,}' for reason, count in sorted(reasons.items()))})" if reasons else ""
    typer.echo(f"{corpus}: {kept:,} documents, {rejected:,} rejected{why}", err=True)


def _fractions(given: list[str]) -> float | dict[str, float] | None:
    """`0.01`, or `web=0.01` for one source; several sources may be given."""
    from pipeline.errors import UserError

    by_source: dict[str, float] = {}
    for text in given:
        name, equals, value = text.rpartition("=")
        try:
            fraction = float(value)
        except ValueError:
            raise UserError(f"--held-out {text!r}: expected a fraction such as 0.01, or SOURCE=FRACTION") from None
        if not equals and len(given) > 1:
            raise UserError("--held-out: give one fraction for all, or SOURCE=FRACTION for each")
        if not equals:
            return fraction
        by_source[name] = fraction
    return by_source or None
