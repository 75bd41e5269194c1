"""`tamis run CONFIG`: every step of a config, in order, resuming what is done."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import LimitOption, MemoryOption, SchedulerOption, WorkersOption, WorkspaceOption


def run(
    config: Annotated[str, typer.Argument(help="A YAML file; `tamis validate` checks one.")],
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
    limit: LimitOption = None,
) -> None:
    """Run every step of a config, in order; what is done already is not done again."""
    from pipeline.config import load
    from pipeline.execute import Compute, Pool
    from pipeline.lock import held
    from pipeline.run import run as run_steps
    from pipeline.workspace import Workspace, default_url

    checked = load(config)
    place = Workspace(workspace or checked.workspace or default_url())
    with held(place.store), Pool(Compute(workers, scheduler, memory), place) as pool:
        run_steps(checked, place, pool, limit)
