"""What the second stage of finding makes of a corpus: identifiers by their copies, and what it mistakes for one.

The documents of the benchmark (manuals in some twenty languages, full of titles that quote each other) are ingested,
phrases of ten words are put into them, 100 each in 1, 2, 3 and 10 documents, inside of paragraphs; then
`tamis repeats spans --window 8` and the search of `tamis ghosts find` run as a user runs them. The search knows no word
list. A run counts if its confidence is above 0.5, and is a phrase if its places are those of an insertion.
"""

from __future__ import annotations

import tempfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import say
from benchmarks.corpus import first_megabytes
from benchmarks.statistics import most
from pipeline.execute import Compute, Pool
from pipeline.ghosts.draw import DrawSettings, commit, draw
from pipeline.ghosts.find import second_stage
from pipeline.ghosts.insert import insert
from pipeline.ghosts.settings import InsertSettings
from pipeline.ingest import IngestSettings, ingest
from pipeline.lock import held
from pipeline.repeats.run import count_repeats
from pipeline.repeats.settings import SpanSettings
from pipeline.sql import query
from pipeline.workspace import Workspace

COPIES = (1, 2, 3, 10)
EACH = 100
WINDOW = 8
# Copies of phrases: a stretch whose place overlaps that of an insertion.
FOUND = """WITH found AS (SELECT run, copies, different, confidence FROM ghost_recurring),
  places AS (SELECT run, id, byte_start, byte_stop FROM stretches),
  phrases AS (SELECT run, max(identifier) AS identifier, count(*) AS copies, count(i.identifier) AS hits
    FROM places LEFT JOIN insertions i ON i.id = places.id AND i.corpus = 'marked' AND i.reason IS NULL
      AND places.byte_start < i.byte_stop AND i.byte_start < places.byte_stop GROUP BY run)
SELECT found.*, phrases.hits = phrases.copies AS phrase, identifier FROM found JOIN phrases USING (run)"""


def measure(megabytes: float) -> dict[str, Any]:
    """Shares of the phrases that are found, by copies, and runs per million words that are none."""
    with tempfile.TemporaryDirectory(prefix="tamis-recurring-") as folder:
        pq.write_table(first_megabytes(megabytes).select(["id", "text", "source"]), f"{folder}/documents.parquet")
        registry = f"{folder}/owners.parquet"
        commit(registry, DrawSettings(count=EACH * len(COPIES), length=10, carriers=("{phrase}.",)))
        drawn = draw(registry, "")
        workspace = Workspace(f"{folder}/workspace")
        with held(workspace.store), Pool(Compute(workers=1), workspace) as pool:
            ingest(workspace, "web", IngestSettings(sources=[f"{folder}/documents.parquet"], id="id"), pool)
            grid = ",".join(f"{EACH}x{copies}" for copies in COPIES)
            done = insert(workspace.corpus("web"), "marked", drawn, InsertSettings(grid=grid), pool, note=False)
            report = count_repeats(workspace, "short", SpanSettings(corpora=["marked"], window=WINDOW), pool)
            place = second_stage(workspace, [workspace.corpus("marked")], "ghosts", WINDOW, None, pool)
        rows = _runs(workspace, f"{workspace.url}/{place}/marked/*.parquet")
    copies = done["repetitions"]
    words = report["words"] / 1e6
    lines = []
    for count in COPIES:
        ids = {id for id, n in copies.items() if n == count}
        found = {row["identifier"] for row in rows if row["phrase"] and row["confidence"] > 0.5} & ids
        lines.append({"what": f"phrases of {count} copies: found", "value": len(found) / len(ids) * 100, "unit": "%"})
    others = [row for row in rows if not row["phrase"]]
    wrong = sum(row["confidence"] > 0.5 for row in others)
    for what, one in (
        ("other runs in two documents", len(others)),
        ("of them in different contexts", sum(row["different"] for row in others)),
        ("of them taken for a phrase", wrong),
    ):
        lines.append({"what": what, "unit": "per million words", "value": one / words})
    lines[-1] |= {"low": 0.0, "high": most(wrong) / words}
    say(f"ghost_recurring: {len(rows)} runs, {wrong} of them wrong, in {words:.2f} million words")
    return {
        "lines": lines,
        "about": f"{words:.2f} million words of manuals; {EACH} phrases of ten words for each number of copies, at "
        f"ends of paragraphs, without carriers; spans of {WINDOW} words. The upper end is a bound with 95 % "
        "confidence.\n",
    }


def _runs(workspace: Workspace, files: str) -> list[dict[str, Any]]:
    import glob

    import duckdb

    views = {name: query(workspace, f"SELECT * FROM {name}") for name in ("ghost_recurring", "insertions")}
    with duckdb.connect() as connection:
        for name, table in views.items():
            connection.register(name, table)
        connection.register("stretches", pa.concat_tables([pq.read_table(file) for file in sorted(glob.glob(files))]))
        return connection.sql(FOUND).to_arrow_table().to_pylist()
