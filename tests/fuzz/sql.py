"""Targets of what users type: SQL, predicates, and names that become folders."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from pipeline.redact import message
from pipeline.sandbox import batches, check_expression, connect, predicate
from pipeline.sandbox_time import Deadline, is_stuck
from pipeline.workspace import checked_name
from tests.fuzz.target import Finding, Target

SECONDS = 2.0
"""What a query may take: one that a fuzzer makes may well ask for all the numbers there are."""
TABLE = pa.table({"id": ["a", "b"], "preselect_score": [0.1, None], "tokens": [5, 7], "source": ["wiki", "web"]})
DEEP, DEEPER = (b"(" * depth + b"1" + b")" * depth for depth in (100, 3000))
"""One that is read, and one that is refused: the parser takes time by the square of what a mutation leaves open."""


@functools.cache
def _made() -> Any:
    connection = connect({})
    connection.register("scored", TABLE)
    return connection


def _connection() -> Any:
    """One for all inputs, unless the last one did not heed an interrupt."""
    if is_stuck(_made()):
        _made.cache_clear()
    return _made()


def _unharmed(connection: Any) -> None:
    settings = "current_setting('lock_configuration'), current_setting('enable_external_access')"
    found = connection.execute(f"SELECT {settings}, (SELECT count(*) FROM scored)").fetchone()
    if found != (True, False, TABLE.num_rows):
        raise Finding(f"the connection was changed: {found}")


def _predicate(data: bytes) -> None:
    connection = _connection()
    kept = predicate(connection, data.decode("utf-8", "replace"), TABLE, SECONDS)
    if len(kept) != TABLE.num_rows:
        raise Finding(f"{len(kept)} answers for {TABLE.num_rows} rows")
    _unharmed(connection)


def _expression(data: bytes) -> None:
    check_expression(_connection(), data.decode("utf-8", "replace"), Deadline.after(SECONDS, ""))


def _query(data: bytes) -> None:
    connection = _connection()
    _, found = batches(connection, data.decode("utf-8", "replace"), SECONDS)
    for number, _ in enumerate(found):
        if number > 10:
            break
    _unharmed(connection)


def _name(data: bytes) -> None:
    name = checked_name(data.decode("utf-8", "surrogateescape"), "corpus")
    if "/" in name or "\\" in name or ".." in name or name.startswith((".", "-")) or not name.isprintable():
        raise Finding(f"{name!r} is a name")


def _message(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    said = message(text)
    if "hunter2hunter2" in text and "https://me:hunter2hunter2@host/" in text and "me:hunter2hunter2@" in said:
        raise Finding(f"{said!r} shows a password")


def _texts(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


WORDS = (
    b"SELECT ",
    b" FROM scored",
    b"preselect_score",
    b" AND ",
    b"CAST(",
    b"[1,2]",
    b"{'a': 1}",
    b"::",
    b"--",
    b"/*",
    b"$$",
)

SQL = (
    Target(
        "predicate",
        "predicates of selections, asked of rows",
        _predicate,
        # The list is longer than what a mutation repeats: DuckDB plans a chain of twenty INs for a quarter of a minute.
        lambda: [
            b"preselect_score > 0.5 AND tokens >= 50",
            b"source IN ('wiki', $$x$$, 'one', 'two') OR id LIKE 'a%'",
            DEEP,
            DEEPER,
        ],
        WORDS,
    ),
    Target(
        "expression",
        "whether a text is one SQL expression",
        _expression,
        _texts("a > 1", "1) OR (1=1", "x -- y"),
        WORDS,
    ),
    Target(
        "query",
        "statements of `tamis sql`",
        _query,
        lambda: [
            b"SELECT source, count(*) FROM scored GROUP BY ALL ORDER BY 2",
            b"WITH a AS (SELECT 1) SELECT * FROM a",
            b"COPY (SELECT 1) TO '/tmp/x'",
            b"SELECT * FROM read_text('/etc/passwd')",
            b"EXPLAIN SELECT 1",
            b"SELECT " + DEEP,
            b"SELECT " + DEEPER,
        ],
        (*WORDS, b"COPY ", b"ATTACH ", b"INSTALL ", b"SET ", b"PRAGMA ", b"read_parquet("),
    ),
    Target("name", "names of corpora and aliases", _name, _texts("web", "../up", "a/b", "a\0b", "CON", "a-b.c_d")),
    Target(
        "message",
        "messages that may hold secrets",
        _message,
        _texts("https://me:hunter2hunter2@host/a?b=c gone", "password=hunter2", "://" * 20),
    ),
)
