"""The user's SQL, kept inside: DuckDB connections that reach nothing but the files they are given.

Neither `enable_external_access=false` nor a list of allowed folders is enough in DuckDB 2.0: the first kills views over
files, the second leaves COPY TO, ATTACH, EXPORT and read_text open, and COPY may hide in a WITH clause of a SELECT. So
the only filesystem a connection keeps is that of sandbox_files.py, which serves exactly the given files and only for
reading; every other one is off, and the configuration is locked. The price: nothing spills to disk.

Queries of commands have a limit of time if one is asked for (sandbox_time.py); predicates that run in tasks have that
of the task (pipeline.limits).

    connection = connect({"scores/web/part-00000-of-00001.parquet": (store, "scores/web/part-00000-of-00001.parquet")})
    for batch in batches(connection, "SELECT count(*) FROM read_parquet('tamis://scores/web/part-0...')"):
        ...
    kept = predicate(connection, "preselect_score > 0.5", table)   # one boolean a row, as WHERE sees it
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Collection, Iterator
from typing import Any

import duckdb
import numpy as np
import orjson
import pyarrow as pa

from pipeline.errors import UserError
from pipeline.sandbox_files import PROTOCOL, Files, WorkspaceFiles
from pipeline.sandbox_time import Deadline, interruptible, is_stuck, time_limit

BATCH_ROWS = 10_000
"""Rows that `batches` hands out at once."""

MEMORY = "50%"
"""Of the machine, for the rows of a connection; single values that a function makes (repeat) are not counted."""
DEEPEST = 1000
"""Parentheses within one another, or signs in a row, as many as DuckDB takes expressions. Its parser takes time by the
square of those that end in nothing, a minute for ten thousand, and neither an interrupt nor another thread gets through
to a process meanwhile."""
_SIGNS = re.compile(r"(?:[-+~]\s*)+")
_TOO_DEEP = f"nested too deeply; expected at most {DEEPEST:,} parentheses within one another, or signs in a row"

LOCKED = (
    f"allowed_directories = ['{PROTOCOL}://']",
    "enable_external_access = false",
    "disabled_filesystems = 'LocalFileSystem'",
    "lock_configuration = true",  # last: nothing above can be taken back
)


def connect(files: Files, locked: bool = True) -> duckdb.DuckDBPyConnection:
    """A fresh connection that reads `files` below tamis://.

    locked: for SQL that a user wrote. False is for the project's own statements, which may then spill to disk.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "allow_community_extensions": False,
            "allow_persistent_secrets": False,
            "allow_unsigned_extensions": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            "temp_directory": "",
            "memory_limit": MEMORY,
            "threads": os.cpu_count() or 1,
        },
    )
    connection.register_filesystem(WorkspaceFiles(files))
    connection.execute("SET enable_progress_bar = false")
    for setting in LOCKED if locked else ():
        connection.execute(f"SET {setting}")
    return connection


def batches(
    connection: duckdb.DuckDBPyConnection, query: str, seconds: float | None = None
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Run one SELECT (or EXPLAIN, DESCRIBE, SHOW, SUMMARIZE) of a user: its schema, and its rows as they come.

    seconds: as in `stream`. Raises UserError with one line for anything else, and for whatever DuckDB has to say about
    the query.
    """
    _refuse_deep(query, "SQL")
    deadline = _deadline(seconds)
    with _explained(connection):
        statements = interruptible(connection, lambda: connection.extract_statements(query), deadline)
        if len(statements) != 1:
            found = f"{len(statements)} statements" if statements else "nothing to run"
            raise UserError(f"SQL: expected one statement, got {found}")
        kind = statements[0].type.name
        if kind == "MULTI":
            raise UserError("SQL: PIVOT needs its values named here: PIVOT ... ON column IN (value, ...)")
        if kind not in ("SELECT", "EXPLAIN"):
            raise UserError(f"SQL: {kind} is not allowed: {_ALLOWED}")
        _parsed(connection, query if kind == "SELECT" else _EXPLAIN.sub("", query), "SQL", _ALLOWED, deadline)
    return _stream(connection, query, "SQL", deadline)


def stream(
    connection: duckdb.DuckDBPyConnection, query: str, where: str = "SQL", seconds: float | None = None
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Run a statement that is known to be a SELECT: its schema, and its rows as they come. Ctrl-C ends it.

    seconds: until the last row is read, 0 for no limit [TAMIS_SQL_SECONDS, then none]; UserError if it takes longer.
    """
    return _stream(connection, query, where, _deadline(seconds))


def _deadline(seconds: float | None) -> Deadline | None:
    return Deadline.after(time_limit(seconds), "TAMIS_SQL_SECONDS" if seconds is None else "--seconds")


def _stream(
    connection: duckdb.DuckDBPyConnection, query: str, where: str, deadline: Deadline | None
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    with _explained(connection, where):
        reader = interruptible(connection, lambda: connection.sql(query).to_arrow_reader(BATCH_ROWS), deadline)
    return reader.schema, _read(connection, reader, where, deadline)


_ALLOWED = "the workspace is read-only; expected SELECT, EXPLAIN, DESCRIBE, SHOW or SUMMARIZE"
_EXPLAIN = re.compile(r"^\s*explain\b(\s+analyze\b)?(\s*\([^)]*\))?", re.IGNORECASE)


def _refuse_deep(text: str, where: str) -> None:
    depth = 0
    for bracket in re.findall(r"[()]", text):
        depth = depth + 1 if bracket == "(" else max(depth - 1, 0)
        if depth > DEEPEST:
            raise UserError(f"{where}: {_TOO_DEEP}")
    if any(len(re.findall(r"\S", signs[0])) > DEEPEST for signs in _SIGNS.finditer(text)):
        raise UserError(f"{where}: {_TOO_DEEP}")


def _parsed(
    connection: duckdb.DuckDBPyConnection, query: str, where: str, allowed: str, deadline: Deadline | None
) -> list[dict[str, Any]]:
    """The syntax trees of SELECT statements. Raises UserError for any other, and for COPY or DML in a WITH clause."""
    text = "SELECT json_serialize_sql(?)"
    with _explained(connection, where):
        found = interruptible(connection, lambda: connection.execute(text, [query]).fetchall()[0][0], deadline)
    try:
        tree = orjson.loads(found)
    except orjson.JSONDecodeError:
        raise UserError(f"{where}: {_TOO_DEEP}") from None
    if tree["error"] and tree["error_type"] == "parser":
        raise UserError(f"{where}: {tree['error_message']}")
    if tree["error"]:
        raise UserError(f"{where}: {allowed}")
    if writes := sorted(_writing_nodes(tree)):
        raise UserError(f"{where}: {writes[0].split('_')[0]} is not allowed: {_ALLOWED}")
    return tree["statements"]


def _writing_nodes(tree: Any) -> set[str]:
    """Kinds of node that are no reading of rows: COPY_QUERY_NODE, DELETE_QUERY_NODE and their like."""
    if isinstance(tree, dict):
        kind = tree.get("type")
        found = {kind} if isinstance(kind, str) and kind.endswith("_QUERY_NODE") else set()
        return found.union(*map(_writing_nodes, tree.values()))
    if isinstance(tree, list):
        return set().union(*map(_writing_nodes, tree))
    return set()


def _read(
    connection: duckdb.DuckDBPyConnection, reader: pa.RecordBatchReader, where: str, deadline: Deadline | None
) -> Iterator[pa.RecordBatch]:
    try:
        while True:
            with _explained(connection, where):
                batch = interruptible(connection, lambda: next(reader, None), deadline)
            if batch is None:
                return
            yield batch
    finally:
        # An interrupt between two batches ends nothing, and while a result is open the connection takes no other query.
        if not is_stuck(connection):
            reader.close()


def predicate(
    connection: duckdb.DuckDBPyConnection, expression: str, table: pa.Table, seconds: float | None = None
) -> pa.BooleanArray:
    """Which rows of `table` a WHERE clause with this expression keeps: one boolean a row, NULL counts as false.

    The columns of `table` are those of `scored`; a subquery over `scored` or another view of the connection sees the
    whole workspace. Aggregates and window functions outside of a subquery are refused, as in any WHERE: they would see
    one table instead of all. seconds: None is no limit, for tasks, which have one of their own. Raises UserError with
    one line that names the expression.
    """
    deadline = Deadline.after(seconds, "TAMIS_TASK_MINUTES")
    check_expression(connection, expression, deadline)
    rows = table.append_column(_ROW, pa.array(np.arange(table.num_rows)))
    connection.register(_BATCH, rows)
    try:
        with _explained(connection, f"predicate {_short(expression)!r}", table.column_names):
            # The newline ends a comment at the end of the expression.
            query = f'SELECT "{_ROW}" FROM "{_BATCH}" AS scored WHERE ({expression}\n)'
            found = interruptible(connection, lambda: connection.sql(query).to_arrow_table(), deadline)
            kept = found.column(0).to_numpy()
    finally:
        if not is_stuck(connection):
            connection.unregister(_BATCH)
    keep = np.zeros(table.num_rows, bool)
    keep[kept] = True
    return pa.array(keep)


_BATCH, _ROW = "__tamis_batch", "__tamis_row"


def check_expression(connection: duckdb.DuckDBPyConnection, expression: str, deadline: Deadline | None = None) -> None:
    """See that a text is one SQL expression and nothing more. Raises UserError.

    DuckDB's own parser judges: alone and in parentheses the text must be the same single expression, so that no
    bracket, comment or semicolon in it can end the clause it is put into.
    """
    where = f"predicate {_short(expression)!r}"
    expected = "expected one SQL expression, such as preselect_score > 0.5 AND tokens >= 50"
    if not expression.strip():
        raise UserError(f"{where}: {expected}")
    _refuse_deep(expression, where)
    texts = (f"SELECT {expression}\n", f"SELECT ({expression}\n)")
    alone, clasped = (_without_places(_parsed(connection, text, where, expected, deadline)) for text in texts)
    if len(alone) != 1 or alone != clasped or not _is_one_expression(alone[0]["node"]):
        raise UserError(f"{where}: {expected}")


def _is_one_expression(node: dict[str, Any]) -> bool:
    empty = ("where_clause", "having", "qualify", "sample")
    return (
        node["type"] == "SELECT_NODE"
        and node["from_table"]["type"] == "EMPTY"
        and len(node["select_list"]) == 1
        and not node["select_list"][0]["alias"]
        and not node["modifiers"]
        and not node["cte_map"]["map"]
        and not node["group_expressions"]
        and all(node[key] is None for key in empty)
    )


def _without_places(tree: Any) -> Any:
    """A parsed statement without where in the text its parts stood."""
    if isinstance(tree, dict):
        return {k: _without_places(v) for k, v in tree.items() if not k.startswith("query_location")}
    if isinstance(tree, list):
        return [_without_places(item) for item in tree]
    return tree


@contextlib.contextmanager
def _explained(
    connection: duckdb.DuckDBPyConnection, where: str = "SQL", columns: Collection[str] = ()
) -> Iterator[None]:
    """Turn what DuckDB raises about a user's SQL into a UserError of one line that begins with `where`."""
    try:
        yield
    except UserError:
        raise
    except (duckdb.Error, pa.ArrowException, OSError, RuntimeError) as error:
        text = str(error)
        if "interrupted" in text.lower():
            raise KeyboardInterrupt from None
        raise UserError(f"{where}: {_line(connection, text, columns)}") from None


def _line(connection: duckdb.DuckDBPyConnection, text: str, columns: Collection[str]) -> str:
    text = " ".join(text.split("\n\nLINE ")[0].split())
    if "LocalFileSystem has been disabled" in text or "external extensions is disabled" in text:
        return "only the workspace's own views can be read, and nothing can be written; files and URLs are out of reach"
    if "the workspace is read-only" in text:
        return "nothing can be written: the workspace is read-only"
    if missing := re.search(r"Table with name (\S+) does not exist", text):
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' AND table_name != ?"
        views = sorted(name for (name,) in connection.execute(query, [_BATCH]).fetchall())
        return f"there is no view {missing[1]!r}{nearest(missing[1], views)} (there are: {', '.join(views)})"
    if missing := re.search(r'column "([^"]+)" not found', text):
        known = columns or re.findall(r'"([^"]+)"', text.partition("Candidate bindings:")[2])
        return f"there is no column {missing[1]!r}{nearest(missing[1], known)}"
    return text[:600]


def nearest(name: str, known: Collection[str]) -> str:
    """'; did you mean ...?' for a name that is close to a known one, else nothing."""
    lowered = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lowered, 1, 0.5)
    return f"; did you mean {lowered[close[0]]!r}?" if close else ""


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:77]}..."
