"""DuckDB over a workspace, read-only: what a user types reaches the workspace's views and nothing else.

sql("workspace", "SELECT source, count(*) FROM scored GROUP BY ALL", format="csv", out="counts.csv")
table = query("workspace", "SELECT id, preselect_score FROM preselect")   # a pyarrow Table
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import AbstractContextManager

import duckdb
import pyarrow as pa

from pipeline import sandbox
from pipeline.output import ROWS, Format, write
from pipeline.views import opened
from pipeline.workspace import Workspace

DISTRIBUTIONS = re.compile("stat|hist|score_|duckdb_|information_schema|show|describe", re.IGNORECASE)
"""What a query about distributions holds, or one about what there is, or a slip of one that should get a proposal."""


def sql(
    workspace: str | Workspace,
    query: str,
    corpora: Collection[str] = (),
    format: Format = "table",
    out: str | None = None,
    stages: Collection[str] = (),
    rows: int = ROWS,
    seconds: float | None = None,
) -> None:
    """Run one SELECT and write what it gives to stdout or a file.

    corpora: those that the views show [all]. stages: folders of score stages to show instead of the newest of their
    alias. rows: how many a table shows. seconds: until the last row is written, 0 for no limit [TAMIS_SQL_SECONDS,
    then none]. Raises UserError with one line if the query is wrong, takes longer, or reaches outside.
    """
    with _opened(workspace, query, corpora, stages) as connection:
        schema, batches = sandbox.batches(connection, query, seconds)
        write(schema, batches, format, out, rows)


def query(
    workspace: str | Workspace,
    query: str,
    corpora: Collection[str] = (),
    stages: Collection[str] = (),
    seconds: float | None = None,
) -> pa.Table:
    """Run one SELECT; all of its rows. seconds, and what it raises: as `sql`."""
    with _opened(workspace, query, corpora, stages) as connection:
        schema, batches = sandbox.batches(connection, query, seconds)
        return pa.Table.from_batches(batches, schema)


def _opened(
    workspace: str | Workspace, query: str, corpora: Collection[str], stages: Collection[str]
) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """A locked connection; the views of distributions are made where the query may mean them."""
    place = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
    return opened(place, corpora, stages, locked=True, distributions=DISTRIBUTIONS.search(query) is not None)
