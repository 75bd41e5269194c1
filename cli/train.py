"""`tamis train CONFIG`: trains a language model on an export, and resumes."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import MemoryOption, SchedulerOption, WorkersOption, WorkspaceOption


def train(
    config: Annotated[str, typer.Argument(help="A YAML file with data, model and settings.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as seed=1 or optimizer.lr=3e-4."),
    ] = None,
    stop_after: Annotated[int | None, typer.Option(min=1, help="Stop after this step, as if interrupted.")] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Begin beside an unfinished run of this name that has other settings.")
    ] = False,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
) -> None:
    """Train a language model on an export; the same command goes on where an interrupted run stopped.

    Several GPUs: torchrun --nproc-per-node 8 -m cli.main train CONFIG. --workers and --scheduler are for the packing.
    """
    from pipeline.execute import Compute
    from pipeline.extras import needed
    from pipeline.workspace import Workspace, default_url

    needed("training", "lm", "torch", "transformers")
    from pipeline.trainer.run import read_config, train_run

    chosen, place = read_config(config, settings or [])
    where = Workspace(workspace or place or default_url())
    last = train_run(where, chosen, Compute(workers, scheduler, memory), stop_after, anew)
    typer.echo(where.store.shown(last.folder))
