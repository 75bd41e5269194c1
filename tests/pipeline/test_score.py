"""Scores are narrow tables beside the documents: same rows, same order, one pass for several scorers, resumable."""

from __future__ import annotations

from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.catalog import column_owners, shown_stages
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Pool
from pipeline.ingest import IngestSettings, ingest
from pipeline.score import ScoreSpec, score, score_stage
from pipeline.select.inputs import CorpusInputs
from pipeline.stage import saved
from pipeline.workspace import Corpus, Workspace

TOKENIZER = str(Path(__file__).parents[2] / "configs" / "demo" / "data" / "tokenizer.json")
WORDS = ["Sieves", "part", "the", "fine", "from", "the", "coarse.", "A", "tamis", "is", "a", "drum", "sieve."]


@pytest.fixture
def corpus(workspace: Workspace, pool: Pool, tmp_path: Path) -> Corpus:
    """Sixty short documents in three shards."""
    rows = [
        {"id": f"d{i}", "text": " ".join(WORDS[: 1 + i % 12]) * (1 + i % 3), "source": "ab"[i % 2]} for i in range(60)
    ]
    lines = [orjson.dumps(row) for row in rows]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    size = (tmp_path / "in.jsonl").stat().st_size
    settings = IngestSettings(sources=[str(tmp_path / "in.jsonl")], id="id", shard_mb=size / 2.5e6)
    ingest(workspace, "web", settings, pool)
    made = workspace.corpus("web")
    assert len(made.shards) == 3
    return made


def test_scores_stand_beside_their_documents(workspace: Workspace, corpus: Corpus, pool: Pool) -> None:
    specs = [ScoreSpec.of("lengths", tokenizer=TOKENIZER), ScoreSpec.of("repetition")]
    rows = score(workspace, [corpus], specs, pool)
    assert len(rows) == 6
    assert all(row.done and row.rows_in == row.rows_out for row in rows)
    assert sum(row.rows_in for row in rows) == 120
    assert {item["source"] for row in rows for item in row.sources} == {"a", "b"}
    for stage in shown_stages(corpus).values():
        for shard in corpus.shards:
            documents = pq.read_table(workspace.store.path(corpus.file(shard)), columns=["id"])
            table = pq.read_table(workspace.store.path(stage.file(shard)))
            assert table.schema.names[0] == "id"
            assert "text" not in table.schema.names
            assert table.column("id").equals(documents.column("id"))
            assert table.schema.equals(stage.schema)


def test_adding_a_scorer_runs_only_that_scorer(workspace: Workspace, corpus: Corpus, pool: Pool) -> None:
    lengths = ScoreSpec.of("lengths")
    assert len(score(workspace, [corpus], [lengths], pool)) == 3
    rows = score(workspace, [corpus], [lengths, ScoreSpec.of("repetition")], pool)
    assert {row.stage.split("/")[2].split("-")[0] for row in rows} == {"repetition"}
    assert score(workspace, [corpus], [lengths], pool) == []


def test_another_setting_is_another_stage_and_the_newest_is_shown(
    workspace: Workspace, corpus: Corpus, pool: Pool
) -> None:
    plain, counted = ScoreSpec.of("lengths"), ScoreSpec.of("lengths", tokenizer=TOKENIZER)
    score(workspace, [corpus], [plain], pool)
    score(workspace, [corpus], [counted], pool)
    stages = corpus.score_stages()
    assert len(stages) == 2
    first, last = (f"{score_stage(corpus, spec).folder}" for spec in (plain, counted))
    assert set(stages) == {first, last}
    assert shown_stages(corpus, named=[first])["lengths"].folder == first
    assert "tokens" not in shown_stages(corpus, named=[first])["lengths"].columns
    record = saved(workspace.store, last)
    assert record is not None
    assert record["fields"]["models"].keys() == {"tokenizer"}
    assert TOKENIZER not in orjson.dumps(record["fields"]).decode()


def test_a_limit_is_another_stage_with_shards_missing(workspace: Workspace, corpus: Corpus, pool: Pool) -> None:
    score(workspace, [corpus], [ScoreSpec.of("lengths")], pool, limit=1)
    (stage,) = shown_stages(corpus).values()
    assert stage.missing() == {corpus.shards[1]: "not scored", corpus.shards[2]: "not scored"}
    owners = column_owners(corpus, [stage])
    first, _, last = CorpusInputs(corpus, owners, ("chars",)).shards()
    assert last.table().column("chars").null_count > 0
    assert first.table().column("chars").null_count == 0


def test_a_changed_document_shard_fails_alone_and_is_named(workspace: Workspace, corpus: Corpus, pool: Pool) -> None:
    with open(workspace.store.path(corpus.file(corpus.shards[1])), "ab") as file:
        file.write(b"x")
    with pytest.raises(ShardsFailed, match=rf"{corpus.shards[1]}.*changed or damaged"):
        score(workspace, [corpus], [ScoreSpec.of("lengths")], pool)
    (stage,) = shown_stages(corpus).values()
    assert stage.done == [corpus.shards[0], corpus.shards[2]]


def test_a_swapped_score_table_is_noticed(workspace: Workspace, corpus: Corpus, pool: Pool) -> None:
    score(workspace, [corpus], [ScoreSpec.of("lengths")], pool)
    (stage,) = shown_stages(corpus).values()
    store = workspace.store
    store.write_bytes(stage.file(corpus.shards[0]), store.read_bytes(stage.file(corpus.shards[1])))
    with pytest.raises(ValueError, match="does not have the ids"):
        CorpusInputs(corpus, column_owners(corpus, [stage]), ("chars",)).shards()[0].table()


def test_a_score_file_that_is_gone_is_made_again_with_the_same_bytes(
    workspace: Workspace, corpus: Corpus, pool: Pool
) -> None:
    score(workspace, [corpus], [ScoreSpec.of("repetition")], pool)
    (stage,) = shown_stages(corpus).values()
    before = workspace.store.read_bytes(stage.file(corpus.shards[0]))
    workspace.store.remove(stage.file(corpus.shards[0]))
    (row,) = score(workspace, [corpus], [ScoreSpec.of("repetition")], pool)
    assert (row.shard, row.attempt) == (corpus.shards[0], 2)
    assert workspace.store.read_bytes(stage.file(corpus.shards[0])) == before


def test_wrong_scorers_settings_and_aliases_are_named() -> None:
    with pytest.raises(UserError, match="unknown scorer 'length'"):
        ScoreSpec.of("length")
    with pytest.raises(UserError, match="tokeniser: unknown key; did you mean 'tokenizer'"):
        ScoreSpec.of("lengths", tokeniser="x")
    with pytest.raises(UserError, match=r"alias '\.\./x'"):
        ScoreSpec.of("lengths", "../x")


def test_one_alias_twice_in_a_pass_is_refused(workspace: Workspace, corpus: Corpus, pool: Pool) -> None:
    with pytest.raises(UserError, match="alias 'lengths' is used twice"):
        score(workspace, [corpus], [ScoreSpec.of("lengths"), ScoreSpec.of("lengths", tokenizer=TOKENIZER)], pool)


def test_a_damaged_model_fails_before_any_work(
    workspace: Workspace, corpus: Corpus, pool: Pool, tmp_path: Path
) -> None:
    (tmp_path / "model.bin").write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"model\.bin"):
        score(workspace, [corpus], [ScoreSpec.of("preselect", model=str(tmp_path / "model.bin"))], pool)
    assert corpus.score_stages() == {}
