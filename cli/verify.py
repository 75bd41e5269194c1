"""`tamis verify`: is every file of the workspace the one that was written?"""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import WorkspaceOption


def verify(
    workspace: WorkspaceOption = None,
    mend: Annotated[
        bool, typer.Option("--mend", help="Count damaged shards as failed, so that the next run makes them again.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per damaged file.")] = False,
) -> None:
    """Read every file and compare it with the ledger; lists what is damaged or gone. Exit code 1 if anything is."""
    import contextlib
    import json

    from pipeline.lock import held
    from pipeline.verify import forget
    from pipeline.verify import verify as read
    from pipeline.workspace import Workspace, default_url

    place = Workspace(workspace or default_url())
    files = [0, 0]

    def seen(size: int) -> None:
        files[0] += 1
        files[1] += size

    with held(place.store) if mend else contextlib.nullcontext():
        found = read(place, seen)
        for fault in found:
            if as_json:
                typer.echo(
                    json.dumps({"stage": fault.stage, "shard": fault.shard, "file": fault.file, "wrong": fault.wrong})
                )
            else:
                typer.echo(f"{fault.file}: {fault.wrong}" if fault.shard else fault.wrong)
        mended = forget(place, found) if mend else 0
    typer.echo(f"{files[0]:,} files read ({files[1] / 1e6:,.1f} MB), {len(found)} damaged", err=True)
    if mended:
        typer.echo(f"{mended} shards count as failed now; run their config or command again", err=True)
    elif found:
        typer.echo(
            "`tamis verify --mend` counts their shards as failed, so that the next run makes them again", err=True
        )
    raise typer.Exit(1 if found and not mend else 0)
