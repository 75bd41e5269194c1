"""The sample, the losses and the strengths in SQL."""

from __future__ import annotations

import pytest

from pipeline.execute import Pool
from pipeline.preselect.sample import Sample, make_sample
from pipeline.preselect.settings import SampleSettings, StrengthSettings
from pipeline.preselect.strength import make_strength, read_strength
from pipeline.sql import query
from pipeline.workspace import Workspace
from tests.pipeline.preselect.helpers import MODELS, panel, web, write_losses
from tests.workspaces import record

FAST = StrengthSettings(benchmarks=["quiz"], permutations=5, estimators=["preselect"])


@pytest.fixture
def sample(workspace: Workspace, pool: Pool) -> Sample:
    return make_sample(web(workspace), SampleSettings(domains=8, per_domain=5, shard_rows=20), pool)


def test_losses_have_a_row_per_document_and_model_and_join_the_documents(sample: Sample) -> None:
    write_losses(sample)
    text = """SELECT model, count(*) AS n, sum(tokens) AS tokens, sum(characters) AS characters,
        sum(length(text)) AS length, bool_and(len(token_losses) = tokens) AS whole,
        max(abs(list_sum(token_losses) - loss)) < 1e-3 AS summed
        FROM preselect_losses JOIN documents USING (corpus, id) GROUP BY model ORDER BY model"""
    found = query(sample.workspace, text).to_pylist()
    assert [row["model"] for row in found] == [f"m{i}" for i in range(MODELS)]
    assert {row["n"] for row in found} == {40}
    assert all(row["characters"] == row["length"] and row["whole"] and row["summed"] for row in found)


def test_sample_and_strengths_are_those_of_the_stages(sample: Sample) -> None:
    stage = make_strength(sample, panel(), write_losses(sample), FAST, "mine")
    table = read_strength(sample, stage.folder)
    text = """SELECT id, strength, s.domain, preselect FROM preselect_strengths s JOIN preselect_sample p
        USING (corpus, id, sample_shard) WHERE p.weight = s.weight ORDER BY sample_shard"""
    found = query(sample.workspace, text)
    assert sorted(found.column("id").to_pylist()) == sorted(table.column("id").to_pylist())
    assert set(found.column("strength").to_pylist()) == {"mine"}
    assert dict(zip(*(found.column(n).to_pylist() for n in ("id", "preselect")), strict=True)) == dict(
        zip(*(table.column(n).to_pylist() for n in ("id", "preselect")), strict=True)
    )


def test_the_newest_sample_is_shown_with_its_own_losses_and_done_shards_alone(sample: Sample, pool: Pool) -> None:
    stages = write_losses(sample)
    record(sample.workspace, stages["m0"].folder, sample.shards[0], attempt=2, status="failed", error="gone")
    text = "SELECT model, count(DISTINCT sample_shard) AS n FROM preselect_losses GROUP BY model ORDER BY model"
    found = query(sample.workspace, text).to_pylist()
    assert found[0]["n"] == len(sample.shards) - 1
    assert found[1]["n"] == len(sample.shards)
    make_sample(sample.workspace.corpus("web"), SampleSettings(domains=2, per_domain=3), pool)
    assert query(sample.workspace, "SELECT count(*) FROM preselect_sample").column(0).to_pylist() == [6]
    assert query(sample.workspace, "SELECT count(*) FROM preselect_losses").column(0).to_pylist() == [0]


def test_before_anything_is_there_the_views_are_empty_and_have_their_columns(workspace: Workspace) -> None:
    web(workspace)
    for view in ("preselect_sample", "preselect_losses", "preselect_strengths"):
        found = query(workspace, f"SELECT * FROM {view}")
        assert len(found) == 0
        assert found.column_names[:3] == ["id", "corpus", "sample_shard"]
