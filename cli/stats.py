"""`tamis stats`: distributions of scores, and what a threshold would cut."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cli.options import CorporaOption, WorkspaceOption
from cli.sql import ConfigOption, FormatOption, OutOption, RowsOption, stages_of


def stats(
    columns: Annotated[list[str] | None, typer.Option("--column", "-c", help="Column; several times [all]")] = None,
    by: Annotated[Literal["corpus", "source", "shard"], typer.Option("--by", help="Groups.")] = "corpus",
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Show what keeping only column >= this would cut.")
    ] = None,
    histogram: Annotated[bool, typer.Option("--histogram", help="Bins instead of quantiles.")] = False,
    workspace: WorkspaceOption = None,
    corpora: CorporaOption = None,
    config: ConfigOption = None,
    format: FormatOption = "table",
    out: OutOption = None,
    rows: RowsOption = 100,
) -> None:
    """Show how scores are distributed: counts, mean, extremes and exact quantiles, per corpus, source or shard.

    The same numbers in SQL: score_stats and score_histogram.
    """
    from pipeline.stats import stats as run
    from pipeline.workspace import Workspace, default_url

    place = Workspace(workspace or default_url())
    stages = stages_of(config, place)
    run(place, columns or (), by, threshold, histogram, corpora or (), format, out, stages, rows)
