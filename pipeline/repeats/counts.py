"""Counts that are there: what views, `show` and `price` read."""

from __future__ import annotations

from pipeline.workspace import Workspace

REPORT = "report.json"
REPORT_SHARD = "report"
"""What the ledger calls the end of a count."""


def finished_counts(workspace: Workspace) -> dict[str, str]:
    """{name: folder} of the newest finished count of each name."""
    found = {}
    for folder, record in workspace.stages("repeats").items():  # oldest first
        row = workspace.rows(folder).get(REPORT_SHARD)
        if row is not None and row.done and workspace.store.exists(f"{folder}/{REPORT}"):
            found[record["name"]] = folder
    return found
