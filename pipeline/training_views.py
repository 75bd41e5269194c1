"""Training in SQL: `training` (a row a step), `training_sets` (a row per evaluation and set), `comparisons`.

The first two begin with `run`, the name, and `folder`; the newest run of each name is shown. They can be read while a
run goes on: files are listed when the connection opens. `comparisons` has the results of `tamis compare`, and begins
with `comparison` and `folder`, the newest of each name.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from pipeline.workspace import Workspace

VIEWS = {
    "training": ("runs", "run", "metrics"),
    "training_sets": ("runs", "run", "evaluations"),
    "comparisons": ("comparisons", "comparison", ""),
}
"""{view: (parent of its stages, column of their name, folder in a stage that holds its Parquet files)}"""
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
RESULTS = pa.schema(
    [
        ("selection", pa.string()),
        ("seed", pa.int64()),
        ("set", pa.string()),
        ("source", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("step", pa.int64()),
        ("tokens", pa.int64()),
        ("epochs", pa.float64()),
    ]
)
"""source: NULL for a whole set; metric: bits_per_byte, nll or a task's; epochs: how often the run read its data."""
SCHEMAS = {"training": STEPS, "training_sets": SETS, "comparisons": RESULTS}


def training_files(workspace: Workspace, view: str) -> dict[tuple[str, str], list[str]]:
    """{(name, folder): files of the view, in order}, of the newest stage of each name."""
    parent, _, inside = VIEWS[view]
    newest = {record["name"]: folder for folder, record in workspace.stages(parent).items()}  # oldest first
    found = {}
    for name, folder in newest.items():
        inner = f"{folder}/{inside}".rstrip("/")
        files = [f"{inner}/{file}" for file in sorted(workspace.store.sizes(inner)) if file.endswith(".parquet")]
        if files:
            found[name, folder] = files
    return found


def training_selects(
    workspace: Workspace, view: str, listed: Callable[[list[str]], str], text: Callable[[str], str]
) -> list[str]:
    """SELECTs of a view, one per stage. listed: makes files known to the connection, and gives their variable.

    One empty SELECT if there is none yet.
    """
    named = VIEWS[view][1]
    columns = ", ".join(f'"{name}"' for name in SCHEMAS[view].names)
    selects = [
        f"SELECT {text(name)} AS {named}, {text(folder)} AS folder, {columns} "
        f"FROM read_parquet(getvariable('{listed(files)}'))"
        for (name, folder), files in training_files(workspace, view).items()
    ]
    kinds = ", ".join(f'NULL::{_sql(field.type)} AS "{field.name}"' for field in SCHEMAS[view])
    return selects or [f"SELECT NULL::VARCHAR AS {named}, NULL::VARCHAR AS folder, {kinds} LIMIT 0"]


def _sql(kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        return "MAP(VARCHAR, DOUBLE)"
    return {"int64": "BIGINT", "int32": "INTEGER", "double": "DOUBLE", "string": "VARCHAR"}[str(kind)]
