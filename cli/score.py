"""`tamis score SCORER... --corpus NAME`: one or more scorers in one pass over the text."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import CorporaOption, LimitOption, MemoryOption, SchedulerOption, WorkersOption, WorkspaceOption


def score(
    scorers: Annotated[
        list[str], typer.Argument(metavar="SCORER...", help="Scorers by name; ALIAS=SCORER for a second model.")
    ],
    corpus: CorporaOption = None,
    model: Annotated[str | None, typer.Option(help="fastText model: path, hf://owner/repo/file or URL.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="tokenizer.json, its folder, or a hub name.")] = None,
    newline: Annotated[
        str | None,
        typer.Option(help='What newlines become for fastText: " " (default), or "" as in datatrove.'),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Write only the K most probable labels.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="ALIAS.KEY=VALUE", help="Any other setting of a scorer; value as in YAML."),
    ] = None,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
    limit: LimitOption = None,
) -> None:
    """Score documents; scores are written beside the text, one narrow table per scorer."""
    from pipeline.execute import Compute, Pool
    from pipeline.lock import held
    from pipeline.score import score as run
    from pipeline.workspace import Workspace, default_url

    common = {"model": model, "tokenizer": tokenizer, "newline": newline, "top": top}
    specs = _specs(scorers, {key: value for key, value in common.items() if value is not None}, settings or [])
    place = Workspace(workspace or default_url())
    corpora = place.chosen_corpora(corpus or ())
    with held(place.store), Pool(Compute(workers, scheduler, memory), place) as pool:
        run(place, corpora, specs, pool, limit)


def _specs(names: list[str], common: dict[str, Any], assignments: list[str]) -> list[Any]:
    """Scorers with their settings: a common flag goes to each scorer that knows it, `--set` to the one it names."""
    from pipeline.config_errors import nearest
    from pipeline.errors import UserError
    from pipeline.score import ScoreSpec
    from pipeline.yaml_file import read_value
    from scorers import SCORERS, scorer_module

    pairs = [(alias, scorer or alias) for alias, _, scorer in (name.partition("=") for name in names)]
    own: dict[str, dict[str, Any]] = {alias: {} for alias, _ in pairs}
    for text in assignments:
        target, equals, value = text.partition("=")
        alias, dot, key = target.partition(".")
        if not (equals and dot and key):
            raise UserError(f"--set {text!r}: expected ALIAS.KEY=VALUE, such as preselect.label=1")
        if alias not in own:
            raise UserError(f"--set {text!r}: {alias!r} is not scored here{nearest(alias, own)}")
        own[alias][key] = read_value(value, f"--set {text!r}") if value else ""
    specs: list[Any] = []
    used: set[str] = set()
    for alias, scorer in pairs:
        if scorer not in SCORERS:
            raise UserError(f"unknown scorer {scorer!r}{nearest(scorer, SCORERS)}")
        known = scorer_module(scorer).Settings.model_fields
        shared = {key: value for key, value in common.items() if key in known}
        used |= shared.keys()
        specs.append(ScoreSpec.of(scorer, alias, **(shared | own[alias])))
    if unused := common.keys() - used:
        raise UserError(f"--{sorted(unused)[0]} fits none of {' '.join(names)}")
    return specs
