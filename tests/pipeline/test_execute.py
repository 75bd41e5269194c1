"""A failed shard is data, a transient error is tried again, a dead worker takes no other shard with it."""

from __future__ import annotations

import errno
import os

import pytest

from pipeline import cluster, execute, ledger
from pipeline.errors import ClusterLost, UserError
from pipeline.execute import Counts, Job, Pool, attempt, is_transient, jobs_to_do, pending
from pipeline.workspace import Workspace, shard_name

FOLDER = "scores/web/x-12345678"


def work(job: Job) -> dict[str, Counts | Exception]:
    if job.task == "bad":
        raise ValueError("row 7 is not text")
    if job.task == "bug":
        raise KeyError("nobody thought of this")
    if job.task == "dies":
        os._exit(9)
    if job.task == "busy once":
        marker = job.workspace.store.path("tried")
        if not os.path.exists(marker):
            open(marker, "w").close()
            raise ConnectionResetError("the store was busy")
    return {FOLDER: Counts(rows_in=2, rows_out=1, rejected=1)}


def jobs(workspace: Workspace, tasks: list[str]) -> list[Job]:
    os.makedirs(workspace.url, exist_ok=True)
    return [Job(workspace, shard_name(i, len(tasks)), ((FOLDER, 1),), task) for i, task in enumerate(tasks)]


def test_failed_shards_are_recorded_and_the_others_go_on(pool: Pool, workspace: Workspace) -> None:
    tasks = ["fine", "bad", "fine", "bug", "busy once", "fine"]
    rows = {row.shard: row for row in pool.run(jobs(workspace, tasks), work, "test")}
    states = [rows[shard_name(i, 6)].status for i in range(6)]
    assert states == ["done", "failed", "done", "failed", "done", "done"]
    assert rows[shard_name(1, 6)].error == "row 7 is not text"
    assert "KeyError: 'nobody thought of this' (at test_execute.py:" in (rows[shard_name(3, 6)].error or "")
    assert {row.shard: row for row in ledger.read(workspace.store, FOLDER)} == rows


def test_no_shard_is_lost_however_many_there_are(pool: Pool, workspace: Workspace) -> None:
    many = jobs(workspace, ["fine"] * 100)
    assert sorted(row.shard for row in pool.run(many, work, "test")) == [job.shard for job in many]
    assert len(workspace.rows(FOLDER)) == 100
    results = dict(pool.map(len, ["x" * n for n in range(70)]))
    assert sorted(results.values()) == list(range(70))


def seventh_fails(number: int) -> int | None:
    if number % 7 == 0:
        raise ValueError(f"not {number}")
    return None if number % 5 == 0 else number


def test_each_result_is_that_of_its_item_though_others_of_its_batch_failed(pool: Pool) -> None:
    found = {
        item: str(result) if isinstance(result, ValueError) else result
        for item, result in pool.map(seventh_fails, range(200))
    }
    expected = {n: f"not {n}" if n % 7 == 0 else None if n % 5 == 0 else n for n in range(200)}
    assert found == expected


def test_a_shard_that_kills_its_worker_fails_alone(workspace: Workspace) -> None:
    with Pool(execute.Compute(workers=2), workspace) as own:
        rows = {row.shard: row for row in own.run(jobs(workspace, ["fine", "dies", "fine", "fine"]), work, "test")}
    assert [rows[shard_name(i, 4)].done for i in range(4)] == [True, False, True, True]
    assert "its worker died" in (rows[shard_name(1, 4)].error or "")


def test_a_connection_that_closes_under_a_question_is_a_scheduler_that_is_gone(pool: Pool) -> None:
    """As a killed scheduler ends a fetch, before the client has noticed: its status is still that it runs."""
    from distributed.comm import CommClosedError

    assert pool.client.status == "running"
    with pytest.raises(ClusterLost, match="went away; what is done stays done"), pool._there():
        raise CommClosedError("in <TCP (closed) ConnectionPool.gather>: ConnectionResetError")


def test_only_what_may_pass_is_tried_again() -> None:
    assert is_transient(ConnectionResetError())
    assert is_transient(TimeoutError())
    assert is_transient(OSError(errno.EIO, "io"))
    assert is_transient(OSError("503 Slow Down"))
    assert not is_transient(FileNotFoundError(errno.ENOENT, "gone"))
    assert not is_transient(OSError(errno.ENOSPC, "full"))
    assert not is_transient(ValueError("bad"))


def test_a_transient_error_that_stays_is_a_failure_in_the_end(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr(execute.time, "sleep", naps.append)

    def always_busy(job: Job) -> dict[str, Counts | Exception]:
        raise TimeoutError("no answer")

    (row,) = attempt(always_busy, jobs(workspace, ["x"])[0])
    assert (row.status, row.error) == ("failed", "no answer")
    assert len(naps) == execute.RETRIES


def test_a_done_shard_whose_file_is_gone_or_cut_short_is_done_again(workspace: Workspace) -> None:
    names = [shard_name(i, 4) for i in range(4)]
    for name, size in zip(names[:3], (3, 3, 4), strict=True):
        ledger.write(workspace.store, ledger.Row(FOLDER, name, 1, "done", size=size))
    workspace.store.write_bytes(f"{FOLDER}/{names[0]}.parquet", b"abc")
    workspace.store.write_bytes(f"{FOLDER}/{names[2]}.parquet", b"abc")
    assert pending(workspace, FOLDER, names) == [(names[1], 2), (names[2], 2), (names[3], 1)]
    assert jobs_to_do(workspace.rows(FOLDER), names) == [(names[3], 1)]


def test_a_workspace_in_memory_runs_on_threads() -> None:
    workspace = Workspace("memory://threads")
    job = Job(workspace, "part-00000-of-00001", ((FOLDER, 1),), "fine")
    with Pool(execute.Compute(workers=2), workspace) as own:
        (row,) = own.run([job], work, "test")
    assert row.done
    assert ledger.read(workspace.store, FOLDER) == [row]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense", r"--scheduler nonsense: missing port number"),
        ("tls://host", r"--scheduler tls://host: missing port number"),
        ("http://host:8786", r"--scheduler http://host:8786: unknown address scheme 'http'"),
    ],
)
def test_what_is_no_address_of_a_scheduler_is_refused_at_once(workspace: Workspace, address: str, message: str) -> None:
    with (
        pytest.raises(UserError, match=message + r".*; expected an address such as tcp://host:8786"),
        Pool(execute.Compute(scheduler=address), workspace) as own,
    ):
        own.run(jobs(workspace, ["fine"]), work, "test")


def test_where_no_scheduler_answers_the_address_is_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with (
        pytest.raises(UserError, match=r"no answer of a Dask scheduler at tcp://127\.0\.0\.1:9 "),
        Pool(execute.Compute(scheduler="tcp://127.0.0.1:9"), workspace) as own,
    ):
        own.run(jobs(workspace, ["fine"]), work, "test")
