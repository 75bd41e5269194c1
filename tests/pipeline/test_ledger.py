"""The ledger keeps every attempt, whatever happens while it is compacted."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline import ledger
from pipeline.integrity import Damaged
from pipeline.ledger import Row
from pipeline.storage import Store

DONE = Row(
    stage="scores/web/x-1234",
    shard="part-00000-of-00002",
    attempt=2,
    status="done",
    rows_in=3,
    rows_out=2,
    rejected=1,
    sources=[{"source": "a", "rows_in": 3, "rows_out": 2, "rejected": 1}],
    reasons=[{"reason": "broken_json", "rows": 1}],
)
FAILED = replace(DONE, attempt=1, status="failed", error="disk", rows_in=0, rows_out=0, rejected=0)


@pytest.fixture
def store(tmp_path: os.PathLike[str]) -> Store:
    return Store(str(tmp_path))


def test_the_latest_attempt_of_a_shard_counts(store: Store) -> None:
    for row in (DONE, FAILED):
        ledger.write(store, row)
    rows = ledger.read(store, DONE.stage)
    assert rows == [FAILED, DONE]
    assert ledger.latest(rows) == {DONE.shard: DONE}


def test_compaction_changes_nothing_that_is_read(store: Store) -> None:
    other = replace(DONE, shard="part-00001-of-00002")
    for row in (FAILED, DONE, other):
        ledger.write(store, row)
    before = ledger.read(store, DONE.stage)
    ledger.compact(store, DONE.stage)
    names = list(store.sizes(ledger.folder(DONE.stage)))
    assert len(names) == 1
    assert names[0].startswith("segment-")
    assert ledger.read(store, DONE.stage) == before
    ledger.write(store, replace(other, attempt=3))
    ledger.compact(store, DONE.stage)
    assert ledger.read(store, DONE.stage) == [*before, replace(other, attempt=3)]


def test_a_compaction_killed_before_it_removes_the_originals_loses_and_doubles_nothing(store: Store) -> None:
    ledger.write(store, FAILED)
    original = store.read_bytes(f"{ledger.folder(DONE.stage)}/{DONE.shard}.1.json")
    ledger.compact(store, DONE.stage)
    store.write_bytes(f"{ledger.folder(DONE.stage)}/{DONE.shard}.1.json", original)
    assert ledger.read(store, DONE.stage) == [FAILED]


def test_a_segment_whose_texts_became_bytes_is_damaged_and_named(store: Store, tmp_path: Path) -> None:
    ledger.write(store, DONE)
    ledger.compact(store, DONE.stage)
    (name,) = store.sizes(ledger.folder(DONE.stage))
    path = tmp_path / ledger.folder(DONE.stage) / name
    table = pq.read_table(path)
    place = table.schema.get_field_index("shard")
    pq.write_table(table.set_column(place, "shard", table["shard"].cast("binary")), path)
    with pytest.raises(Damaged, match=rf"{name} is damaged \(shard is binary, not string\)"):
        ledger.read(store, DONE.stage)


def test_a_row_that_loses_documents_is_refused(store: Store) -> None:
    with pytest.raises(AssertionError, match="3 rows in, 2 out and 0 rejected"):
        ledger.write(store, replace(DONE, rejected=0))
