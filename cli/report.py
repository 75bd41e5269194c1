"""`tamis report`: one self-contained HTML page."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import CorporaOption, WorkspaceOption
from cli.sql import ConfigOption, stages_of


def report(
    out: Annotated[str, typer.Option("--out", "-o", help="The file; one that is there is replaced.")] = "report.html",
    workspace: WorkspaceOption = None,
    corpora: CorporaOption = None,
    config: ConfigOption = None,
    largest: Annotated[
        float, typer.Option("--max-mb", min=1.0, help="Size of the page; texts of documents are cut shorter to fit.")
    ] = 5.0,
) -> None:
    """Make one HTML page about the workspace: stages, scores, what was cut and why, and the documents behind each bar.

    The page needs no network. Every number on it is the answer to a query that stands beside it; `tamis sql` runs it
    again.
    """
    import time

    from pipeline.report import report as make
    from pipeline.workspace import Workspace, default_url

    begun = time.monotonic()
    place = Workspace(workspace or default_url())
    made = make(place, out, corpora or (), stages_of(config, place), largest)
    figures = sum(made.sections.values())
    typer.echo(
        f"report: {made.path}, {made.size / 1e6:.1f} MB, {figures} figures in {len(made.sections)} parts, "
        f"{time.monotonic() - begun:.1f} s",
        err=True,
    )
