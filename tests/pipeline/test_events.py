"""A run leaves one JSON line per event: what was done, how long it took, what failed, and no secrets."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from pipeline import events
from pipeline.execute import Compute, Counts, Job, Pool
from pipeline.lock import held
from pipeline.workspace import Workspace, shard_name
from tests.workspaces import small

FOLDER = "scores/web/x-12345678"


@pytest.fixture(autouse=True)
def process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(events, "_stderr", None)
    monkeypatch.setattr(events, "_command", [])
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def work(job: Job) -> dict[str, Counts | Exception]:
    if job.task == "bad":
        raise ValueError("s3://user:hunter2@bucket/a.jsonl: row 7 is not text")
    return {FOLDER: Counts(rows_in=2, rows_out=1, rejected=1, bytes_in=30, size=40)}


def logged(workspace: Workspace) -> list[dict[str, Any]]:
    """The events of the only log of a workspace."""
    (name,) = workspace.store.sizes(events.FOLDER)
    return [json.loads(line) for line in workspace.store.read_bytes(f"{events.FOLDER}/{name}").splitlines()]


@pytest.mark.parametrize("url", ["{tmp}/w", "memory://events-{tmp}"])
def test_every_shard_and_stage_is_an_event_in_the_workspace(tmp_path: Path, url: str) -> None:
    workspace = Workspace(url.replace("{tmp}", str(tmp_path)))
    events.set_command(["score", "x", "--password=hunter2"])
    jobs = [Job(workspace, shard_name(i, 3), ((FOLDER, 1),), task) for i, task in enumerate(["fine", "bad", "fine"])]
    threads = Workspace("memory://threads")  # of the pool alone: no processes to wait for
    with held(workspace.store), Pool(Compute(workers=1), threads) as pool:
        rows = pool.run(jobs, work, "score web (x)")
    found = logged(workspace)
    assert [event["event"] for event in found] == [
        "run",
        "stage",
        "cluster",
        "shard",
        "shard",
        "shard",
        "stage_end",
        "run_end",
    ]
    assert found[0]["command"] == ["tamis", "score", "x", "--password=***"]
    shards = {event["shard"]: event for event in found if event["event"] == "shard"}
    for row in rows:
        event = shards[row.shard]
        assert {key: event[key] for key in ("stage", "status", "seconds", "bytes_in", "size", "rows_in", "error")} == {
            key: getattr(row, key) for key in ("stage", "status", "seconds", "bytes_in", "size", "rows_in", "error")
        }
    assert shards[shard_name(1, 3)]["error"] == "s3://bucket/a.jsonl: row 7 is not text"
    end = found[-2]
    assert (end["total"], end["failed"], end["rows"], end["bytes_in"], end["whole"]) == (3, 1, 4, 60, True)
    assert found[-1]["error"] is None


def test_what_ends_a_run_is_the_end_of_its_log(workspace: Workspace) -> None:
    with pytest.raises(KeyError), held(workspace.store):
        raise KeyError("nobody thought of this")
    assert [event["event"] for event in logged(workspace)] == ["run", "run_end"]
    assert "nobody thought of this" in logged(workspace)[-1]["error"]


def test_a_log_that_cannot_be_written_ends_no_run(workspace: Workspace) -> None:
    workspace.store.write_bytes(events.FOLDER, b"a file where the folder should be")
    with held(workspace.store):
        events.emit("message", text="lost")
    assert not workspace.store.exists("lock.json")


def test_as_json_stderr_has_nothing_but_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = small(f"{tmp_path}/w").url
    with pytest.raises(SystemExit) as ended:
        main(["--log-format", "json", "score", "nothing", "--corpus", "web", "-w", url])
    events._stderr = None
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (2, "")
    lines = [json.loads(line) for line in captured.err.splitlines()]
    assert any(line["event"] == "message" and "unknown scorer 'nothing'" in line["text"] for line in lines)


def test_failed_shards_are_told_by_cause_with_the_command_that_tries_them_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00 this is no gzip")
    words = ["ingest", str(tmp_path), "--corpus", "web", "--workers", "1", "-w", f"memory://told-{tmp_path}"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    told = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert "ingest web: 1 of 1 shards failed: part-00000-of-00001: " in told[-2]
    assert told[-1] == f"tamis: to try them again: tamis {' '.join(words)}"


def test_an_unknown_format_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--log-format", "xml", "status"])
    assert ended.value.code == 2
