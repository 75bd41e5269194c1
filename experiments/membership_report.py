"""Tables and plot of experiments/membership.py, from the draws that its tests left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import table
from pipeline.membership.results import Draws
from pipeline.membership.values import LAST_K
from scorers.membership.effect import auc, auc_interval, expected_power, share_interval
from scorers.membership.owners import owner_p, standardised
from scorers.membership.pvalues import rank_p
from scorers.membership.values import tie_band

LEVELS = (0.05, 0.01, 0.001)
PUBLISHED = {1: 0.605, 2: 0.683, 3: 0.750, 5: 0.837, 7: 0.898, 10: 0.942}
"""AUC of the loss by copies, GPT-Neo-1.3B fine-tuned on 100-token canaries (arXiv 2405.15523): what planning has."""
STATISTIC = "mean_nll"


def power(draws: list[Draws], others: list[Draws], copies: tuple[int, ...]) -> list[dict[str, Any]]:
    """A row per number of copies. others: identifiers that stand nowhere."""
    never = [_effect(one) for one in others]
    rows = []
    for count in copies:
        mine = [one for one in draws if one.copies == count]
        p = np.array([_p(one) for one in mine])
        area = auc([_effect(one) for one in mine], never)
        own = float(np.mean([(one.draws(STATISTIC) > one.target(STATISTIC)).mean() for one in mine]))
        drawn = sum(len(one.draws(STATISTIC)) for one in mine)
        together, _ = owner_p([one.target(STATISTIC) for one in mine], [one.draws(STATISTIC) for one in mine])
        rows.append(
            {
                "copies": count,
                "identifiers": len(mine),
                "auc": area,
                "interval": auc_interval(area, len(mine), len(never)) if never else None,
                "own": own,
                "own_interval": auc_interval(own, len(mine), drawn),
                "found": {alpha: int((p <= alpha).sum()) for alpha in LEVELS},
                "together": together,
                "last_k": sum(one.guesses(LAST_K)[0].hit for one in mine),
            }
        )
    return rows


def _effect(one: Draws) -> float:
    return standardised(one.target(STATISTIC), one.draws(STATISTIC))[0]


def _p(one: Draws) -> float:
    return rank_p(one.target(STATISTIC), one.draws(STATISTIC), tie_band("float32"))


def power_table(rows: list[dict[str, Any]]) -> str:
    """The numbers as Markdown."""
    head = [
        "copies",
        "identifiers",
        "AUC (95 %)",
        "AUC in own draws",
        "found at .05 (95 %)",
        "at .01",
        "at .001",
        "expected at .05",
    ]
    head += ["all together, p", "last 2 words said"]
    lines = []
    for row in rows:
        n = row["identifiers"]
        areas = [_interval(row["auc"], row["interval"]), _interval(row["own"], row["own_interval"])]
        shares = []
        for alpha in LEVELS:
            a, b = share_interval(row["found"][alpha], n)
            shares.append(f"{row['found'][alpha] / n:.2f} ({a:.2f} to {b:.2f})")
        published = PUBLISHED.get(row["copies"])
        expected = "" if published is None else f"{expected_power(published, 0.05):.2f}"
        lines.append(
            [
                *(row["copies"], n, *areas, *shares, expected),
                *(f"{row['together']:.4f}", f"{row['last_k']} of {n}"),
            ]
        )
    return table(head, lines)


def _interval(value: float, sides: tuple[float, float] | None) -> str:
    return "not run" if sides is None else f"{value:.3f} ({sides[0]:.3f} to {sides[1]:.3f})"


def draw_power(rows: list[dict[str, Any]], path: Path) -> None:
    """Power against copies, measured with intervals, and the planning curve."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "tamis"
    figure, axes = plt.subplots(figsize=(6, 4.2), layout="constrained")
    for alpha, colour in zip(LEVELS, ("#1b6ca8", "#d1495b", "#66a182"), strict=True):
        x = [row["copies"] for row in rows]
        y = [row["found"][alpha] / row["identifiers"] for row in rows]
        bars = [share_interval(row["found"][alpha], row["identifiers"]) for row in rows]
        sides = [
            [max(0, a - b[0]) for a, b in zip(y, bars, strict=True)],
            [max(0, b[1] - a) for a, b in zip(y, bars, strict=True)],
        ]
        axes.errorbar(x, y, yerr=sides, marker="o", capsize=3, color=colour, label=f"measured, alpha {alpha:g}")
        planned = [expected_power(area, alpha) for area in PUBLISHED.values()]
        axes.plot(list(PUBLISHED), planned, "--", color=colour, alpha=0.6, label=f"planned, alpha {alpha:g}")
    axes.set(xscale="log", xlabel="copies of an identifier", ylabel="share of identifiers found", ylim=(-0.03, 1.05))
    axes.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    axes.minorticks_off()
    figure.legend(fontsize=8, ncols=2, loc="outside lower center")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def calibration_table(found: list[tuple[str, str, list[dict[str, Any]]]]) -> str:
    """(model, engine, rows of a calibration) as Markdown: the primary statistic's counts."""
    lines = []
    main = (STATISTIC, "generator")
    for model, engine, rows in found:
        for test in ("rank", "sequential", "owner"):
            mine = [row for row in rows if (row["statistic"], row["null"], row["test"]) == (*main, test)]
            if mine:
                counts = [f"{row['below']} (at most {row['limit']})" for row in mine]
                lines.append([model, engine, test, mine[0]["tests"], *counts, f"{mine[0]['uniform_p']:.2f}"])
    head = ["model", "engine", "test", "tests", *(f"p <= {alpha:g}" for alpha in LEVELS), "uniform, p"]
    return table(head, lines)
