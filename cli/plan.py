"""`tamis plan CONFIG` and `tamis validate CONFIG`: what would run, and whether the config is right."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import WorkspaceOption


def plan(
    config: Annotated[str, typer.Argument(help="A YAML file.")],
    workspace: WorkspaceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per step.")] = False,
) -> None:
    """Show what `run` would do, per step: done, to do, stale (and which field changed), or waiting."""
    import dataclasses
    import json

    from pipeline.config import load
    from pipeline.run import plan as plan_steps
    from pipeline.workspace import Workspace, default_url

    checked = load(config)
    steps = plan_steps(checked, Workspace(workspace or checked.workspace or default_url()))
    for step in steps:
        if as_json:
            typer.echo(json.dumps(dataclasses.asdict(step)))
            continue
        total = "?" if step.total is None else step.total
        shards = "" if step.state == "waits" else f"{step.done}/{total} shards"
        typer.echo(f"{step.state:6} {step.kind:7} {step.name:32} {shards}".rstrip())
        for why in step.why:
            typer.echo(f"       {'for ' if step.state == 'waits' else ''}{why}")


def validate(
    config: Annotated[str, typer.Argument(help="A YAML file.")],
) -> None:
    """Check a config without a workspace: keys, values, names that refer to each other, files it needs."""
    from pipeline.config import load
    from pipeline.ingest import check_sources
    from pipeline.label.steps import read_judge
    from pipeline.models import local_file
    from pipeline.preselect.panel import read_panel, scores
    from pipeline.tokens.steps import check_files

    checked = load(config)
    for corpus in checked.corpora.values():
        check_sources(corpus)
    for path in [path for classifier in checked.classifiers.values() for path in classifier.rows]:
        local_file(path, "rows")
    for made in checked.preselect.values():
        scores(read_panel(made.panel), made.strength.benchmarks)
    for judged in checked.labels.values():
        read_judge(judged.judge)
    for tokens in checked.tokens.values():
        check_files(tokens)
    for entry in checked.scores:
        if entry.classifier is None:
            entry.spec.files()
    typer.echo(
        f"{config}: fine ({len(checked.corpora)} corpora, {len(checked.scores)} scores, "
        f"{len(checked.selections)} selections, {len(checked.exports)} exports)"
    )
