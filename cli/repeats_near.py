"""`tamis repeats near`: near-duplicate documents, in clusters, with the one that stays."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from cli.options import (
    CorporaOption,
    LimitOption,
    MemoryOption,
    SchedulerOption,
    WorkersOption,
    WorkspaceOption,
    assigned,
)
from cli.sql import ConfigOption, stages_of


def near(
    corpus: CorporaOption = None,
    alias: Annotated[str, typer.Option(help="What the scores are called: view and columns.")] = "near",
    keep: Annotated[
        str | None, typer.Option(help="Who stays: longest, first, a column (its highest value) or -COLUMN [longest].")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option("--prefer", metavar="SOURCE", help="Keep this source before others; in order.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Share of a document's 3-grams that the kept one must have [0.8].")
    ] = None,
    measure: Annotated[
        Literal["containment", "jaccard"] | None, typer.Option(help="What the threshold is of [containment].")
    ] = None,
    bands: Annotated[int | None, typer.Option(help="Bands of a signature [20].")] = None,
    rows: Annotated[int | None, typer.Option(help="Rows of a band [6].")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other setting: ngram, fold, alarm_source, buffer_mb, ..."),
    ] = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Only print how likely a pair of each similarity is looked at.")
    ] = False,
    dry: Annotated[bool, typer.Option("--plan", help="Only say what it would take.")] = False,
    config: ConfigOption = None,
    format: Annotated[Literal["table", "json"], typer.Option(help="table on stderr, json on stdout.")] = "table",
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
    limit: LimitOption = None,
) -> None:
    """Find near-duplicate documents; the verdicts are scores beside the documents, and nothing is removed.

    `tamis select NAME --where near_kept` leaves the near-duplicates out. Exit code 1 says that one cluster or one
    source would lose more than `alarm_cluster` or `alarm_source`; the scores are written all the same.
    """
    from pipeline.config_errors import parsed
    from pipeline.execute import Compute, Pool
    from pipeline.lock import held
    from pipeline.near import NearAlarm, NearSettings, search, takes
    from pipeline.near import near as run
    from pipeline.workspace import Workspace, default_url

    given = {
        "corpora": corpus,
        "keep": keep,
        "sources": source,
        "threshold": threshold,
        "measure": measure,
        "bands": bands,
        "rows": rows,
    }
    values = {key: value for key, value in given.items() if value} | assigned(settings, "--set")
    checked = parsed(NearSettings, values, "near")
    if curve:
        _show_curve(checked)
        return
    place = Workspace(workspace or default_url())
    if dry:
        typer.echo(takes(search(place, alias, checked, stages_of(config, place), limit), checked, limit))
        return
    alarm: NearAlarm | None = None
    with held(place.store), Pool(Compute(workers, scheduler, memory), place) as pool:
        try:
            result = run(place, alias, checked, pool, stages_of(config, place), limit)
        except NearAlarm as raised:
            alarm, result = raised, raised.result
    if format == "json":
        import orjson

        typer.echo(orjson.dumps(result).decode())
    else:
        _show(result)
    if alarm is not None:
        raise alarm


def _show_curve(settings: Any) -> None:
    from scorers.near.minhash import probability

    typer.echo(f"{settings.bands} bands x {settings.rows} rows, {settings.ngram}-grams of words")
    typer.echo("similarity  looked at")
    for tenth in range(2, 20):
        chance = probability(tenth / 20, settings.bands, settings.rows)
        typer.echo(f"{tenth / 20:10.2f}  {chance:9.4f}")


def _show(result: dict[str, Any]) -> None:
    """What was found, on stderr."""
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True, highlight=False)
    table = Table("source", "documents", "near-duplicates", "share", "their words")
    for name, counts in result["sources"].items():
        share = counts["duplicates"] / max(counts["documents"], 1)
        row = (f"{counts['documents']:,}", f"{counts['duplicates']:,}", f"{share:.1%}", f"{counts['words']:,}")
        table.add_row(name, *row)
    console.print(table)
    found = f"{result['clusters']:,} clusters of {result['members']:,} documents"
    console.print(f"{found}; {result['duplicates']:,} of {result['documents']:,} are near-duplicates", markup=False)
    for one in result["largest"][:5]:
        size = f"{one['size']:,} documents, {one['duplicates']:,} near-duplicates"
        console.print(f"cluster of {one['id']} ({one['corpus']}): {size}", markup=False, soft_wrap=True)
    for folder in result["folders"].values():
        console.print(folder, markup=False, soft_wrap=True)
