"""Membership tests in SQL: `membership` (a row per test) and `membership_draws` (a row per draw).

Both begin with `name`, `folder`, `registry`, `model` and `step` (of a training run, else NULL); the newest test of each
name is shown. Columns: pipeline.membership.results.SCHEMA and pipeline.membership.values.DRAWS with `id`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.workspace import Workspace

VIEWS = ("membership", "membership_draws")
PARENT, RESULTS = "memberships", "results.parquet"
EMPTY = {
    "membership": {
        **dict.fromkeys(("level", "id", "owner", "test", "statistic", "null"), "VARCHAR"),
        "primary": "BOOLEAN",
        **dict.fromkeys(("value", "effect"), "DOUBLE"),
        **dict.fromkeys(("draws", "exceedances"), "BIGINT"),
        **dict.fromkeys(("p", "p_adjusted"), "DOUBLE"),
        "found": "BOOLEAN",
        **dict.fromkeys(("auc", "auc_low", "auc_high"), "DOUBLE"),
        **dict.fromkeys(("identifiers", "copies"), "BIGINT"),
        **dict.fromkeys(("level_needed", "power"), "DOUBLE"),
    },
    "membership_draws": {
        **dict.fromkeys(("id", "kind"), "VARCHAR"),
        **dict.fromkeys(("draw", "tokens"), "INTEGER"),
        **dict.fromkeys(("mean_nll", "sum_nll", "min_k", "zlib_nll", "centred_nll"), "DOUBLE"),
        "logprobs": "FLOAT[]",
        "guesses": "BIGINT",
        "hit": "BOOLEAN",
    },
}
"""Columns that are there in any case: NULL where no file has them."""


def membership_selects(
    workspace: Workspace, view: str, listed: Callable[[list[str]], str], text: Callable[[str], str]
) -> list[str]:
    """SELECTs of a view, one per test. listed: makes files known to the connection, and gives the list's variable."""
    stages = workspace.stages(PARENT)
    newest = {record["name"]: folder for folder, record in stages.items()}  # oldest first
    selects = []
    for name, folder in newest.items():
        files = sorted(file for file in workspace.store.sizes(folder) if file.endswith(".parquet"))
        if view == "membership":
            files = [file for file in files if file == RESULTS]
            columns = "*"
        else:
            done = {id for id, row in workspace.rows(folder).items() if row.done}
            files = [file for file in files if file.removesuffix(".parquet") in done]
            columns = "parse_filename(filename, true) AS id, * EXCLUDE (filename)"
        if files:
            about = _about(stages[folder], name, folder, text)
            variable = listed([f"{folder}/{file}" for file in files])
            filename = ", filename = true" if view == "membership_draws" else ""
            selects.append(f"SELECT {about}, {columns} FROM read_parquet(getvariable('{variable}'){filename})")
    kinds = ", ".join(f'NULL::{kind} AS "{column}"' for column, kind in EMPTY[view].items())
    head = ", ".join(f"NULL::VARCHAR AS {column}" for column in ("name", "folder", "registry", "model"))
    # The empty one first: a test that was made before a column was there has NULL in it.
    return [f"SELECT {head}, NULL::BIGINT AS step, {kinds} LIMIT 0", *selects]


def _about(record: dict[str, Any], name: str, folder: str, text: Callable[[str], str]) -> str:
    info = record["info"]
    values = {"name": name, "folder": folder, "registry": info.get("registry", ""), "model": info.get("model", "")}
    shown = ", ".join(f"{text(value)} AS {column}" for column, value in values.items())
    step = info.get("step")
    return f"{shown}, {'NULL' if step is None else int(step)}::BIGINT AS step"
