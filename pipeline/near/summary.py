"""What a search found, and the alarm when one cluster or one source would lose more than it should."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.errors import Alarm
from pipeline.near.documents import Documents
from pipeline.near.settings import NearSettings
from pipeline.shards import open_parquet
from pipeline.workspace import Corpus

LARGEST = 20
"""Clusters that a summary names."""


class NearAlarm(Alarm):
    """One cluster or one source would lose too much: the tables are written, but somebody should look (exit code 1)."""

    def __init__(self, lines: list[str], result: dict[str, Any]):
        self.result = result
        folders = ", ".join(result["folders"].values())
        super().__init__(
            f"alarm: {'; '.join(lines)}. The scores are written ({folders}): look first, then raise the limit to go on"
        )


def summary(documents: Documents, corpora: Sequence[Corpus], verdicts: list[str]) -> dict[str, Any]:
    """Documents, clusters and near-duplicates: in all, by source, and of the clusters that would lose most."""
    sources: dict[str, dict[str, int]] = {}
    for part in documents.parts:
        [corpus] = [one for one in corpora if one.name == part.corpus]
        for item in corpus.done[part.shard].sources:
            if not item["rows_out"]:  # all of it was turned away at ingest
                continue
            _of(sources, item["source"])["documents"] += item["rows_out"]
    clusters = members = 0
    largest: list[dict[str, Any]] = []
    for name in verdicts:
        with open_parquet(documents.workspace.store, name) as file:  # a cluster lies in one file
            table = file.read(["doc", "cluster", "of", "cluster_id", "words", "source"], use_threads=False)
        table = table.append_column("lost", pc.not_equal(table.column("doc"), table.column("of")))
        grouped = table.group_by("cluster").aggregate([("doc", "count"), ("lost", "sum"), ("cluster_id", "min")])
        clusters += grouped.num_rows
        members += table.num_rows
        order = [("lost_sum", "descending"), ("cluster", "ascending")]
        for row in grouped.sort_by(order).slice(0, LARGEST).to_pylist():
            corpus_name = documents.corpus_of(np.array([row["cluster"]]))[0]
            found = {"id": row["cluster_id_min"], "corpus": corpus_name}
            largest.append(found | {"size": row["doc_count"], "duplicates": row["lost_sum"]})
        lost = table.filter(table.column("lost")).group_by("source").aggregate([("doc", "count"), ("words", "sum")])
        for row in lost.to_pylist():
            counts = _of(sources, row["source"])
            counts["duplicates"] += row["doc_count"]
            counts["words"] += row["words_sum"]
    largest.sort(key=lambda one: (-one["duplicates"], one["corpus"], one["id"]))
    return {
        "documents": documents.total,
        "clusters": clusters,
        "members": members,
        "duplicates": sum(counts["duplicates"] for counts in sources.values()),
        "sources": dict(sorted(sources.items())),
        "largest": largest[:LARGEST],
    }


def _of(sources: dict[str, dict[str, int]], name: str | None) -> dict[str, int]:
    return sources.setdefault(name or "", {"documents": 0, "duplicates": 0, "words": 0})


def alarms(result: dict[str, Any], settings: NearSettings) -> list[str]:
    """A line for each cluster and each source that would lose more than the settings allow."""
    lines = []
    for one in result["largest"]:
        share = one["duplicates"] / max(result["documents"], 1)
        if one["duplicates"] >= settings.alarm_documents and share > settings.alarm_cluster:
            lines.append(
                f"the cluster of {one['id']!r} ({one['corpus']}) would lose {one['duplicates']:,} documents, "
                f"{share:.1%} of all (alarm_cluster {settings.alarm_cluster:g})"
            )
    for name, counts in result["sources"].items():
        share = counts["duplicates"] / max(counts["documents"], 1)
        if counts["duplicates"] >= settings.alarm_documents and share > settings.alarm_source:
            lines.append(
                f"source {name!r} would lose {counts['duplicates']:,} of {counts['documents']:,} documents, "
                f"{share:.1%} (alarm_source {settings.alarm_source:g})"
            )
    return lines
