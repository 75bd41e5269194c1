"""`tamis prune CONFIG...`: outputs that no config names: listed, and removed with --yes."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import WorkspaceOption


def prune(
    configs: Annotated[
        list[str],
        typer.Argument(metavar="CONFIG...", help="All configs whose outputs stay: of run, train and compare."),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed; without it nothing is removed.")] = False,
    dear: Annotated[
        bool, typer.Option("--dear", help="Also what a language model was run or trained for: losses, runs, packs, ...")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """List the outputs that none of the configs names, with size and why; with --yes remove them.

    What a language model made (samples, losses, strengths, packs, runs, comparisons) is listed and stays, unless --dear
    is given.
    """
    from pipeline.lock import held
    from pipeline.prune import read_named, remove, unnamed
    from pipeline.workspace import Workspace, default_url

    named = [read_named(config) for config in configs]
    place = Workspace(workspace or named[0].workspace or default_url())
    found = unnamed(place, named)
    for item in found:
        why = "left by a killed run" if item.folder.startswith("tmp/") else "no config names it"
        took = f", took {_time(item.seconds)}" if item.seconds else ""
        stays = "; stays without --dear" if item.dear and not dear else ""
        typer.echo(f"{item.size / 1e6:12,.1f} MB  {item.folder}  ({why}{took}{stays})")
    chosen = [item for item in found if dear or not item.dear]
    told = f"{len(chosen)} folders, {sum(item.size for item in chosen) / 1e6:,.1f} MB"
    if not chosen:
        typer.echo("nothing to prune" + (" but what stays without --dear" if found else ""), err=True)
    elif not yes:
        typer.echo(f"{told}; run again with --yes to remove them", err=True)
    else:
        with held(place.store):
            remove(place, chosen)
        typer.echo(f"removed {told}", err=True)


def _time(seconds: float) -> str:
    """Seconds as a person says them: of all shards together, so of one worker."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
