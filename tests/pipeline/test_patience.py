"""What may pass is tried again for a while; what cannot pass is not, and the end names the place."""

from __future__ import annotations

import errno

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from pipeline import patience
from pipeline.errors import StoreDown, UserError
from pipeline.patience import is_transient, patiently


def test_libraries_without_oserrors_are_understood() -> None:
    assert is_transient(ReadTimeoutError(endpoint_url="http://x"))
    assert is_transient(EndpointConnectionError(endpoint_url="http://x"))
    assert is_transient(OSError(errno.EREMOTEIO, "InternalError"))
    assert not is_transient(StoreDown("over"))
    assert not is_transient(PermissionError(errno.EACCES, "no"))
    assert not is_transient(OSError(errno.ENOSPC, "full"))


def test_trouble_that_passes_is_waited_out_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", naps.append)
    answers = iter([ConnectionResetError(), OSError(errno.EBUSY, "SlowDown"), TimeoutError(), "there"])

    def call() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(call, "s3://b/a") == "there"
    assert len(naps) == 3
    assert all(0.5 * patience.FIRST * 2**n <= nap <= 1.5 * patience.FIRST * 2**n for n, nap in enumerate(naps))


def test_trouble_that_stays_ends_with_the_name_of_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_PATIENCE", "0.05")
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise OSError(errno.EBUSY, "SlowDown")

    with pytest.raises(StoreDown, match=r"s3://b/a: no success for .*SlowDown.*run the same command again"):
        patiently(call, "s3://b/a")
    assert len(calls) >= 2


def test_what_cannot_pass_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: pytest.fail("waited"))

    def call() -> None:
        raise FileNotFoundError(errno.ENOENT, "gone")

    with pytest.raises(FileNotFoundError):
        patiently(call, "s3://b/a")


def test_patience_that_is_no_number_is_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_PATIENCE", "long")
    with pytest.raises(UserError, match="TAMIS_PATIENCE=long: expected seconds"):
        patiently(lambda: 1, "x")
