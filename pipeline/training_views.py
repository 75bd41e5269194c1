"""The curves of training runs in SQL: `training` (a row a step) and `training_sets` (a row per evaluation and set).

Both begin with `run`, the name, and `folder`; the newest run of each name is shown. They can be read while a run goes
on: files are listed when the connection opens.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from pipeline.workspace import Workspace

RUNS = "runs"
VIEWS = {"training": "metrics", "training_sets": "evaluations"}
"""{view: folder of a run that holds its Parquet files}"""
STEPS = pa.schema(
    [
        ("step", pa.int64()),
        ("epoch", pa.int32()),
        ("tokens", pa.int64()),
        ("rows", pa.int64()),
        ("loss", pa.float64()),
        ("nll", pa.float64()),
        ("log_z2", pa.float64()),
        ("grad_norm", pa.float64()),
        ("lr", pa.float64()),
        ("scored", pa.int64()),
        ("padding", pa.int64()),
        ("seconds", pa.float64()),
        ("tokens_per_second", pa.float64()),
        ("probes", pa.map_(pa.string(), pa.float64())),
    ]
)
"""tokens and rows: run so far; loss: what is minimised; nll: plain mean over the scored tokens, nats; scored, padding:
positions of this step."""
SETS = pa.schema(
    [
        ("step", pa.int64()),
        ("tokens", pa.int64()),
        ("set", pa.string()),
        ("source", pa.string()),
        ("documents", pa.int64()),
        ("scored", pa.int64()),
        ("bytes", pa.int64()),
        ("nll", pa.float64()),
        ("bits_per_byte", pa.float64()),
    ]
)
"""source: NULL for all of the set together; nll: nats per scored token."""
SCHEMAS = {"training": STEPS, "training_sets": SETS}


def training_files(workspace: Workspace, view: str) -> dict[tuple[str, str], list[str]]:
    """{(run, folder): files of the view, in order}, of the newest run of each name."""
    newest = {record["name"]: folder for folder, record in workspace.stages(RUNS).items()}  # oldest first
    found = {}
    for name, folder in newest.items():
        inner = f"{folder}/{VIEWS[view]}"
        files = [f"{inner}/{file}" for file in sorted(workspace.store.sizes(inner))]
        if files:
            found[name, folder] = files
    return found


def training_selects(
    workspace: Workspace, view: str, listed: Callable[[list[str]], str], text: Callable[[str], str]
) -> list[str]:
    """SELECTs of a view, one per run. listed: makes files known to the connection, and gives the variable of the list.

    One empty SELECT if there is no run yet.
    """
    columns = ", ".join(f'"{name}"' for name in SCHEMAS[view].names)
    selects = [
        f"SELECT {text(name)} AS run, {text(folder)} AS folder, {columns} "
        f"FROM read_parquet(getvariable('{listed(files)}'))"
        for (name, folder), files in training_files(workspace, view).items()
    ]
    kinds = ", ".join(f'NULL::{_sql(field.type)} AS "{field.name}"' for field in SCHEMAS[view])
    return selects or [f"SELECT NULL::VARCHAR AS run, NULL::VARCHAR AS folder, {kinds} LIMIT 0"]


def _sql(kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        return "MAP(VARCHAR, DOUBLE)"
    return {"int64": "BIGINT", "int32": "INTEGER", "double": "DOUBLE", "string": "VARCHAR"}[str(kind)]
