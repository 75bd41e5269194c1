"""`tamis status`: stages and shards, done and failed, once or as a view that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import WorkspaceOption

if TYPE_CHECKING:
    from pipeline.status import Status

CAUSES = 10
"""Causes of failures that are named per stage."""
HEAD = ("stage", "name", "corpus", "done", "failed", "missing", "rows", "rejects", "MB", "MB/s")


def status(
    workspace: WorkspaceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per stage.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every few seconds, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --watch.")] = 2.0,
) -> None:
    """Show what is done, what failed and why, how fast it went, and who holds the workspace."""
    from pipeline.errors import UserError
    from pipeline.workspace import Workspace, default_url

    url = workspace or default_url()
    if watch:
        if as_json:
            raise UserError("--watch and --json exclude each other; `tamis --log-format json run` gives events")
        from cli.watch import watch as stay

        stay(url, every)
        return
    from pipeline.status import status as read

    found = read(Workspace(url))
    if found.holder is not None:
        typer.echo(found.holder, err=as_json)
    if not found.stages:
        typer.echo(nothing(found), err=as_json)
    if as_json:
        _print_json(found)
        return
    for line in [*table(found), *failures(found)]:
        typer.echo(line)


def nothing(found: Status) -> str:
    """What is said of a workspace without a stage."""
    return f"nothing in {found.workspace} yet; `tamis ingest SRC --corpus NAME` makes a corpus"


def _print_json(found: Status) -> None:
    import dataclasses
    import json

    for stage in found.stages:
        more = {"missing": stage.missing, "causes": [dataclasses.asdict(cause) for cause in stage.causes]}
        typer.echo(json.dumps(dataclasses.asdict(stage) | more))


def cells(found: Status) -> list[tuple[str, ...]]:
    """A line of cells per stage, under HEAD."""
    return [
        (
            stage.kind,
            stage.folder.split("/")[2 if stage.kind in ("score", "losses", "pairs", "strength") else 1],
            stage.corpus or "",
            f"{stage.done}" if stage.total is None else f"{stage.done}/{stage.total}",
            str(len(stage.failed)),
            "" if stage.missing is None else str(stage.missing),
            f"{stage.rows:,}",
            f"{stage.rejected:,}",
            f"{stage.megabytes:,.1f}",
            "" if stage.speed is None else f"{stage.speed:,.1f}",
        )
        for stage in found.stages
    ]


def table(found: Status) -> list[str]:
    """The stages as aligned lines, with a head."""
    lines = [HEAD, *cells(found)] if found.stages else []
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))] if lines else []
    shown = []
    for line in lines:
        words = [cell.ljust(width) for cell, width in zip(line[:3], widths[:3], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(line[3:], widths[3:], strict=True)]
        shown.append("  ".join(words + numbers).rstrip())
    return shown


def failures(found: Status) -> list[str]:
    """What failed, by cause, and the command that goes on."""
    lines = []
    for stage in found.stages:
        causes = stage.causes
        lines += [f"failed: {stage.folder}/{cause.shown()}" for cause in causes[:CAUSES] if len(cause.shards) == 1]
        lines += [f"failed: {stage.folder}: {cause.shown()}" for cause in causes[:CAUSES] if len(cause.shards) > 1]
        if len(causes) > CAUSES:
            lines.append(f"... and {len(causes) - CAUSES} more causes in {stage.folder}; --json names all")
        if stage.failed or stage.missing:
            lines.append(f"to go on with {stage.folder}: {stage.retry}")
    return lines
