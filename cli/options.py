"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

from typing import Annotated, Any

import typer

WorkspaceOption = Annotated[
    str | None,
    typer.Option("--workspace", "-w", envvar="TAMIS_WORKSPACE", help="Folder or URL of the workspace [./workspace]."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes of the local cluster [one per core]."),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option("--scheduler", help="Address of a Dask cluster that exists, such as tcp://host:8786."),
]
MemoryOption = Annotated[
    str | None,
    typer.Option("--memory", help="Memory limit of each local worker, such as 2GB [an equal share]."),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="Only the first N shards, to try things out."),
]
CorporaOption = Annotated[
    list[str] | None,
    typer.Option("--corpus", help="A corpus; may be given several times [all]."),
]


def assigned(items: list[str] | None, option: str) -> dict[str, Any]:
    """{key: value} of KEY=VALUE texts; values as in YAML, a query as it stands. Raises UserError."""
    from pipeline.errors import UserError
    from pipeline.yaml_file import read_value

    values = {}
    for item in items or []:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UserError(f"{option} {item!r}: expected KEY=VALUE")
        values[key] = read_value(value, f"{option} {item!r}") if key != "sql" and value else value
    return values
