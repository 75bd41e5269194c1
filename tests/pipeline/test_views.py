"""Views show what the ledger says is done, whatever else lies in the folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.sql import query
from pipeline.stage import Stage
from pipeline.training_views import RESULTS
from pipeline.views import FIXED, unique
from pipeline.workspace import Workspace
from tests.workspaces import WEB, add_corpus, add_scores, lengths, preselect, record, small


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return small(f"{tmp_path_factory.mktemp('views')}/w")


def rows(workspace: Workspace, text: str, **options: Any) -> list[dict[str, Any]]:
    return query(workspace, text, **options).to_pylist()


def documents(ids: list[str]) -> pa.Table:
    return pa.table([ids, ids, ["s"] * len(ids), ids], schema=WEB)


def test_documents_of_all_corpora_have_all_columns(shared: Workspace) -> None:
    found = rows(
        shared, "SELECT corpus, count(*) n, count(text) t, count(url) u, count(year) y FROM documents GROUP BY ALL"
    )
    assert sorted(found, key=str) == [
        {"corpus": "news", "n": 20, "t": 20, "u": 0, "y": 20},
        {"corpus": "web", "n": 30, "t": 30, "u": 30, "y": 0},
    ]


def test_scored_has_one_row_per_document_and_nulls_where_a_shard_is_missing(shared: Workspace) -> None:
    found = rows(shared, "SELECT * FROM scored ORDER BY id")
    assert len(found) == 50
    assert "text" not in found[0]
    by_id = {row["id"]: row for row in found}
    assert by_id["w03"]["preselect_score"] == pytest.approx(0.3)
    assert by_id["w03"]["tokens"] == 40
    assert by_id["w13"]["preselect_score"] is None  # its shard failed
    assert by_id["w13"]["tokens"] == 40
    assert by_id["n03"]["tokens"] is None  # its corpus has no such stage


def test_joining_by_place_is_joining_by_id(shared: Workspace) -> None:
    text = """SELECT count(*) AS n FROM scored JOIN documents USING (corpus, id)
        LEFT JOIN preselect p USING (corpus, id) LEFT JOIN lengths l USING (corpus, id)
        WHERE scored.preselect_score IS NOT DISTINCT FROM p.preselect_score
          AND scored.tokens IS NOT DISTINCT FROM l.tokens
          AND scored.shard = documents.shard"""
    assert rows(shared, text) == [{"n": 50}]


def test_files_that_the_ledger_does_not_know_are_not_read(shared: Workspace, tmp_path: Path) -> None:
    shutil.copytree(shared.url, tmp_path / "w")
    workspace = Workspace(f"{tmp_path}/w")
    folder = next(f for f in workspace.corpus("web").score_stages() if "preselect" in f)
    shard = "part-00000-of-00003"
    shutil.copy(workspace.store.path(f"{folder}/{shard}.parquet"), workspace.store.path(f"{folder}/stray.parquet"))
    shutil.copy(
        workspace.store.path(f"{folder}/{shard}.parquet"),
        workspace.store.path(f"{folder}/part-00001-of-00003.parquet"),
    )
    assert rows(workspace, "SELECT count(*) n FROM preselect WHERE corpus = 'web'") == [{"n": 20}]
    record(workspace, folder, shard, attempt=2, status="failed", error="again")  # the last attempt counts
    assert rows(workspace, "SELECT count(*) n FROM preselect WHERE corpus = 'web'") == [{"n": 10}]


def test_only_the_named_corpora_are_shown(shared: Workspace) -> None:
    assert rows(shared, "SELECT DISTINCT corpus FROM scored", corpora=["news"]) == [{"corpus": "news"}]
    with pytest.raises(UserError, match="no corpus 'nwes'"):
        query(shared, "SELECT 1", corpora=["nwes"])


def test_a_named_stage_is_shown_instead_of_the_newest(tmp_path: Path) -> None:
    workspace = Workspace(f"{tmp_path}/w")
    table = documents(["a", "b"])
    corpus = add_corpus(workspace, "web", [table])
    ten, twenty = lengths(table), lengths(table).set_column(2, "tokens", pa.array([20, 20], pa.int64()))
    old = add_scores(workspace, corpus, "lengths", [ten], model="old")
    new = add_scores(workspace, corpus, "lengths", [twenty], model="new")
    for stage, expected in ((old, [10, 20]), (new, [20, 20])):
        assert (
            query(workspace, "SELECT tokens FROM scored ORDER BY id", stages=[stage.folder]).column(0).to_pylist()
            == expected
        )


def test_names_that_collide_are_told_apart(tmp_path: Path) -> None:
    workspace = Workspace(f"{tmp_path}/w")
    names = ["id", "text", "source", "Text", "corpus", "SHARD", "filename", 'quo"te']
    types = [pa.string(), pa.large_string(), *[pa.string()] * 6]
    table = pa.table(
        [["a"], ["t"], ["s"], ["T"], ["c"], ["S"], ["f"], ["q"]], pa.schema(list(zip(names, types, strict=True)))
    )
    corpus = add_corpus(workspace, "web", [table])
    add_scores(workspace, corpus, "documents", [preselect(table)])
    add_scores(workspace, corpus, "second", [preselect(table)])
    (row,) = rows(workspace, "SELECT * FROM documents")
    assert row == {
        "id": "a",
        "corpus": "web",
        "shard": "part-00000-of-00001",
        "text": "t",
        "source": "s",
        "Text_1": "T",
        "corpus_1": "c",
        "SHARD_1": "S",
        "filename": "f",
        'quo"te': "q",
    }
    assert rows(workspace, "SELECT preselect_score FROM documents_1") == [{"preselect_score": 0.0}]
    assert rows(workspace, "SELECT preselect_score FROM second") == [{"preselect_score": 0.0}]
    assert list(rows(workspace, "SELECT * FROM scored")[0]).count("preselect_score") == 1


def test_unique_names_are_blind_to_case() -> None:
    assert unique(["a", "A", "a_1", "scored"], FIXED) == ["a", "A_1", "a_1_1", "scored_1"]


def test_a_condition_on_a_shard_reads_that_shard(shared: Workspace) -> None:
    text = "SELECT id, preselect_score FROM scored WHERE corpus = 'web' AND shard = 'part-00002-of-00003' ORDER BY id"
    found = rows(shared, text)
    assert [row["id"] for row in found] == [f"w{i}" for i in range(20, 30)]
    assert found[3]["preselect_score"] == pytest.approx(0.3)


def test_selection_rejects_and_runs_are_there(shared: Workspace) -> None:
    kept = rows(shared, "SELECT selection, corpus, count(*) n FROM selection WHERE kept GROUP BY ALL")
    assert kept == [{"selection": "best", "corpus": "news", "n": 6}]
    lost = rows(shared, "SELECT corpus, shard, reason FROM rejects ORDER BY position")
    assert lost == [
        {"corpus": "web", "shard": "part-00000-of-00003", "reason": "broken json"},
        {"corpus": "web", "shard": "part-00000-of-00003", "reason": "no text"},
    ]
    failed = rows(shared, "SELECT kind, corpus, shard, error FROM shard_runs WHERE latest AND status = 'failed'")
    assert failed == [{"kind": "scores", "corpus": "web", "shard": "part-00001-of-00003", "error": "model went away"}]


def test_a_corpus_without_scores_or_finished_shards_still_gives_views(tmp_path: Path) -> None:
    workspace = Workspace(f"{tmp_path}/w")
    stage = Stage("ingest", "web", "corpora", {"corpus": "web"})
    stage.save(workspace.store, num_shards=1)
    record(workspace, stage.folder, "part-00000-of-00001", status="failed", error="no such file")
    for view in (*FIXED, "single.none")[:-1]:
        assert len(query(workspace, f"SELECT * FROM {view}")) == (1 if view in ("shard_runs", "stages") else 0), view


def test_the_views_of_memory_are_those_of_a_disk(shared: Workspace) -> None:
    memory = small("memory://views")
    for view in ("documents", "scored", "preselect", "selection", "rejects", "score_stats", "score_histogram"):
        text = f"SELECT * FROM {view} ORDER BY ALL"
        assert query(memory, text).equals(query(shared, text)), view


def test_stages_say_what_made_each_output(shared: Workspace) -> None:
    text = "SELECT kind, name, fields->>'scorer' AS scorer FROM stages WHERE kind IN ('ingest', 'score') ORDER BY ALL"
    assert [tuple(row.values()) for row in rows(shared, text)] == [
        ("ingest", "news", None),
        ("ingest", "web", None),
        ("score", "lengths", "lengths"),
        ("score", "preselect", "preselect"),
        ("score", "preselect", "preselect"),
    ]
    unnamed = "SELECT count(*) AS n FROM shard_runs ANTI JOIN stages ON starts_with(stage, folder)"
    assert rows(shared, unnamed) == [{"n": 0}]


def test_the_newest_comparison_of_a_name_is_shown(tmp_path: Path) -> None:
    workspace = small(f"{tmp_path}/w")
    assert rows(workspace, "SELECT * FROM comparisons") == []
    for value in (1.0, 2.0):
        stage = Stage("compare", "which", "comparisons", {"value": value})
        stage.save(workspace.store, created=f"2026-11-24T00:00:0{value:.0f}")
        row = dict.fromkeys(RESULTS.names) | {"selection": "best", "metric": "nll", "value": value}
        with workspace.store.writing(f"{stage.folder}/results.parquet") as path:
            pq.write_table(pa.Table.from_pylist([row], RESULTS), path)
        workspace.store.write_bytes(f"{stage.folder}/table.md", b"")
    found = rows(workspace, "SELECT comparison, folder, selection, value FROM comparisons")
    assert found == [{"comparison": "which", "folder": stage.folder, "selection": "best", "value": 2.0}]
