"""What a user types reaches the workspace's views and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import sandbox
from pipeline.errors import UserError
from pipeline.sql import query
from pipeline.views import opened
from pipeline.workspace import Workspace
from tests.workspaces import small

SHARD = "tamis://corpora/web/part-00000-of-00003.parquet"
ATTACKS = [
    # reading what is outside
    "SELECT * FROM read_text('secret.txt')",
    "SELECT * FROM read_text('{here}/secret.txt')",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_csv('file:///etc/passwd')",
    "SELECT * FROM read_csv_auto('secret.txt')",
    "SELECT * FROM read_json('secret.txt')",
    "SELECT * FROM read_duckdb('a.db')",
    "SELECT * FROM sniff_csv('secret.txt')",
    "SELECT * FROM 'secret.txt'",
    "SELECT * FROM '{here}/secret.parquet'",
    "SELECT * FROM read_parquet('{here}/secret.parquet')",
    f"SELECT * FROM read_parquet(['{SHARD}', '{{here}}/secret.parquet'])",
    "SELECT * FROM parquet_metadata('{here}/secret.parquet')",
    "SELECT * FROM glob('/*')",
    "SELECT (SELECT content FROM read_text('secret.txt'))",
    "WITH x AS MATERIALIZED (SELECT * FROM read_text('secret.txt')) SELECT * FROM x",
    "SELECT * FROM query('SELECT * FROM read_text(''secret.txt'')')",
    "SELECT * FROM query_table('secret.txt')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''secret.txt'')'))",
    "EXPLAIN ANALYZE SELECT * FROM read_text('secret.txt')",
    "SELECT /* harmless */ * FROM --\n read_text('secret.txt')",
    # our own protocol, other names
    "SELECT * FROM read_parquet('tamis://corpora/web/../../secret.parquet')",
    "SELECT * FROM read_parquet('tamis://{here}/secret.parquet')",
    "SELECT * FROM read_parquet('tamis://corpora/*/*.parquet')",
    "SELECT * FROM read_parquet('TAMIS://corpora/web/part-00000-of-00003.parquet')",
    # the network
    "SELECT * FROM read_csv('https://example.com/a.csv')",
    "SELECT * FROM 's3://bucket/a.parquet'",
    "SELECT * FROM read_parquet('hf://datasets/a/b.parquet')",
    # variables of the process and of Python
    "SELECT getenv('HOME')",
    "SELECT * FROM secret_frame",
    "SELECT current_setting('s3_secret_access_key')",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM pandas_scan(1::POINTER)",
    # writing
    "COPY (SELECT 1) TO 'out.csv'",
    f"COPY (SELECT 1) TO '{SHARD}' (FORMAT parquet)",
    "WITH x AS (COPY (SELECT 1) TO 'out.csv') SELECT * FROM x",
    f"WITH x AS (COPY (SELECT 1 AS id) TO '{SHARD}' (FORMAT parquet)) SELECT * FROM x",
    "SELECT * FROM (WITH x AS (COPY (SELECT 1) TO 'tamis://new.csv') SELECT * FROM x)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO 'out.csv'",
    f"EXPLAIN ANALYZE COPY (SELECT 1) TO '{SHARD}'",
    f"EXPLAIN ANALYZE WITH x AS (COPY (SELECT 1) TO '{SHARD}') SELECT * FROM x",
    f"/**/ EXPLAIN ANALYZE WITH x AS (COPY (SELECT 1) TO '{SHARD}') SELECT * FROM x",
    "WITH x AS (INSERT INTO shard_runs SELECT * FROM shard_runs RETURNING *) SELECT * FROM x",
    "WITH x AS (DELETE FROM shard_runs RETURNING *) SELECT * FROM x",
    "WITH x AS (UPDATE shard_runs SET error = '' RETURNING *) SELECT * FROM x",
    "EXPLAIN ANALYZE DELETE FROM shard_runs",
    "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
    "EXPORT DATABASE 'out'",
    "IMPORT DATABASE 'out'",
    "ATTACH 'a.db'",
    "ATTACH ':memory:' AS m",
    "DETACH memory",
    "CREATE OR REPLACE VIEW scored AS SELECT 1",
    "CREATE TABLE t AS SELECT 1",
    "CREATE MACRO f(x) AS 1",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a')",
    "DROP VIEW scored",
    "INSERT INTO shard_runs SELECT * FROM shard_runs",
    # settings and extensions
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{here}/x.duckdb_extension'",
    "SET enable_external_access = true",
    "SET VARIABLE files_0 = ['{here}/secret.parquet']",
    "RESET lock_configuration",
    "PRAGMA enable_external_access = true",
    "PRAGMA database_list",
    "CALL duckdb_settings()",
    "SELECT * FROM enable_logging(storage = 'file', storage_path = 'out')",
    "PREPARE p AS SELECT 1",
    "USE memory",
    "BEGIN",
    "CHECKPOINT",
    # more than one, or none
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW scored",
    "SELECT 1 /* ; */; --\n COPY (SELECT 1) TO 'out.csv'",
    "",
    "-- nothing",
    ";",
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder: a workspace in `w`, and secrets beside it."""
    folder = tmp_path_factory.mktemp("here")
    small(f"{folder}/w")
    (folder / "secret.txt").write_text("SECRET")
    pq.write_table(pa.table({"secret": ["SECRET"]}), folder / "secret.parquet")
    before = os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def views(here: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with opened(Workspace(f"{here}/w"), locked=True) as connection:
        yield connection


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_in_one_line_and_changes_nothing(
    views: duckdb.DuckDBPyConnection, here: Path, attack: str
) -> None:
    secret_frame = pa.table({"secret": ["SECRET"]})  # a replacement scan would find it by its name
    before = everything(here)
    with pytest.raises(UserError) as refused:
        list(sandbox.batches(views, attack.replace("{here}", str(here)))[1])
    line = str(refused.value)
    assert line.startswith("SQL: ")
    assert "\n" not in line
    assert "SECRET" not in line
    assert everything(here) == before
    assert secret_frame.num_rows == 1


@pytest.mark.parametrize(
    "attack", ["COPY (SELECT 1) TO 'out.csv'", f"COPY (SELECT 1 AS id) TO '{SHARD}'", "ATTACH 'a.db'"]
)
def test_the_connection_itself_holds_without_the_gate_on_statements(here: Path, attack: str) -> None:
    before = everything(here)
    with opened(Workspace(f"{here}/w"), locked=True) as connection, pytest.raises(duckdb.Error):
        connection.execute(attack)
    assert everything(here) == before


def test_no_secret_and_no_setting_that_leads_outside_is_visible(here: Path) -> None:
    assert query(f"{here}/w", "SELECT * FROM duckdb_secrets()").num_rows == 0
    (here / "w" / "lock.json").write_text("{}")
    for place in (
        "glob('tamis://**')",
        "read_text('tamis://lock.json')",
        "read_text('tamis://corpora/web/stage.json')",
    ):
        assert query(f"{here}/w", f"SELECT * FROM {place}").num_rows == 0, place
    table = query(f"{here}/w", "SELECT value FROM duckdb_settings() WHERE name = 'enable_external_access'")
    assert table.column(0).to_pylist() == ["false"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("SELECT count(*) FROM scored", 50),
        ("WITH x AS (SELECT * FROM scored WHERE tokens > 50) SELECT count(*) FROM x", 15),
        ("SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY id) AS n FROM scored)", 50),
        ("SELECT count(*) FROM documents JOIN preselect USING (corpus, id) WHERE text LIKE 'text of%'", 20),
        ("SELECT count(*) FROM (DESCRIBE scored)", 10),
        ("SELECT sum(paper) FROM (PIVOT scored ON source IN ('paper', 'wiki') USING count(*))", 20),
        ("FROM scored SELECT count(*);", 50),
        ("SELECT 1 -- ; DROP VIEW scored", 1),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT max(n) FROM r", 5),
    ],
)
def test_what_analysts_write_works(here: Path, text: str, answer: int) -> None:
    assert query(f"{here}/w", text).column(0).to_pylist() == [answer]


@pytest.mark.parametrize(
    "text", ["SHOW TABLES", "DESCRIBE scored", "SUMMARIZE preselect", "EXPLAIN SELECT * FROM scored"]
)
def test_statements_that_describe_are_allowed(here: Path, text: str) -> None:
    assert query(f"{here}/w", text).num_rows > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT preselect_scor FROM scored", "there is no column 'preselect_scor'; did you mean 'preselect_score'?"),
        ("SELECT * FROM score", "there is no view 'score'; did you mean 'scored'? (there are: comparisons, document"),
        ("SELEC 1", 'Parser Error: syntax error at or near "SELEC"'),
        ("SELECT id::INT FROM scored", "Could not convert string"),
        ("SELECT 1 FROM scored WHERE max(tokens) > 1", "WHERE clause cannot contain aggregates!"),
        ("SELECT repeat('x', 1000000000000)", "Out of Range"),
    ],
)
def test_a_mistake_is_told_in_one_line(here: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as told:
        query(f"{here}/w", text)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_an_error_after_the_first_rows_is_told_too(here: Path) -> None:
    text = "SELECT CASE WHEN range < 500000 THEN '1' ELSE 'x' END::INT FROM range(1000000)"
    with pytest.raises(UserError, match="Could not convert string 'x'"):
        query(f"{here}/w", text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM range(10000000000) a ORDER BY hash(a.range)",
        "SELECT count(*) FROM (SELECT range FROM range(100000000000) GROUP BY ALL)",
        "SELECT len(string_agg(range::VARCHAR, ',')) FROM range(100000000000)",
        "WITH RECURSIVE r AS (SELECT repeat('a', 100) AS n UNION SELECT n || 'a' FROM r) SELECT count(*) FROM r",
    ],
)
def test_a_query_that_needs_more_memory_than_there_is_for_it_ends_in_one_line_and_spills_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sandbox, "MEMORY", "200MB")
    connection = sandbox.connect({})
    with pytest.raises(UserError, match="Out of Memory") as told:
        list(sandbox.batches(connection, text, 120)[1])
    assert "\n" not in str(told.value)
    assert everything(tmp_path) == {}
    connection.close()


ROWS = pa.table({"id": ["a", "b", "c"], "score": pa.array([0.2, None, 0.9], pa.float32()), "source": ["x", "y", "x"]})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("score > 0.5", [False, False, True]),
        ("NOT score > 0.5", [True, False, False]),  # NULL is not kept, whichever way it is asked
        ("score IS NULL OR source = 'x'", [True, True, True]),
        ("scored.score > 0.5 -- a comment", [False, False, True]),
        ("(score) > (0.5)", [False, False, True]),
        ("source IN (SELECT 'y')", [False, True, False]),
        ("score > (SELECT avg(preselect_score) FROM scored)", [False, False, True]),
        ("EXISTS (SELECT 1 FROM preselect WHERE preselect_score = 0.9::FLOAT)", [False, False, False]),
        ("50 = (SELECT count(*) FROM scored)", [True, True, True]),
        ("false", [False, False, False]),
        ("CASE source WHEN 'x' THEN true END", [True, False, True]),
    ],
)
def test_a_predicate_keeps_what_where_keeps(
    views: duckdb.DuckDBPyConnection, expression: str, expected: list[bool]
) -> None:
    assert sandbox.predicate(views, expression, ROWS).to_pylist() == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("scor > 0.5", "there is no column 'scor'; did you mean 'score'?"),
        ("score >", "syntax error"),
        ("true; DROP VIEW scored", "expected one SQL expression"),
        ("true) OR (true", "syntax error"),
        ("true) FROM scored WHERE (true", "syntax error"),
        ("true FROM scored", "syntax error"),
        ("true AS x", "syntax error"),
        ("true, false", "expected one SQL expression"),
        ("true ORDER BY 1", "syntax error"),
        ("true UNION SELECT true", "syntax error"),
        ("true /* open", "unterminated"),
        ("", "expected one SQL expression"),
        ("true; SELECT true", "syntax error"),
        ("max(score) > 0.5", "cannot contain aggregates"),
        ("row_number() OVER () < 3", "cannot contain window functions"),
        ("source", "Could not convert string 'x' to BOOL"),
        ("EXISTS (SELECT * FROM read_text('secret.txt'))", "only the workspace's own views"),
        ("EXISTS (WITH x AS (COPY (SELECT 1) TO 'out.csv') SELECT * FROM x)", "COPY is not allowed"),
    ],
)
def test_what_is_not_one_expression_is_refused(
    views: duckdb.DuckDBPyConnection, here: Path, expression: str, message: str
) -> None:
    before = everything(here)
    with pytest.raises(UserError) as refused:
        sandbox.predicate(views, expression, ROWS)
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"predicate {expression!r}: ")
    assert everything(here) == before


def test_a_predicate_over_no_rows_is_checked_and_keeps_none(views: duckdb.DuckDBPyConnection) -> None:
    assert len(sandbox.predicate(views, "score > 0.5", ROWS.slice(0, 0))) == 0
    with pytest.raises(UserError, match="no column 'scor'"):
        sandbox.predicate(views, "scor > 0.5", ROWS.slice(0, 0))
