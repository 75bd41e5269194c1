"""The tables of docs/membership.md follow from draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from experiments.membership_report import draw_power, power, power_table
from pipeline.membership.results import Draws
from pipeline.membership.values import DRAWS, LAST_K, NULL, TARGET


def identifier(number: int, value: float, copies: int, hit: bool = False) -> Draws:
    values = np.concatenate([[value], np.random.default_rng(number).normal(size=99)])
    rows = [
        {"kind": TARGET if i == 0 else NULL, "draw": i - 1, "tokens": 30, "mean_nll": float(one)}
        for i, one in enumerate(values)
    ]
    rows.append({"kind": LAST_K, "draw": 2, "guesses": 1, "hit": hit})
    return Draws(f"i{number}", "x", pa.Table.from_pylist(rows, DRAWS), None, copies)


def test_power_counts_what_is_found_and_names_what_was_not_run(tmp_path: Path) -> None:
    draws = [identifier(i, -9.0, 10, hit=i == 0) for i in range(5)] + [identifier(9 + i, 9.0, 1) for i in range(5)]
    none, some = power(draws, [], (1, 10)), power(draws, [identifier(50 + i, 0.0, 0) for i in range(5)], (1, 10))
    once, ten = some
    assert once["found"] == {0.05: 0, 0.01: 0, 0.001: 0}
    assert ten["found"] == {0.05: 5, 0.01: 5, 0.001: 0}  # 99 draws reach 0.01 and no further
    assert (once["own"], ten["own"]) == (0.0, 1.0)
    assert ten["auc"] == 1.0
    assert ten["last_k"] == 1
    assert "not run" in power_table(none)
    assert "| 10 | 5 | 1.000 (" in power_table(some)


def test_the_plot_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = power([identifier(i, -9.0, 10) for i in range(5)], [], (10,))
    for name in ("a.svg", "b.svg"):
        draw_power(rows, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
