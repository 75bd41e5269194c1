"""`tamis export [SELECTION]`: a selection, or whole corpora, as Parquet, JSONL.zst or a Hugging Face dataset folder."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cli.options import CorporaOption, MemoryOption, SchedulerOption, WorkersOption, WorkspaceOption
from cli.sql import ConfigOption, stages_of


def export(
    selection: Annotated[str | None, typer.Argument(help="A selection [all that is not held out].")] = None,
    name: Annotated[str | None, typer.Option(help="What the export is called [as the selection, or 'all'].")] = None,
    format: Annotated[
        Literal["parquet", "jsonl", "hf"], typer.Option("--format", "-f", help="What to write.")
    ] = "parquet",
    out: Annotated[str | None, typer.Option("--out", "-o", help="Folder or URL [exports/ of the workspace].")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", help="Document column besides id, text, source; several times [all]."),
    ] = None,
    scores: Annotated[
        list[str] | None, typer.Option("--score", help="Score column to take along; several times.")
    ] = None,
    weight: Annotated[str | None, typer.Option(help="Column to take along as `weight`.")] = None,
    shard_mb: Annotated[float, typer.Option(help="Decompressed text per shard, in MB.")] = 256,
    order: Annotated[Literal["shuffled", "input"], typer.Option(help="Order of the documents.")] = "shuffled",
    seed: Annotated[int, typer.Option(help="Of the shuffled order.")] = 0,
    with_held_out: Annotated[
        bool, typer.Option("--with-held-out", help="Held-out documents as their own split.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="NULL where score shards are missing.")
    ] = False,
    license: Annotated[str | None, typer.Option(help="For the card (hf): odc-by, cc-by-4.0, ...")] = None,
    language: Annotated[list[str] | None, typer.Option(help="For the card (hf): en, de, ...")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="For the card (hf).")] = None,
    pretty_name: Annotated[str | None, typer.Option(help="For the card (hf).")] = None,
    description: Annotated[str | None, typer.Option(help="For the card (hf).")] = None,
    corpora: CorporaOption = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lineage on stdout.")] = False,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
) -> None:
    """Write a dataset: shards of a stated size in a seeded order, with a record of where every row comes from."""
    from pipeline.config_errors import parsed
    from pipeline.execute import Compute, Pool
    from pipeline.export import ExportSettings
    from pipeline.export import export as run
    from pipeline.lock import held
    from pipeline.workspace import Workspace, default_url

    card = {
        "license": license,
        "language": language,
        "tags": tags,
        "pretty_name": pretty_name,
        "description": description,
    }
    values = {
        "selection": selection,
        "corpora": corpora or [],
        "format": format,
        "out": out,
        "columns": columns,
        "scores": scores or [],
        "weight": weight,
        "shard_mb": shard_mb,
        "order": order,
        "seed": seed,
        "with_held_out": with_held_out,
        "allow_missing": allow_missing,
        "hf": {key: value for key, value in card.items() if value is not None},
    }
    settings = parsed(ExportSettings, values, "export")
    place = Workspace(workspace or default_url())
    with held(place.store), Pool(Compute(workers, scheduler, memory), place) as pool:
        record = run(place, name or selection or "all", settings, pool, stages_of(config, place))
    if as_json:
        import orjson

        typer.echo(orjson.dumps(record).decode())
        return
    for split, counts in record["splits"].items():
        text = f"{counts['text_bytes']:,} bytes of text, {counts['shards']} files"
        typer.echo(f"{split}: {counts['documents']:,} documents, {text}", err=True)
    typer.echo(record["folder"])
