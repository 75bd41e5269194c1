"""The sample: which documents, from where, and what they stand for."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.errors import UserError
from pipeline.execute import Pool
from pipeline.preselect.sample import Sample, make_sample, sample_stage
from pipeline.preselect.settings import SampleSettings
from pipeline.workspace import Workspace
from tests.pipeline.preselect.helpers import web


def _rows(sample: Sample) -> list[dict]:
    return [row for shard in sample.shards for row in sample.table(shard, ["id", "domain", "weight"]).to_pylist()]


def test_the_most_frequent_domains_give_so_many_documents_each(workspace: Workspace, pool: Pool) -> None:
    corpus = web(workspace)
    sample = make_sample(corpus, SampleSettings(domains=5, per_domain=7, shard_rows=20), pool)
    rows = _rows(sample)
    assert Counter(row["domain"] for row in rows) == {f"www.site{d:02d}.org": 7 for d in range(15, 20)}
    assert len(sample.shards) > 1
    for row in rows:  # 12 + d documents of domain d, of which one in the corpus is held out
        pool_size = 12 + int(row["domain"][8:10])
        assert row["weight"] in (pool_size / 7, (pool_size - 1) / 7)


def test_the_held_out_split_stays_out(workspace: Workspace, pool: Pool) -> None:
    corpus = web(workspace)
    rows = _rows(make_sample(corpus, SampleSettings(domains=100, per_domain=1000), pool))
    documents = sum(12 + d for d in range(20))
    assert len(rows) == documents - 1
    assert {row["weight"] for row in rows} == {1.0}


def test_the_same_settings_draw_the_same_bytes_and_draw_once(workspace: Workspace, pool: Pool) -> None:
    corpus = web(workspace)
    settings = SampleSettings(domains=5, per_domain=7)
    first = make_sample(corpus, settings, pool)
    digests = {shard: row.digest for shard, row in first.rows.items()}
    attempts = {row.attempt for row in make_sample(corpus, settings, pool).rows.values()}
    assert attempts == {1}
    workspace.store.remove(first.folder)
    workspace.store.remove(f"ledger/{first.folder}")
    again = make_sample(corpus, settings, pool)
    assert {shard: row.digest for shard, row in again.rows.items()} == digests
    other = sample_stage(corpus, SampleSettings(domains=5, per_domain=7, seed=1))
    assert other.folder != first.folder


def test_any_sql_that_gives_ids_is_a_sample(workspace: Workspace, pool: Pool) -> None:
    corpus = web(workspace)
    sql = "SELECT id, 'all' AS domain FROM documents WHERE id LIKE '%-g' LIMIT 1000"
    rows = _rows(make_sample(corpus, SampleSettings(sql=sql), pool))
    assert rows
    assert all(row["id"].endswith("-g") and row["domain"] == "all" for row in rows)
    by_url = _rows(make_sample(corpus, SampleSettings(sql="SELECT id FROM documents"), pool))
    assert {row["domain"] for row in by_url} == {f"www.site{d:02d}.org" for d in range(20)}


def test_an_empty_sample_is_refused(workspace: Workspace, pool: Pool) -> None:
    corpus = web(workspace)
    with pytest.raises(UserError, match="is empty"):
        make_sample(corpus, SampleSettings(sql="SELECT id FROM documents WHERE id = 'none'"), pool)
    with pytest.raises(UserError, match="expected a column id"):
        make_sample(corpus, SampleSettings(sql="SELECT source FROM documents"), pool)
    with pytest.raises(UserError, match="nonsense"):
        make_sample(corpus, SampleSettings(domain="nonsense"), pool)
