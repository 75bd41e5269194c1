"""pipeline/sandbox_time.py: queries that are given up, by Ctrl-C or by the clock, and what is left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipeline import sandbox, sandbox_time
from pipeline.errors import UserError
from pipeline.sql import query
from pipeline.views import opened
from pipeline.workspace import Workspace
from tests.workspaces import small

ROWS = pa.table({"id": ["a", "b", "c"], "score": pa.array([0.2, None, 0.9], pa.float32()), "source": ["x", "y", "x"]})

DEEP = "nested too deeply; expected at most 1,000 parentheses within one another, or signs in a row"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace in `w`."""
    folder = tmp_path_factory.mktemp("here")
    small(f"{folder}/w")
    return folder


@pytest.fixture(scope="module")
def views(here: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with opened(Workspace(f"{here}/w"), locked=True) as connection:
        yield connection


def test_ctrl_c_ends_a_query(here: Path) -> None:
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with opened(Workspace(f"{here}/w"), locked=True) as connection:
            timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            text = "SELECT sum(a.range * b.range % 7) FROM range(100000000) a, range(10000) b"
            with pytest.raises(KeyboardInterrupt):
                list(sandbox.batches(connection, text)[1])
    finally:
        signal.signal(signal.SIGINT, before)


ENDLESS = (
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) AS n FROM r",
    "SELECT sum(a.range * b.range % 7) AS n FROM range(100000000) a, range(1000000000) b",
    "SELECT range AS n FROM range(1000000000000)",
)
DEAF = (
    "SELECT sum(jaro_similarity(repeat('ab', 300000) || range, repeat('ba', 300000) || range)) AS n FROM range(100)",
    f"SELECT id FROM scored WHERE source {'IN (source, id) ' * 40}",
)
"""Minutes in a function, and ages in the optimizer, which do not look whether they are interrupted."""


@pytest.mark.parametrize("text", ENDLESS)
def test_a_query_without_an_end_is_given_up_and_the_connection_goes_on(
    views: duckdb.DuckDBPyConnection, text: str
) -> None:
    with pytest.raises(UserError) as told:
        list(sandbox.batches(views, text, 0.3)[1])
    assert str(told.value) == "SQL: not through after 0.3 s, and given up; --seconds sets another limit (0: none)"
    assert next(sandbox.batches(views, "SELECT count(*) AS n FROM scored")[1]).to_pylist() == [{"n": 50}]


def slowly(rows: Iterator[pa.RecordBatch], seconds: float) -> None:
    for _ in rows:
        time.sleep(seconds)


def test_a_query_that_was_given_up_between_two_batches_leaves_the_connection_free() -> None:
    with contextlib.closing(sandbox.connect({})) as connection:
        for limit in (0.001, 0.02, 0.05) * 4:
            with pytest.raises(UserError, match="not through after") as told:  # keeps the frames, as a debugger does
                slowly(sandbox.batches(connection, ENDLESS[2], limit)[1], limit / 3)
            assert next(sandbox.batches(connection, "SELECT 1 AS n")[1]).to_pylist() == [{"n": 1}], told


def test_the_environment_sets_the_limit_of_every_query_and_an_option_goes_before_it(
    here: Path, views: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMIS_SQL_SECONDS", "0.3")
    with pytest.raises(UserError, match=r"SQL: not through after 0.3 s, and given up; TAMIS_SQL_SECONDS sets another"):
        query(f"{here}/w", ENDLESS[0])
    with pytest.raises(UserError, match=r"report: a figure: not through after 0.3 s"):
        list(sandbox.stream(views, ENDLESS[0], "report: a figure")[1])
    with pytest.raises(UserError, match=r"not through after 0.1 s, and given up; --seconds"):
        query(f"{here}/w", ENDLESS[0], seconds=0.1)
    assert sandbox_time.time_limit(0) is None
    for text in ("0", "-1", "nan", ""):
        monkeypatch.setenv("TAMIS_SQL_SECONDS", text)
        assert sandbox_time.time_limit(None) is None
    for text in ("inf", "1e300"):
        monkeypatch.setenv("TAMIS_SQL_SECONDS", text)
        assert query(f"{here}/w", "SELECT count(*) FROM scored").num_rows == 1
    monkeypatch.setenv("TAMIS_SQL_SECONDS", "soon")
    with pytest.raises(UserError, match="TAMIS_SQL_SECONDS=soon: expected seconds, 0 for no limit"):
        query(f"{here}/w", "SELECT 1")


def test_a_predicate_without_an_end_is_given_up_and_the_connection_goes_on(views: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(UserError, match=r"predicate .*: not through after 0.3 s, .*TAMIS_TASK_MINUTES sets another"):
        sandbox.predicate(views, f"score > ({ENDLESS[0]})", ROWS, 0.3)
    assert sandbox.predicate(views, "score > 0.5", ROWS, 60).to_pylist() == [False, False, True]


@pytest.mark.parametrize("text", DEAF)
def test_a_query_that_does_not_heed_is_left_behind_and_the_command_ends(here: Path, text: str) -> None:
    code = (
        "import sys; from pipeline import sandbox_time; from cli.main import main; "
        "sandbox_time.GRACE = 0.5; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "sql", text, "-w", f"{here}/w", "--seconds", "0.2"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"tamis: SQL: not through after 0.2 s, and given up; --seconds sets another limit (0: none)\n"


def test_a_text_that_would_take_the_parser_long_is_refused(views: duckdb.DuckDBPyConnection) -> None:
    for depth in (sandbox.DEEPEST + 1, 100_000):
        with pytest.raises(UserError, match=rf"^SQL: {DEEP}$"):
            sandbox.batches(views, f"SELECT {'(' * depth}")
        with pytest.raises(UserError, match=rf"^predicate .*: {DEEP}$"):
            sandbox.predicate(views, "(" * depth + "true" + ")" * depth, ROWS)
    clasped = "(" * 900 + "true" + ")" * 900
    assert sandbox.predicate(views, clasped, ROWS).to_pylist() == [True] * 3
    for signs in ("- ", "+", "~ -\n"):
        with pytest.raises(UserError, match=rf"^SQL: {DEEP}$"):
            sandbox.batches(views, f"SELECT {signs * 2500}")
    assert sandbox.predicate(views, f"{'- ' * 900}1 > 0", ROWS).to_pylist() == [True] * 3
