"""`tamis compare CONFIG`: several selections at an equal token budget, several seeds, one table."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import MemoryOption, SchedulerOption, WorkersOption, WorkspaceOption


def compare(
    config: Annotated[str, typer.Argument(help="A YAML file with a training recipe and the selections.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as train.tokens=1e6.")
    ] = None,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
) -> None:
    """Train the same model on each selection with each seed, and compare them on sets that none of them saw."""
    from pipeline.execute import Compute
    from pipeline.extras import needed
    from pipeline.workspace import Workspace, default_url

    needed("a comparison", "lm", "torch", "transformers", "matplotlib")
    from pipeline.trainer.compare import compare as run_comparison
    from pipeline.trainer.compare import read_comparison

    wanted, place = read_comparison(config, settings or [])
    where = Workspace(workspace or place or default_url())
    folder = run_comparison(where, wanted, Compute(workers, scheduler, memory))
    typer.echo(where.store.read_bytes(f"{folder}/table.md").decode())
    typer.echo(f"results and curves: {where.store.shown(folder)}", err=True)
