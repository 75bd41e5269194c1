"""Files appear whole or not at all, on disk and elsewhere."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from pipeline.storage import TEMPORARY, Store


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: os.PathLike[str]) -> Store:
    return Store(f"{tmp_path}/files" if request.param == "disk" else f"memory://{request.node.originalname}")


def test_what_is_written_is_read_back_and_listed(store: Store) -> None:
    store.write_bytes("a/b/one.json", b"{}")
    store.write_bytes("a/two.json", b"four")
    assert store.read_bytes("a/b/one.json") == b"{}"
    assert store.sizes("a") == {"two.json": 4}
    assert store.folders("a") == ["b"]
    assert store.sizes("nowhere") == {}
    assert store.folders("nowhere") == []


def test_a_write_that_fails_leaves_the_old_file_and_no_trace(store: Store) -> None:
    store.write_bytes("a/file", b"old")

    def half_a_write() -> None:
        with store.writing("a/file") as path:
            Path(path).write_bytes(b"half of the n")
            raise RuntimeError("the process dies here")

    with pytest.raises(RuntimeError):
        half_a_write()
    assert store.read_bytes("a/file") == b"old"
    assert store.sizes("a") == {"file": 3}


def test_names_never_leave_the_folder(store: Store) -> None:
    for name in ("../elsewhere", "a/../../b", "/etc/passwd"):
        with pytest.raises(ValueError):
            store.write_bytes(name, b"")


def test_unfinished_files_are_not_listed_and_are_swept(tmp_path: os.PathLike[str]) -> None:
    store = Store(str(tmp_path))
    store.write_bytes("a/whole", b"1")
    with open(store.path(f"a/{TEMPORARY}123-part"), "wb") as file:
        file.write(b"left by a killed run")
    assert store.sizes("a") == {"whole": 1}
    store.sweep("a")
    assert os.listdir(store.path("a")) == ["whole"]


def test_a_store_pickles_to_its_address(tmp_path: os.PathLike[str]) -> None:
    store = Store(str(tmp_path))
    store.write_bytes("x", b"1")
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert again.read_bytes("x") == b"1"


def test_moving_publishes_and_removing_twice_is_no_error(store: Store) -> None:
    store.write_bytes("tmp/x", b"1")
    store.move("tmp/x", "final/y")
    assert store.read_bytes("final/y") == b"1"
    store.remove("final")
    store.remove("final")
    assert not store.exists("final/y")
