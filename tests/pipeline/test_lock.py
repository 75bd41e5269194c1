"""One run at a time; a lock whose holder is gone does not stay."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import orjson
import pytest

from pipeline import lock
from pipeline.errors import WorkspaceBusy
from pipeline.storage import Store


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: os.PathLike[str]) -> Store:
    return Store(f"{tmp_path}/files" if request.param == "disk" else f"memory://{request.node.originalname}")


def test_a_second_run_is_refused_and_told_who_holds_the_workspace(store: Store) -> None:
    with lock.held(store), pytest.raises(WorkspaceBusy, match=f"pid {os.getpid()} on "), lock.held(store):
        pass
    with lock.held(store):
        assert store.exists(lock.LOCK)
    assert not store.exists(lock.LOCK)


def test_the_lock_is_given_back_when_the_run_fails(store: Store) -> None:
    with pytest.raises(RuntimeError), lock.held(store):
        raise RuntimeError
    assert not store.exists(lock.LOCK)


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: os.PathLike[str]) -> None:
    code = f"""
import time
from pipeline import lock
from pipeline.storage import Store
with lock.held(Store({str(tmp_path)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    store = Store(str(tmp_path))
    with pytest.raises(WorkspaceBusy, match=str(process.pid)), lock.held(store):
        pass
    process.kill()
    process.wait()
    with lock.held(store):
        assert orjson.loads(store.read_bytes(lock.LOCK))["pid"] == os.getpid()


def test_a_lock_of_another_host_expires_when_it_is_not_renewed(store: Store) -> None:
    holder = {"host": "elsewhere", "pid": 7, "process_started": "1", "token": "t", "renewed": time.time()}
    store.write_bytes(lock.LOCK, orjson.dumps(holder))
    with pytest.raises(WorkspaceBusy, match="pid 7 on elsewhere"), lock.held(store):
        pass
    store.write_bytes(lock.LOCK, orjson.dumps(holder | {"renewed": time.time() - lock.STALE_SECONDS - 1}))
    with lock.held(store):
        pass


def test_a_damaged_lock_file_does_not_lock_for_ever(store: Store) -> None:
    store.write_bytes(lock.LOCK, b"{trunca")
    with lock.held(store):
        pass


def test_a_lock_that_this_process_could_not_remove_does_not_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as away:
        with lock.held(store):
            away.setattr(Store, "remove", _away)
        assert store.exists(lock.LOCK)
    with lock.held(store), pytest.raises(WorkspaceBusy), lock.held(store):
        pass
    assert not store.exists(lock.LOCK)


def _away(store: Store, name: str) -> None:
    raise OSError("the store is away")
