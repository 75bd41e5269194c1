"""The table and the plot of a comparison.

Intervals are 95 % by Student's t over seeds: the mean of a selection, and the mean of its differences from the
baseline, seed by seed (weights begin alike within a seed, so much of the noise falls out of a difference). A
difference whose interval holds zero is not a finding; with one seed there is no interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

LEVEL = 0.95
GRID = 2000
"""Steps of the integral below: errors below 1e-6."""


def table_of(results: pa.Table, baseline: str) -> str:
    """Markdown: a block per set and metric, a line per selection."""
    rows = [row for row in results.to_pylist() if row["source"] is None and row["metric"] != "nll"]
    lines = []
    for name, metric in dict.fromkeys((row["set"], row["metric"]) for row in rows):
        mine = [row for row in rows if (row["set"], row["metric"]) == (name, metric)]
        labels = list(dict.fromkeys(row["selection"] for row in mine))
        values = {label: {r["seed"]: r["value"] for r in mine if r["selection"] == label} for label in labels}
        about = {row["selection"]: row for row in mine}
        lines += [
            f"{name}, {metric}",
            "",
            f"| selection | {metric} | less {baseline} | seeds | tokens | times read |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for label in labels:
            seeds = sorted(values[label].keys() & values[baseline].keys())
            apart = [values[label][seed] - values[baseline][seed] for seed in seeds]
            less = "" if label == baseline else shown(apart, sign=True)
            row = about[label]
            lines.append(
                f"| {label} | {shown(list(values[label].values()))} | {less} | {len(values[label])} | "
                f"{row['tokens']:,} | {row['epochs']:.2f} |"
            )
        lines.append("")
    return "\n".join(lines)


def shown(values: Sequence[float], sign: bool = False) -> str:
    """Mean and interval as a person reads them."""
    mean = f"{np.mean(values):+.4f}" if sign else f"{np.mean(values):.4f}"
    half = half_width(values)
    return mean if half is None else f"{mean} ± {half:.4f}"


def half_width(values: Sequence[float]) -> float | None:
    """Half of the 95 % interval of a mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    return float(t_quantile(len(values) - 1, LEVEL) * np.std(values, ddof=1) / math.sqrt(len(values)))


def t_quantile(freedom: int, level: float) -> float:
    """The t within which Student's distribution has `level` of its mass."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def mass(t: float) -> float:
        # Over the angle of x = sqrt(freedom) tan(a) the density has no tail to cut.
        angles = np.linspace(0, math.atan(t / math.sqrt(freedom)), GRID + 1)
        return 2 * scale * math.sqrt(freedom) * float(np.trapezoid(np.cos(angles) ** (freedom - 1), angles))

    low, high = 0.0, 1.0
    while mass(high) < level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if mass(middle) < level else (low, middle)
    return high


def draw_curves(path: str, curves: Mapping[tuple[str, int], tuple[pa.Table, pa.Table]]) -> None:
    """An SVG: training loss over tokens, and bits per byte of each evaluation set, a line per run."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "tamis"  # the same curves, the same bytes
    from matplotlib import pyplot

    labels = list(dict.fromkeys(label for label, _ in curves))
    names = list(dict.fromkeys(name for _, sets in curves.values() for name in sets["set"].to_pylist()))
    figure, axes = pyplot.subplots(1, 1 + len(names), figsize=(5 * (1 + len(names)), 4), squeeze=False)
    for (label, _), (steps, sets) in curves.items():
        color = f"C{labels.index(label)}"
        nll = np.asarray(steps["nll"].to_pylist(), float)
        width = max(1, len(nll) // 50)
        smooth = np.convolve(nll, np.ones(width) / width, "valid")
        axes[0, 0].plot(steps["tokens"].to_pylist()[width - 1 :], smooth, color=color, alpha=0.7, lw=1)
        for number, name in enumerate(names, 1):
            mine: list[dict[str, Any]] = [r for r in sets.to_pylist() if r["set"] == name and r["source"] is None]
            values = [r["bits_per_byte"] for r in mine]
            axes[0, number].plot([r["tokens"] for r in mine], values, "o-", color=color, alpha=0.7, lw=1, ms=3)
    axes[0, 0].set(xlabel="tokens", ylabel="training loss, nats per token")
    for number, name in enumerate(names, 1):
        axes[0, number].set(xlabel="tokens", ylabel="bits per byte", title=name)
    for label in labels:
        axes[0, 0].plot([], [], color=f"C{labels.index(label)}", label=label)
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)
