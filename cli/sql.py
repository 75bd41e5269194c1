"""`tamis sql "SELECT ..."`: DuckDB over the workspace, read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.options import CorporaOption, WorkspaceOption

if TYPE_CHECKING:
    from pipeline.workspace import Workspace

FormatOption = Annotated[
    Literal["table", "csv", "json", "parquet"], typer.Option("--format", "-f", help="How rows are written.")
]
OutOption = Annotated[str | None, typer.Option("--out", "-o", help="A local file [stdout].")]
ConfigOption = Annotated[str | None, typer.Option("--config", help="Show the score stages that this config names.")]
RowsOption = Annotated[int, typer.Option("--rows", min=1, help="Rows of a table; other formats give all.")]


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT; '-' reads it from stdin.")],
    workspace: WorkspaceOption = None,
    corpora: CorporaOption = None,
    config: ConfigOption = None,
    format: FormatOption = "table",
    out: OutOption = None,
    rows: RowsOption = 100,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0.0, help="Give the query up after so long [TAMIS_SQL_SECONDS, else never]."),
    ] = None,
) -> None:
    """Query the workspace. SHOW TABLES lists the views; DESCRIBE scored its columns.

    Views: documents, scored (documents without text, with all scores), one per score stage (preselect, lengths, ...),
    selection, rejects, shard_runs, stages, score_stats, score_histogram, training, training_sets, comparisons,
    preselect_sample, preselect_losses, preselect_strengths, membership, membership_draws, repeat_spectrum,
    repeat_classes, repeat_sources, repeat_shared, repeat_spans, repeat_units, repeat_unit_counts,
    token_selections. Nothing else can be read, and nothing written.
    """
    import sys

    from pipeline.sql import sql as run
    from pipeline.workspace import Workspace, default_url

    text = sys.stdin.read() if query == "-" else query
    place = Workspace(workspace or default_url())
    run(place, text, corpora or (), format, out, stages_of(config, place), rows, seconds)


def stages_of(config: str | None, workspace: Workspace) -> set[str]:
    """Folders of the score stages that a config names; none without a config, which shows the newest."""
    if config is None:
        return set()
    from pipeline.config import load
    from pipeline.run import named_stages

    return named_stages(load(config), workspace)
