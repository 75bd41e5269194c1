"""`tamis prune CONFIG...`: outputs that no config names: listed, and removed with --yes."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import WorkspaceOption


def prune(
    configs: Annotated[list[str], typer.Argument(metavar="CONFIG...", help="All configs whose outputs stay.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed; without it nothing is removed.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """List the outputs that none of the configs names; with --yes remove them."""
    from pipeline.config import load
    from pipeline.lock import held
    from pipeline.prune import remove, unnamed
    from pipeline.workspace import Workspace, default_url

    checked = [load(config) for config in configs]
    place = Workspace(workspace or checked[0].workspace or default_url())
    found = unnamed(place, checked)
    for item in found:
        typer.echo(f"{item.size / 1e6:12,.1f} MB  {item.folder}")
    if not found:
        typer.echo("nothing to prune", err=True)
    elif not yes:
        typer.echo(f"{len(found)} folders; run again with --yes to remove them", err=True)
    else:
        with held(place.store):
            remove(place, found)
        typer.echo(f"removed {len(found)} folders", err=True)
