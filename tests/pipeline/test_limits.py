"""A task without an end is given up, says where it stood, and takes no other shard with it."""

from __future__ import annotations

import os
import time

import pytest

from pipeline.errors import UserError
from pipeline.execute import Compute, Counts, Job, Pool
from pipeline.limits import MINUTES, Overdue, limit, within
from pipeline.status import status
from pipeline.workspace import Workspace, shard_name

FOLDER = "scores/web/x-12345678"


def work(job: Job) -> dict[str, Counts | Exception]:
    if job.task == "endless":
        _wait()
    return {FOLDER: Counts(rows_in=2, rows_out=2)}


def _wait() -> None:
    time.sleep(3600)


def test_results_and_errors_come_through_and_what_does_not_end_says_where_it_stands() -> None:
    assert within(lambda: 3, 5) == within(lambda: 3, None) == 3
    with pytest.raises(KeyError):
        within(lambda: {}["no"], 5)
    begun = time.monotonic()
    with pytest.raises(Overdue, match=r"not through after .* stopped in _wait \(test_limits.py:\d+\)"):
        within(_wait, 0.1)
    assert time.monotonic() - begun < 60


def test_the_limit_is_two_hours_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAMIS_TASK_MINUTES", raising=False)
    assert limit(None) == 60 * MINUTES
    assert limit(None, slow=True) is None
    assert limit(0) is None
    assert limit(5, slow=True) == 300
    monkeypatch.setenv("TAMIS_TASK_MINUTES", "0.5")
    assert limit(None) == limit(None, slow=True) == 30
    monkeypatch.setenv("TAMIS_TASK_MINUTES", "soon")
    with pytest.raises(UserError, match="expected minutes"):
        limit(None)


def test_a_hung_shard_fails_alone_and_status_tells_it(workspace: Workspace) -> None:
    os.makedirs(workspace.url)
    workspace.store.write_bytes(f"{FOLDER}/stage.json", b'{"kind":"score","name":"x","fields":{},"info":{},"hash":""}')
    names = [shard_name(i, 4) for i in range(4)]
    jobs = [
        Job(workspace, n, ((FOLDER, 1),), task)
        for n, task in zip(names, ["fine", "endless", "fine", "fine"], strict=True)
    ]
    with Pool(Compute(workers=1, task_minutes=0.03), workspace) as own:
        rows = {row.shard: row for row in own.run(jobs, work, "test")}
    assert [rows[name].done for name in names] == [True, False, True, True]
    assert "in _wait (test_limits.py" in (rows[names[1]].error or "")
    [stage] = status(workspace).stages
    assert (stage.done, list(stage.failed)) == (3, [names[1]])
    assert "not through after" in stage.failed[names[1]]
