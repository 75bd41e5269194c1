"""`tamis status --watch`: the table of `tamis status`, looked at again and again.

On a terminal the view stays in its place, with the time left of each stage, until Ctrl-C. Elsewhere (a pipe, a file,
the log of a CI) a line is printed per stage that went on, and the command ends when no run holds the workspace.
"""

from __future__ import annotations

import datetime
import sys
import time
from typing import TYPE_CHECKING, Any

import typer

from cli.status import HEAD, cells, failures, nothing, table

if TYPE_CHECKING:
    from pipeline.watch import View, Watch

KEPT = tuple(i for i, name in enumerate(HEAD) if name not in ("rejects", "MB"))
"""Columns of the view on a terminal."""


def watch(url: str, every: float) -> None:
    """Look until Ctrl-C, which is how it ends: exit code 0."""
    from pipeline.watch import Watch

    looks = Watch(url)
    try:
        if sys.stdout.isatty():
            _live(looks, every)
        else:
            _lines(looks, every)
    except KeyboardInterrupt:
        return


def _live(looks: Watch, every: float) -> None:
    from rich.live import Live

    with Live(drawn(looks.look()), auto_refresh=False) as live:
        while True:
            live.update(drawn(looks.look()), refresh=True)
            time.sleep(every)


def drawn(view: View) -> Any:
    """The view as rich draws it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    # Fits 80 columns: what is cut first is the end of a long name.
    shown = Table(box=None, pad_edge=False)
    for i in KEPT:
        shown.add_column(HEAD[i], justify="left" if i < 3 else "right", no_wrap=i > 0)
    shown.add_column("left", justify="right", no_wrap=True)
    for stage, line in zip(view.status.stages, cells(view.status), strict=True):
        style = "red" if stage.failed else "dim" if stage.missing == 0 else ""
        shown.add_row(*(Text(line[i]) for i in KEPT), _duration(view.left.get(stage.folder)), style=style)
    now = f"{datetime.datetime.now():%H:%M:%S}"
    holder = view.status.holder or "no run holds the workspace"
    lines = [Text(line, "red" if line.startswith("failed") else "") for line in failures(view.status)]
    return Group(Text(f"{now}  {view.status.workspace}: {holder}"), shown, *lines, Text("Ctrl-C ends this view", "dim"))


def _lines(looks: Watch, every: float) -> None:
    view = looks.look()
    for line in table(view.status):
        typer.echo(line)
    while view.status.is_running:
        time.sleep(every)
        before, view = view, looks.look()
        for stage in view.status.stages:
            if view.counts[stage.folder] == before.counts.get(stage.folder):
                continue
            total = "?" if stage.total is None else stage.total
            failed = f", {len(stage.failed)} failed" if stage.failed else ""
            left = f", {_duration(view.left[stage.folder])} left" if stage.folder in view.left else ""
            now = f"{datetime.datetime.now():%H:%M:%S}"
            typer.echo(f"{now} {stage.folder}: {stage.done}/{total} done{failed}, {stage.rows:,} rows{left}")
        sys.stdout.flush()
    for line in failures(view.status):
        typer.echo(line)
    typer.echo("no run holds the workspace" if view.status.stages else nothing(view.status))


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
