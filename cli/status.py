"""`tamis status`: stages and shards, done and failed."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import WorkspaceOption

FAILED = 10
"""Failed shards that are named per stage."""


def status(
    workspace: WorkspaceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per stage.")] = False,
) -> None:
    """Show what is done, what failed and why, how fast it went, and who holds the workspace."""
    import dataclasses
    import json

    from pipeline.status import status as read
    from pipeline.workspace import Workspace, default_url

    found = read(Workspace(workspace or default_url()))
    if found.holder is not None:
        typer.echo(found.holder, err=as_json)
    if not found.stages:
        typer.echo(f"nothing in {found.workspace} yet; `tamis ingest SRC --corpus NAME` makes a corpus", err=as_json)
    if as_json:
        for stage in found.stages:
            typer.echo(json.dumps(dataclasses.asdict(stage) | {"missing": stage.missing}))
        return
    lines = [("stage", "name", "corpus", "done", "failed", "missing", "rows", "rejects", "MB", "MB/s")]
    for stage in found.stages:
        lines.append(
            (
                stage.kind,
                stage.folder.split("/")[2 if stage.kind in ("score", "losses", "pairs", "strength") else 1],
                stage.corpus or "",
                f"{stage.done}/{'?' if stage.total is None else stage.total}",
                str(len(stage.failed)),
                "?" if stage.missing is None else str(stage.missing),
                f"{stage.rows:,}",
                f"{stage.rejected:,}",
                f"{stage.megabytes:,.1f}",
                "" if stage.speed is None else f"{stage.speed:,.1f}",
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines if found.stages else ():
        words = [cell.ljust(width) for cell, width in zip(line[:3], widths[:3], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(line[3:], widths[3:], strict=True)]
        typer.echo("  ".join(words + numbers).rstrip())
    for stage in found.stages:
        for shard, error in list(stage.failed.items())[:FAILED]:
            typer.echo(f"failed: {stage.folder}/{shard}: {error}")
        if len(stage.failed) > FAILED:
            typer.echo(f"... and {len(stage.failed) - FAILED} more of {stage.folder}; --json names all")
        if stage.failed or stage.missing:
            typer.echo(f"to go on with {stage.folder}: {stage.retry}")
