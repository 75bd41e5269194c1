"""`tamis select NAME`: a budget or a predicate, to a selection with a reason for every reject."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from cli.options import CorporaOption, MemoryOption, SchedulerOption, WorkersOption, WorkspaceOption
from cli.sql import ConfigOption, stages_of


def select(
    name: Annotated[str, typer.Argument(help="What the selection is called.")],
    by: Annotated[str | None, typer.Option(help="Score column to rank by, highest first.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="'2B tokens', '10% tokens', '100M chars', '5000 documents'.")
    ] = None,
    where: Annotated[str | None, typer.Option(help="SQL predicate over `scored`.")] = None,
    gopher: Annotated[
        Literal["later", "all"] | None, typer.Option(help="Gopher's repetition rules, by later or all copies.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="COLUMN=VALUE", help="Highest value that passes: rep_line_excess=0.3."),
    ] = None,
    random: Annotated[int | None, typer.Option(help="Rank by a hash under this seed: the control.")] = None,
    cap: Annotated[
        list[str] | None, typer.Option(metavar="SOURCE=AMOUNT", help="At most this of a source: wiki=30%.")
    ] = None,
    share: Annotated[
        list[str] | None, typer.Option(metavar="SOURCE=SHARE", help="A source's own part of the budget: wiki=0.2.")
    ] = None,
    ascending: Annotated[bool, typer.Option("--ascending", help="Lowest score first.")] = False,
    undefined: Annotated[
        Literal["reject", "last", "first"], typer.Option(help="Documents whose score is NULL or NaN.")
    ] = "reject",
    seed: Annotated[int, typer.Option(help="Ranks equal scores.")] = 0,
    held_out: Annotated[bool, typer.Option("--held-out", help="Let the held-out split take part.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on where scores or documents are missing.")
    ] = False,
    corpora: CorporaOption = None,
    config: ConfigOption = None,
    format: Annotated[Literal["table", "json"], typer.Option(help="table on stderr, json on stdout.")] = "table",
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
) -> None:
    """Cut to an exact budget by score or at random, or by a predicate. Text is not touched: export writes it."""
    from pipeline.config_errors import parsed
    from pipeline.execute import Compute, Pool
    from pipeline.lock import held
    from pipeline.select import SelectSettings
    from pipeline.select import select as run
    from pipeline.workspace import Workspace, default_url

    values = {
        "corpora": corpora or [],
        "by": by,
        "budget": budget,
        "where": where,
        "gopher": gopher,
        "limits": _pairs(limit, "--max rep_line_excess=0.3"),
        "random": random,
        "caps": _pairs(cap, "--cap wiki=30%"),
        "shares": _pairs(share, "--share wiki=0.2"),
        "ascending": ascending,
        "undefined": undefined,
        "seed": seed,
        "held_out": held_out,
        "allow_missing": allow_missing,
    }
    settings = parsed(SelectSettings, values, "select")
    place = Workspace(workspace or default_url())
    with held(place.store), Pool(Compute(workers, scheduler, memory), place) as pool:
        result = run(place, name, settings, pool, stages_of(config, place))
    if format == "json":
        import orjson

        typer.echo(orjson.dumps(result).decode())
    else:
        _show(result)


def _pairs(texts: list[str] | None, example: str) -> dict[str, str]:
    """SOURCE=VALUE options. Raises UserError."""
    from pipeline.errors import UserError

    pairs = {}
    for text in texts or []:
        source, equals, value = text.rpartition("=")
        if not equals or not source:
            raise UserError(f"{text!r}: expected SOURCE=VALUE, such as {example}")
        pairs[source] = value
    return pairs


def _show(result: dict[str, Any]) -> None:
    """What was kept and why not the rest, on stderr."""
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True, highlight=False)
    lengths = [n for n in ("tokens", "chars") if any(n in c for s in result["sources"].values() for c in s.values())]
    table = Table("corpus", "source", *(("documents", "kept", *(f"kept {n}" for n in lengths), "rejected")))
    reasons: dict[str, int] = {}
    for corpus, sources in result["sources"].items():
        for source, counts in sources.items():
            rejected = counts["documents"] - counts["kept"]
            numbers = [counts["documents"], counts["kept"], *(counts.get(f"kept_{n}", 0) for n in lengths), rejected]
            table.add_row(corpus, source, *(f"{n:,}" for n in numbers))
            for reason, rows in counts["reasons"].items():
                reasons[reason] = reasons.get(reason, 0) + rows
    console.print(table)
    for reason, rows in reasons.items():
        console.print(f"rejected: {reason} {rows:,}", markup=False)
    for cut in result["cuts"]:
        group = "" if cut["source"] is None else f" of {cut['source']}"
        line = f"{cut['kind']}{group}: kept {cut['kept']:,} of {cut['limit']:,} {result['unit']}"
        if cut["last_score_in"] is not None:
            line += f"; last score in {cut['last_score_in']:.6g}"
        if cut["first_score_out"] is not None:
            line += f", first out {cut['first_score_out']:.6g}"
        console.print(line + (f"; {cut['short']:,} short: it has no more" if cut["short"] else ""), markup=False)
    if result["pool"] is not None:
        console.print(f"pool: {result['pool']:,} {result['unit']} (not held out, before `where`)", markup=False)
    for folder, shards in result["missing"].items():
        console.print(f"missing: {len(shards)} shards of {folder}", markup=False)
    console.print(result["folder"], markup=False, soft_wrap=True)
