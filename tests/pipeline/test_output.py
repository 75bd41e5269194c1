"""Every format says what the rows say."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
import math
import os
import pty
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.output import shown_value, write

TABLE = pa.table(
    {
        "name": ["plain", 'comma, "quote"\nline', None, ""],
        "score": [0.5, None, float("nan"), 1e-9],
        "list": pa.array([[1, 2], [], None, [None]], pa.list_(pa.int64())),
        "struct": [{"a": "x"}, None, {"a": None}, {"a": "y"}],
        "when": pa.array([datetime.datetime(2026, 11, 23, 4, 5, 6, 700)] * 4, pa.timestamp("us")),
        "huge": pa.array([decimal.Decimal(10**20), decimal.Decimal(7), None, decimal.Decimal(0)], pa.decimal128(38, 0)),
        "bytes": pa.array([b"\x00\xff", None, b"", b"a"]),
    }
)


def written(capsysbinary: pytest.CaptureFixture[bytes], table: pa.Table, **options: object) -> tuple[str, str]:
    write(table.schema, table.to_batches(), **options)  # type: ignore[arg-type]
    done = capsysbinary.readouterr()
    return done.out.decode(), done.err.decode()


def test_csv_tells_null_from_empty_and_reads_back(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    out, _ = written(capsysbinary, TABLE, format="csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["name"] for row in rows] == ["plain", 'comma, "quote"\nline', "", ""]
    assert [json.loads(row["list"] or "null") for row in rows] == [[1, 2], [], None, [None]]
    assert json.loads(rows[0]["struct"]) == {"a": "x"}
    assert rows[0]["when"] == "2026-11-23 04:05:06.000700"
    assert (rows[0]["huge"], rows[1]["huge"], rows[2]["huge"]) == (str(10**20), "7", "")
    assert rows[0]["bytes"] == "00ff"
    lines = out.splitlines()
    assert lines[-2].startswith(",")  # NULL
    assert lines[-1].startswith('"",')  # an empty string


def test_json_is_one_object_a_line(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    out, _ = written(capsysbinary, TABLE, format="json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["score"] for row in rows] == [0.5, None, None, 1e-9]
    assert rows[0]["list"] == [1, 2]
    assert rows[0]["struct"] == {"a": "x"}
    assert rows[0]["when"] == "2026-11-23T04:05:06.000700"
    assert [row["huge"] for row in rows] == [str(10**20), 7, None, 0]


def test_parquet_is_the_table_itself(capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    write(TABLE.schema, TABLE.to_batches(), "parquet")
    on_stdout = pq.read_table(io.BytesIO(capsysbinary.readouterr().out))
    write(TABLE.schema, TABLE.to_batches(), "parquet", str(tmp_path / "t.parquet"))
    for read in (on_stdout, pq.read_table(tmp_path / "t.parquet")):
        # not equals(): NaN is never equal to itself
        assert str(read.to_pylist()) == str(TABLE.to_pylist())


@pytest.mark.parametrize("format", ["table", "csv", "json", "parquet"])
def test_no_rows_are_written_too(capsysbinary: pytest.CaptureFixture[bytes], format: str) -> None:
    empty = TABLE.slice(0, 0)
    write(empty.schema, empty.to_batches(), format)  # type: ignore[arg-type]
    out = capsysbinary.readouterr().out
    assert (b"name" in out) is (format != "json")


def test_a_table_aligns_and_says_what_it_leaves_out(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    table = pa.table({"n": range(1000), "text": ["x" * 100, "two\nlines \x1b[31m", *["y"] * 998]})
    out, err = written(capsysbinary, table, rows=2)
    assert out.splitlines() == [
        "n  text".ljust(3) + "",
        "-  " + "-" * 60,
        "0  " + "x" * 57 + "...",
        "1  two lines  [31m",
    ]
    assert "the first 2 rows" in err
    out, err = written(capsysbinary, table.slice(0, 2), rows=2)
    assert len(out.splitlines()) == 4
    assert err == ""


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("before")

    def broken():  # type: ignore[no-untyped-def]
        yield TABLE.to_batches()[0]
        raise UserError("no")

    with pytest.raises(UserError):
        write(TABLE.schema, broken(), "csv", str(out))
    assert out.read_text() == "before"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_an_unknown_format_is_told() -> None:
    with pytest.raises(UserError, match="expected one of table, csv, json, parquet"):
        write(TABLE.schema, TABLE.to_batches(), "xlsx")  # type: ignore[arg-type]


ON_TERMINAL = """
import pyarrow as pa
from pipeline.errors import UserError
from pipeline.output import shown_value, write
table = pa.table({"n": [1], "text": ["[red]tag[/red] \\x1b[31m"]})
write(table.schema, table.to_batches())
try:
    write(table.schema, table.to_batches(), "parquet")
except UserError as error:
    print(error)
"""


def test_on_a_terminal_text_cannot_drive_it_and_parquet_is_refused() -> None:
    main, side = pty.openpty()
    subprocess.run([sys.executable, "-c", ON_TERMINAL], stdout=side, timeout=60, check=True)
    os.close(side)
    shown = os.read(main, 100_000).decode()
    os.close(main)
    assert "[red]tag[/red]" in shown
    assert "\x1b[31m" not in shown
    assert "--format parquet is binary" in shown


def test_numbers_that_are_none_are_shown_as_they_are() -> None:
    assert [shown_value(value) for value in (math.nan, math.inf, -math.inf, 2.0, 0.25)] == [
        *("nan", "inf", "-inf", "2.0", "0.25"),
    ]
