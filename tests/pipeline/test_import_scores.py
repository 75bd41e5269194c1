"""A table made elsewhere becomes a score stage that is aligned with the documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import ledger
from pipeline.catalog import column_owners, shown_stages
from pipeline.errors import UserError
from pipeline.execute import Pool
from pipeline.import_scores import import_scores
from pipeline.select import SelectSettings, select
from pipeline.select.inputs import CorpusInputs
from pipeline.workspace import Workspace
from tests.pipeline.select.reference import Document, write


@pytest.fixture
def made(workspace: Workspace) -> Workspace:
    """One corpus of 60 documents in 3 shards."""
    write(workspace, [Document("web", f"d{i}", "wiki", 0.5, 10) for i in range(60)], 3)
    return workspace


def scored(workspace: Workspace, column: str) -> dict[str, object]:
    corpus = workspace.corpus("web")
    owners = column_owners(corpus, shown_stages(corpus).values())
    tables = [shard.table() for shard in CorpusInputs(corpus, owners, (column,)).shards()]
    return {row["id"]: row[column] for table in tables for row in table.to_pylist()}


def judged(ids: list[str]) -> pa.Table:
    return pa.table(
        {"id": ids, "grade": pa.array([int(i[1:]) for i in ids], pa.int32()), "why": [f"as {i}" for i in ids]}
    )


def test_rows_in_any_order_land_beside_their_documents(made: Workspace, tmp_path: Path, pool: Pool) -> None:
    ids = [f"d{i}" for i in np.random.default_rng(0).permutation(60) if i != 7] + ["stranger"]
    table = judged([i for i in ids if i != "stranger"])
    table = pa.concat_tables([table, pa.table([["stranger"], [1], ["?"]], schema=table.schema)])
    pq.write_table(table.slice(0, 20), tmp_path / "a.parquet")
    pq.write_table(table.slice(20), tmp_path / "b.parquet")
    result = import_scores(made, made.corpus("web"), "judge", f"{tmp_path}/*.parquet")
    assert {k: result[k] for k in ("documents", "matched", "unmatched", "unknown")} == {
        "documents": 60,
        "matched": 59,
        "unmatched": 1,
        "unknown": 1,
    }
    assert scored(made, "grade") == {f"d{i}": None if i == 7 else i for i in range(60)}
    assert scored(made, "why")["d9"] == "as d9"
    assert shown_stages(made.corpus("web"))["judge"].missing() == {}
    kept = select(made, "best", SelectSettings(by="grade", budget="5 documents"), pool)
    assert kept["cuts"][0]["last_score_in"] == 55
    again = import_scores(made, made.corpus("web"), "judge", f"{tmp_path}/*.parquet")
    assert again == result
    assert len(ledger.read(made.store, result["folder"])) == 3


def test_csv_and_renamed_columns_and_integer_ids(workspace: Workspace, tmp_path: Path) -> None:
    write(workspace, [Document("web", str(i), "wiki", 0.5, 10) for i in range(10)], 2)
    (tmp_path / "x.csv").write_text("key,quality\n" + "".join(f"{i},{i / 4}\n" for i in range(10)))
    import_scores(workspace, workspace.corpus("web"), "x", f"{tmp_path}/x.csv", "key", ["quality=other"])
    assert scored(workspace, "other") == {str(i): i / 4 for i in range(10)}


def test_the_hash_is_of_the_content_not_the_place(made: Workspace, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    table = judged(["d1", "d2"])
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "moved" / "b.parquet")
    first = import_scores(made, made.corpus("web"), "judge", f"{tmp_path}/a.parquet")
    assert import_scores(made, made.corpus("web"), "judge", f"{tmp_path}/moved") == first
    pq.write_table(judged(["d1", "d3"]), tmp_path / "a.parquet")
    assert import_scores(made, made.corpus("web"), "judge", f"{tmp_path}/a.parquet")["folder"] != first["folder"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (judged(["d1", "d2", "d1"]), "ids stand more than once, such as 'd1'"),
        (judged(["x1", "x2"]), "none of its 2 ids is in corpus 'web': 'x1' there, 'd0' here"),
        (pa.table({"key": ["d1"], "grade": [1]}), "has no column 'id'"),
        (pa.table({"id": ["d1"], "quality": [1.0]}), r"'quality' is one of score stage 'preselect' already"),
        (pa.table({"id": ["d1"], "source": ["x"]}), "'source' is one of the documents already"),
        (pa.table({"id": ["d1"]}), "expected columns of different names besides the id"),
    ],
)
def test_a_wrong_table_is_one_clear_line(made: Workspace, tmp_path: Path, table: pa.Table, message: str) -> None:
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(UserError, match=message):
        import_scores(made, made.corpus("web"), "judge", f"{tmp_path}/t.parquet")
    with pytest.raises(UserError, match="no such file or folder"):
        import_scores(made, made.corpus("web"), "judge", f"{tmp_path}/nowhere.parquet")
