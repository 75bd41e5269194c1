"""`tamis import-scores TABLE --corpus NAME --alias NAME`: a table of id + columns becomes a score stage."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cli.options import WorkspaceOption


def import_scores(
    table: Annotated[str, typer.Argument(help="Parquet or CSV: a file, a folder, a glob in quotes, or a URL.")],
    corpus: Annotated[str, typer.Option(help="The corpus whose ids the table has.")],
    alias: Annotated[str, typer.Option(help="What the scores are called; the name of their view in SQL.")],
    id_column: Annotated[str, typer.Option("--id", help="Column of the ids.")] = "id",
    columns: Annotated[
        list[str] | None, typer.Option("--column", metavar="NAME[=NEW]", help="Column to take; several times [all].")
    ] = None,
    format: Annotated[Literal["table", "json"], typer.Option(help="table on stderr, json on stdout.")] = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Bring scores made elsewhere beside the documents. Documents that the table does not name get NULL."""
    from pipeline.import_scores import import_scores as run
    from pipeline.lock import held
    from pipeline.workspace import Workspace, default_url

    place = Workspace(workspace or default_url())
    with held(place.store):
        result = run(place, place.corpus(corpus), alias, table, id_column, columns or ())
    if format == "json":
        import orjson

        typer.echo(orjson.dumps(result).decode())
        return
    typer.echo(
        f"{result['matched']:,} of {result['documents']:,} documents have a row, {result['unmatched']:,} get NULL; "
        f"{result['unknown']:,} rows name no document of the corpus",
        err=True,
    )
    typer.echo(result["folder"], err=True)
