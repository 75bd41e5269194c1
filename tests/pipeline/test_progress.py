"""What a person sees: one closing line that leaves out what a stage does not count."""

from __future__ import annotations

import pytest

from pipeline.ledger import Row
from pipeline.progress import Progress


def closing(capsys: pytest.CaptureFixture[str], rows: list[list[Row]]) -> str:
    with Progress("score web", len(rows)) as progress:
        for job in rows:
            progress.advance(job)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_pass_of_two_scorers_counts_its_documents_once(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("scores/web/a", "part-00000-of-00001", 1, "done", rows_in=50, rows_out=50, bytes_in=4_000_000)
    line = closing(capsys, [[row, row]])
    assert line.startswith("score web: 1 shards, 50 rows in ")
    assert "MB/s" in line


def test_what_is_not_counted_is_not_shown_and_failures_are(capsys: pytest.CaptureFixture[str]) -> None:
    line = closing(capsys, [[Row("scores/web/a", "part-00000-of-00001", 1, "failed", error="disk")]])
    assert "rows" not in line
    assert "MB/s" not in line
    assert "1 failed" in line


def test_a_stage_with_nothing_to_do_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert closing(capsys, []) == ""
