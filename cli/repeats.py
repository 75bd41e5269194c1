"""`tamis repeats spans / show`: repeated spans over whole corpora, or against others, and what they look like."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import CorporaOption, LimitOption, MemoryOption, SchedulerOption, WorkersOption, WorkspaceOption

app = typer.Typer(help="What repeats over a whole corpus, or in another one.", no_args_is_help=True)

AgainstOption = Annotated[
    list[str] | None,
    typer.Option("--against", help="Count occurrences in this corpus instead; may be given several times."),
]


@app.callback()
def _group() -> None:
    pass


@app.command("spans")
def spans(
    corpus: CorporaOption = None,
    against: AgainstOption = None,
    name: Annotated[
        str | None, typer.Option(help="What the count is called: view and columns [repeats, or against].")
    ] = None,
    window: Annotated[int, typer.Option(help="Words (or tokens) of a span.")] = 50,
    tokenizer: Annotated[
        str | None, typer.Option(help="Count tokens: tokenizer.json, its folder, or a hub name.")
    ] = None,
    at_least: Annotated[
        str | None, typer.Option(metavar="K,K,...", help="Occurrences that coverage is given for [2,10,100,1000].")
    ] = None,
    sample: Annotated[
        float | None, typer.Option(help="Count this share of the spans, drawn by content: mass, no coverage.")
    ] = None,
    winnow: Annotated[
        int | None, typer.Option(help="Count the smallest of so many spans in a row: less disk, a lower bound.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="split, seed or examples.")
    ] = None,
    dry: Annotated[bool, typer.Option("--plan", help="Only say what it would take.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")] = False,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
    limit: LimitOption = None,
) -> None:
    """Count every span of so many words: how often it occurs, and how much of each document repeated spans cover."""
    import orjson

    from pipeline.config_errors import parsed
    from pipeline.execute import Compute, Pool
    from pipeline.lock import held
    from pipeline.repeats import SpanSettings, count_spans, estimated, plan_spans
    from pipeline.workspace import Workspace, default_url

    values = {
        "corpora": corpus or [],
        "against": against or [],
        "window": window,
        "tokenizer": tokenizer,
        "sample": sample,
        "winnow": winnow,
    }
    if at_least is not None:
        values["thresholds"] = _numbers(at_least)
    if memory is not None:
        values["memory"] = memory
    checked = parsed(SpanSettings, values | _assigned(settings), "repeats spans")
    alias = name or ("against" if against else "repeats")
    place = Workspace(workspace or default_url())
    if dry:
        plan = plan_spans(place, alias, checked, limit)
        num_windows, disk = estimated(plan)
        typer.echo(
            f"{plan.stage.folder}: {len(plan.everything)} shards, about {num_windows:,.0f} spans; up to "
            f"{disk / 1e9:.2f} GB of disk while it runs, {checked.memory} of memory a worker"
        )
        return
    with held(place.store), Pool(Compute(workers, scheduler, memory or checked.memory), place) as pool:
        result = count_spans(place, alias, checked, pool, limit)
    if as_json:
        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    else:
        _show(result, checked)


def _numbers(text: str) -> list[int]:
    from pipeline.errors import UserError

    try:
        return [int(part.replace("_", "")) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--at-least {text!r}: expected numbers with commas between, such as 2,10,100") from None


def _assigned(texts: list[str] | None) -> dict[str, Any]:
    """KEY=VALUE options; values as in YAML. Raises UserError."""
    import yaml

    from pipeline.errors import UserError

    values: dict[str, Any] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UserError(f"--set {text!r}: expected KEY=VALUE, such as split=whitespace")
        values[key] = yaml.safe_load(value) if value else ""
    return values


def _show(result: dict[str, Any], settings: Any) -> None:
    """The totals, on stderr."""
    unit = "tokens" if settings.tokenizer else "words"
    lines = [
        f"{result['documents']:,} documents, {result['words']:,} {unit}, {result['windows']:,} spans of "
        f"{settings.window} {unit}"
    ]
    if "totals" in result:
        totals = result["totals"]
        if totals["short"]:
            lines.append(f"{totals['short']:,} documents are shorter than a span")
        where = f" in {', '.join(settings.against)}" if settings.against else ""
        for level in settings.levels:
            covered = totals[f"words_{level}"]
            share = covered / totals["words"] if totals["words"] else 0.0
            lines.append(f"in spans that occur {level:,} times or more{where}: {covered:,} {unit} ({share:.2%})")
        if not settings.against:
            share = totals["later"] / totals["words"] if totals["words"] else 0.0
            lines.append(f"second and later copies: {totals['later']:,} {unit} ({share:.2%})")
    for item in result.get("sampled", []):
        share, error = item["share"], item["standard_error"]
        lines.append(f"spans that occur {item['threshold']:,} times or more: {share:.2%} +- {1.96 * error:.2%} (95 %)")
    lines.append(result["folder"])
    for line in lines:
        typer.echo(line, err=True)
