"""What a person sees of labels: the evidence on each judge, and texts from both ends."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.output import clean
from pipeline.preselect.sample import Sample
from pipeline.preselect.strength import read_strength

ENDS = 3
SHOWN = 160
"""Characters of a text."""


def shown(sample: Sample, folder: str, record: dict[str, Any]) -> str:
    """A few lines; texts with their control characters escaped."""
    lines = [f"{record['documents']:,} documents, {record['tokens']:,} tokens read"]
    for name, one in record["judges"].items():
        reliability = "not measured" if one["reliability"] is None else f"{one['reliability']:.2f}"
        mass = "not known" if one["mass"] is None else f"{one['mass']:.2f}"
        pulls = " ".join(f"{value:+.2f}" for value in one["bias"])
        lines.append(
            f"{name}: {one['prompts']:,} prompts, reliability {reliability}, share of answers by position "
            f"{one['position']:.0%}, probability of all answers {mass}, pull of the answers in nats {pulls}"
        )
    if "agreement" in record:
        lines.append(
            f"the judges' ranks agree with Spearman's {record['agreement']:.2f}; {record['disagree']:,} documents on "
            "which they are too far apart have no label"
        )
    table = read_strength(sample, folder, ["id", "judge"])
    order = pc.sort_indices(table, [("judge", "descending"), ("id", "ascending")], null_placement="at_end")
    defined = table.num_rows - table.column("judge").null_count
    best, worst = order[: min(ENDS, defined)], order[max(defined - ENDS, 0) : defined]
    texts = _texts(sample, pa.concat_arrays([table.column("id").combine_chunks().take(i) for i in (best, worst)]))
    for title, rows in (("best", best), ("worst", worst)):
        lines.append(f"{title}:")
        for row in rows.to_pylist():
            name, quality = table.column("id")[row].as_py(), table.column("judge")[row].as_py()
            lines.append(f"  {quality:+.2f}  {clean(name)}: {clean(texts[name][:SHOWN])}")
    return "\n".join(lines)


def _texts(sample: Sample, ids: pa.Array) -> dict[str, str]:
    found: dict[str, str] = {}
    for shard in sample.shards:
        table = sample.table(shard, ["id", "text"])
        table = table.filter(pc.is_in(table.column("id"), ids))
        found |= dict(zip(table.column("id").to_pylist(), table.column("text").to_pylist(), strict=True))
    return found
