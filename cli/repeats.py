"""`tamis repeats spans / units / show`: what repeats over whole corpora, or against others."""

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

app = typer.Typer(help="What repeats over a whole corpus, or in another one.", no_args_is_help=True)

AgainstOption = Annotated[
    list[str] | None,
    typer.Option("--against", help="Count occurrences in this corpus instead; may be given several times."),
]


AliasOption = Annotated[
    str | None, typer.Option(help="What the count is called: view and columns [its command, or against].")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; value as in YAML.")
]
PlanOption = Annotated[bool, typer.Option("--plan", help="Only say what it would take.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")]


@app.callback()
def _group() -> None:
    pass


@app.command("spans")
def spans(
    corpus: CorporaOption = None,
    against: AgainstOption = None,
    alias: AliasOption = None,
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
    settings: SetOption = None,
    dry: PlanOption = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
    limit: LimitOption = None,
) -> None:
    """Count every span of so many words: how often it occurs, and how much of each document repeated spans cover."""
    from pipeline.config_errors import parsed
    from pipeline.repeats import SpanSettings

    values: dict[str, Any] = {
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
    checked = parsed(SpanSettings, values | assigned(settings, "--set"), "repeats spans")
    compute = workers, scheduler, memory or checked.memory
    _count(checked, alias or ("against" if against else "repeats"), workspace, compute, limit, dry, as_json)


@app.command("units")
def units(
    corpus: CorporaOption = None,
    against: AgainstOption = None,
    alias: AliasOption = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="document, paragraph, line or sentence; several times [all]."),
    ] = None,
    least_words: Annotated[int, typer.Option("--least-words", help="Leave out units of fewer words.")] = 1,
    settings: SetOption = None,
    dry: PlanOption = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
    limit: LimitOption = None,
) -> None:
    """Find exact duplicates of documents, paragraphs, lines and sentences: how often, and how much of each document."""
    from pipeline.config_errors import parsed
    from pipeline.repeats import UnitSettings

    values: dict[str, Any] = {"corpora": corpus or [], "against": against or [], "least_words": least_words}
    if kinds:
        values["kinds"] = list(dict.fromkeys(kinds))
    if memory is not None:
        values["memory"] = memory
    checked = parsed(UnitSettings, values | assigned(settings, "--set"), "repeats units")
    compute = workers, scheduler, memory or checked.memory
    _count(checked, alias or ("units_against" if against else "units"), workspace, compute, limit, dry, as_json)


def _count(
    settings: Any,
    alias: str,
    workspace: str | None,
    compute: tuple[int | None, str | None, str],
    limit: int | None,
    dry: bool,
    as_json: bool,
) -> None:
    """Plan or make a count, and show its totals."""
    import orjson

    from pipeline.execute import Compute, Pool
    from pipeline.lock import held
    from pipeline.repeats import count_repeats, finished, plan_repeats, takes
    from pipeline.repeats.shown import totals
    from pipeline.workspace import Workspace, default_url

    place = Workspace(workspace or default_url())
    if dry:
        plan = plan_repeats(place, alias, settings, limit)
        typer.echo(f"{plan.stage.folder}: {'done, nothing to do' if finished(place, plan) else takes(plan)}")
        return
    with held(place.store), Pool(Compute(*compute), place) as pool:
        result = count_repeats(place, alias, settings, pool, limit)
    if as_json:
        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    else:
        for line in totals(result, settings):
            typer.echo(line, err=True)


def _numbers(text: str) -> list[int]:
    from pipeline.errors import UserError

    try:
        return [int(part.replace("_", "")) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--at-least {text!r}: expected numbers with commas between, such as 2,10,100") from None


@app.command("show")
def show(
    alias: Annotated[str | None, typer.Option(help="Name of the count [the newest].")] = None,
    ranking: Annotated[
        Literal["longest", "most", "mass"],
        typer.Option("--by", help="longest; most: most frequent; mass: words times occurrences."),
    ] = "mass",
    rows: Annotated[int, typer.Option("--rows", min=1, help="Spans shown.")] = 10,
    width: Annotated[int, typer.Option("--width", min=20, help="Characters of each text.")] = 300,
    workspace: WorkspaceOption = None,
) -> None:
    """Read repeated spans: how often, in how many documents, where, and the text itself."""
    from pipeline.repeats.examples import chosen, shown
    from pipeline.workspace import Workspace, default_url

    place = Workspace(workspace or default_url())
    name, spans = chosen(place, alias, ranking, rows)
    typer.echo(f"{name}: spans by {ranking}", err=True)
    for span in spans:
        typer.echo(shown(span, width))
