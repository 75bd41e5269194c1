"""What is declared has bounds and holds, and the audit sees the packages that Tamis brings in."""

from __future__ import annotations

import pytest

from tests.security import audit


def test_every_dependency_has_a_lower_bound_that_what_is_installed_satisfies() -> None:
    assert audit.problems() == []


def test_the_audit_covers_dependencies_of_dependencies() -> None:
    found = audit.closure()
    assert {"dask", "distributed", "duckdb", "pyarrow", "tornado", "msgpack"} <= found.keys()
    assert not {"pytest", "mypy", "torch"} & found.keys()


def test_a_database_that_is_not_reached_is_said_and_fails_only_where_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "SERVICE", "http://127.0.0.1:9/v1/query")
    assert audit.main() == 0
    assert "NOT REACHABLE" in capsys.readouterr().out
    monkeypatch.setenv("AUDIT", "strict")
    assert audit.main() == 1
