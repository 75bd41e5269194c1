"""One run at a time; a lock whose holder is gone does not stay."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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


STALE = {"host": "elsewhere", "pid": 7, "process_started": "1", "token": "t", "renewed": 0.0}
CODE = """
import sys, time
from pipeline import lock
from pipeline.errors import WorkspaceBusy
from pipeline.storage import Store
lock.RENEW_SECONDS = 0.05
store = Store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    with lock.held(store):
        print("won", flush=True)
        while sys.argv[2:]:
            time.sleep(0.05)
        sys.stdin.readline()
except WorkspaceBusy:
    print("busy", flush=True)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def _started(*words: object) -> subprocess.Popen[str]:
    """A process that waits for a line, then holds the workspace until the next one comes."""
    command = [sys.executable, "-c", CODE, *map(str, words)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]
    assert process.stdout.readline() == "ready\n"
    return process


def test_of_processes_that_take_over_a_stale_lock_at_once_exactly_one_wins(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write_bytes(lock.LOCK, orjson.dumps(STALE))
    contenders = [_started(tmp_path) for _ in range(3)]
    for process in contenders:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.stdout.readline().strip() for process in contenders if process.stdout is not None]
    assert sorted(said) == ["busy", "busy", "won"]
    assert orjson.loads(store.read_bytes(lock.LOCK))["pid"] == contenders[said.index("won")].pid
    for process in contenders:
        process.communicate("end\n", timeout=60)
        assert process.returncode == 0
    assert not [name for name in os.listdir(tmp_path) if "lock" in name]


def test_of_threads_that_take_over_a_stale_lock_at_once_exactly_one_wins(tmp_path: Path) -> None:
    for attempt in range(50):
        store = Store(f"{tmp_path}/{attempt}")
        store.write_bytes(lock.LOCK, orjson.dumps(STALE))
        start = threading.Barrier(4)

        def contend(number: int, store: Store = store, start: threading.Barrier = start) -> str:
            start.wait(60)
            try:
                lock._acquire(store, STALE | {"token": f"mine-{number}", "pid": number})
            except WorkspaceBusy:
                return ""
            return f"mine-{number}"

        with ThreadPoolExecutor(4) as threads:
            won = [token for token in threads.map(contend, range(4)) if token]
        assert won == [orjson.loads(store.read_bytes(lock.LOCK))["token"]]
        assert os.listdir(store.path("")) == [lock.LOCK]


def test_who_comes_late_to_a_stale_lock_does_not_touch_that_of_the_winner(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = STALE | {"token": "winner", "renewed": time.time()}
    store.write_bytes(lock.LOCK, orjson.dumps(winner))
    with monkeypatch.context() as untouched:
        untouched.setattr(os, "rename", _away)
        untouched.setattr(Store, "remove", _away)
        lock._take_away(store, STALE)
    assert orjson.loads(store.read_bytes(lock.LOCK)) == winner


def test_a_holder_whose_lock_was_taken_over_stops_and_leaves_it_to_the_other(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    process = _started(tmp_path, "works")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "won\n"
    # It was frozen for too long; meanwhile another one has the workspace.
    other = STALE | {"token": "other", "renewed": time.time()}
    store.write_bytes(lock.LOCK, orjson.dumps(other))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "stopped\n")
    assert f"tamis: {store.url} was taken over by pid 7 on elsewhere" in err
    assert orjson.loads(store.read_bytes(lock.LOCK)) == other
