"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

WorkspaceOption = Annotated[
    Optional[str],  # noqa: UP007, UP045 - typer reads this at run time
    typer.Option("--workspace", "-w", envvar="TAMIS_WORKSPACE", help="Folder or URL of the workspace [./workspace]."),
]
WorkersOption = Annotated[
    Optional[int],  # noqa: UP007, UP045
    typer.Option("--workers", min=1, help="Processes of the local cluster [one per core]."),
]
SchedulerOption = Annotated[
    Optional[str],  # noqa: UP007, UP045
    typer.Option("--scheduler", help="Address of a Dask cluster that exists, such as tcp://host:8786."),
]
MemoryOption = Annotated[
    Optional[str],  # noqa: UP007, UP045
    typer.Option("--memory", help="Memory limit of each local worker, such as 2GB [an equal share]."),
]
LimitOption = Annotated[
    Optional[int],  # noqa: UP007, UP045
    typer.Option("--limit", min=1, help="Only the first N shards, to try things out."),
]
CorporaOption = Annotated[
    Optional[list[str]],  # noqa: UP007, UP045
    typer.Option("--corpus", help="A corpus; may be given several times [all]."),
]
