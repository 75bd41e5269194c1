"""`tamis tokens ...`: which tokens of fine-tuning data carry loss; losses and attention once, selections as queries."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import LimitOption, MemoryOption, SchedulerOption, WorkersOption, WorkspaceOption

app = typer.Typer(
    no_args_is_help=True, help="Which tokens of fine-tuning data carry loss: ssToken, Rho-1, Token Cleaning."
)

CorpusOption = Annotated[str, typer.Option("--corpus", help="The corpus: conversations, or plain text.")]
NameOption = Annotated[str, typer.Option("--scores", help="Name of the token table.")]


@app.command("score")
def score(
    corpus: CorpusOption,
    earlier: Annotated[str | None, typer.Option(help="Checkpoint before fine-tuning: folder or hub name.")] = None,
    later: Annotated[str | None, typer.Option(help="Checkpoint after it, or as it is now.")] = None,
    reference: Annotated[str | None, typer.Option(help="Checkpoint tuned on data known to be good.")] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option("--adapter", metavar="ROLE=FOLDER", help="A LoRA adapter on that checkpoint; needs peft."),
    ] = None,
    layer: Annotated[int, typer.Option(help="Layer whose attention is measured, -1 the last.")] = -1,
    no_attention: Annotated[bool, typer.Option("--no-attention", help="Losses alone.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="context, sinks, entropy, ranks, layout, dtype, device, ..."),
    ] = None,
    name: NameOption = "tokens",
    workspace: WorkspaceOption = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
    limit: LimitOption = None,
) -> None:
    """Losses of every token under each checkpoint, and where the attention of answers goes; one pass per checkpoint."""
    from pipeline.config_errors import parsed
    from pipeline.execute import Compute, Pool
    from pipeline.lock import held
    from pipeline.resident import on_gpu
    from pipeline.tokens.passes import make_passes, planned
    from pipeline.tokens.settings import ScoreTokensSettings
    from pipeline.tokens.table import make_table
    from pipeline.workspace import Workspace, default_url
    from pipeline.yaml_file import changed

    given = {"earlier": earlier, "later": later, "reference": reference}
    values: dict[str, Any] = {role: {"model": model} for role, model in given.items() if model is not None}
    for role, folder in _folders(adapter or []).items():
        _with_adapter(values, role, folder)
    values |= {"corpus": corpus, "layer": None if no_attention else layer} | changed({}, settings or [], "--set")
    checked = parsed(ScoreTokensSettings, values, "tokens score")
    place = Workspace(workspace or default_url())
    passes = planned(place, checked, limit)
    offers = {"GPU": 1.0} if on_gpu(checked.device) else None
    with held(place.store), Pool(Compute(workers, scheduler, memory, offers), place) as pool:
        make_passes(place, passes, pool, limit)
        stage = make_table(place, name, passes, pool, limit)
    _say_lost(place, stage.folder)
    typer.echo(stage.folder)


def _with_adapter(values: dict[str, Any], role: str, folder: str) -> None:
    from pipeline.errors import UserError

    if role not in values:
        raise UserError(f"--adapter {role}={folder}: give its base model with --{role}, or name a checkpoint given")
    values[role]["adapter"] = folder


def _say_lost(place: Any, folder: str) -> None:
    """Tell of documents without tokens."""
    from collections import Counter

    counts: Counter[str] = Counter()
    for item in (item for row in place.rows(folder).values() if row.done for item in row.reasons):
        counts[item["reason"]] += item["rows"]
    for reason, rows in sorted(counts.items()):
        typer.echo(f"{rows:,} documents have no tokens: {reason}", err=True)


@app.command("select")
def select(
    corpus: CorpusOption,
    method: Annotated[str, typer.Option(help="sstoken, rho1, cleaning, attention, loss or random.")] = "sstoken",
    rho: Annotated[float | None, typer.Option(help="Share of the response tokens that is kept [0.6].")] = None,
    gamma: Annotated[float | None, typer.Option(help="sstoken: weight of the loss difference [0.5].")] = None,
    scope: Annotated[str | None, typer.Option(help="Tokens that compete: sample, batch or global.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="normalise, weaker, stronger, batch, sinks, seed, part, ..."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the selection is called [the method].")] = None,
    scores: NameOption = "tokens",
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
) -> None:
    """Choose tokens from stored losses and attention, with as many random ones beside them; prints a histogram."""
    from pipeline.config_errors import parsed
    from pipeline.execute import Compute, Pool
    from pipeline.lock import held
    from pipeline.tokens.select import select_tokens, shown
    from pipeline.tokens.settings import SelectTokensSettings
    from pipeline.workspace import Workspace, default_url
    from pipeline.yaml_file import changed

    given = {"rho": rho, "gamma": gamma, "scope": scope}
    values = {"corpus": corpus, "scores": scores, "method": method}
    values |= {key: value for key, value in given.items() if value is not None} | changed({}, settings or [], "--set")
    checked = parsed(SelectTokensSettings, values, "tokens select")
    place = Workspace(workspace or default_url())
    with held(place.store), Pool(Compute(workers, scheduler, memory), place) as pool:
        summary = select_tokens(place, name or method, checked, pool)
    if as_json:
        import orjson

        typer.echo(orjson.dumps(summary).decode())
    else:
        typer.echo(shown(summary))
    typer.echo(summary["folder"], err=True)


@app.command("show")
def show(
    corpus: CorpusOption,
    selection: Annotated[str, typer.Option("--selection", help="Name of the selection.")] = "sstoken",
    ids: Annotated[list[str] | None, typer.Option("--id", help="A document; may be given several times.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Without --id: the first so many.")] = 3,
    control: Annotated[bool, typer.Option("--control", help="The random control instead.")] = False,
    values: Annotated[bool, typer.Option("--values", help="Losses, masses and score of each response token.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Kept and dropped tokens in the text: green and red on a terminal, [-dropped-] elsewhere."""
    import sys

    from rich.console import Console

    from pipeline.tokens.show import print_view, views
    from pipeline.workspace import Workspace, default_url

    place = Workspace(workspace or default_url())
    # Elsewhere than on a terminal a line of values is not to be cut to 80 characters.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
    for view in views(place, corpus, selection, ids or (), count, control):
        print_view(view, console, values)


@app.command("export")
def export(
    corpus: CorpusOption,
    selection: Annotated[str, typer.Option("--selection", help="Name of the selection.")] = "sstoken",
    to: Annotated[
        str, typer.Option("--to", help="parquet, trl, axolotl, llamafactory, olmo, torchtune or skyrl.")
    ] = "parquet",
    mask: Annotated[str, typer.Option(help="selected, control (random) or all (every response token).")] = "selected",
    max_tokens: Annotated[int | None, typer.Option(min=2, help="Cut longer samples.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the export is called [selection-to].")] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help="Folder or URL [in the workspace].")] = None,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
) -> None:
    """Write a selection in the form that a trainer reads: token ids with labels, masks or weights."""
    from pipeline.config_errors import parsed
    from pipeline.execute import Compute, Pool
    from pipeline.lock import held
    from pipeline.tokens.export import export_tokens
    from pipeline.tokens.settings import ExportTokensSettings
    from pipeline.workspace import Workspace, default_url

    values = {"corpus": corpus, "selection": selection, "to": to, "mask": mask, "out": out, "max_tokens": max_tokens}
    checked = parsed(ExportTokensSettings, values, "tokens export")
    place = Workspace(workspace or default_url())
    with held(place.store), Pool(Compute(workers, scheduler, memory), place) as pool:
        record = export_tokens(place, name or f"{selection}-{to}", checked, pool)
    lost = "".join(f", {rows:,} left out ({reason})" for reason, rows in record["left_out"].items())
    typer.echo(
        f"{record['samples']:,} samples, {record['learnt']:,} of {record['tokens']:,} tokens learnt{lost}", err=True
    )
    typer.echo(record["folder"])


@app.command("evolve")
def evolve(
    config: Annotated[str, typer.Argument(help="A YAML file with corpus, parts, rho and a training recipe.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as rho=0.7.")
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Begin beside an unfinished part that has other settings.")
    ] = False,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
) -> None:
    """Self-evolving Token Cleaning: the newest checkpoint chooses the tokens of the next part, and is trained on them.

    The same command goes on where an interrupted one stopped.
    """
    from pipeline.execute import Compute
    from pipeline.extras import needed
    from pipeline.workspace import Workspace, default_url

    needed("training", "lm", "torch", "transformers")
    from pipeline.tokens.evolve import evolve as run_evolution
    from pipeline.tokens.evolve import read_evolution

    wanted, place = read_evolution(config, settings or [])
    where = Workspace(workspace or place or default_url())
    folder = run_evolution(
        where, wanted, Compute(workers, scheduler, memory), lambda text: typer.echo(text, err=True), anew
    )
    typer.echo(where.store.shown(folder))


def _folders(items: list[str]) -> dict[str, str]:
    """{role: folder} of ROLE=FOLDER texts."""
    from pipeline.errors import UserError

    pairs = [item.partition("=") for item in items]
    for item, (role, _, folder) in zip(items, pairs, strict=True):
        if not role or not folder:
            raise UserError(f"--adapter {item!r}: expected ROLE=FOLDER, such as later=runs/lora")
    return {role: folder for role, _, folder in pairs}
