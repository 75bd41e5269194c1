"""What experiments/repeated_data.py found, beside what was predicted: a table, a plot, and whence the prediction.

The prediction is the band of Hernandez et al. 2022 (arXiv 2205.10487): the numbers of repeats between which a repeated
tenth did most damage to models of N parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.trainings import Size
from pipeline.trainer.compare_report import half_width, shown

SHARE = 0.1
"""Of the tokens that are repeated text."""
FITTED = (1.5e6, 1e9, 100e9)
"""Of the band: parameters from and to, training tokens."""
Outcome = dict[str, tuple[float, float]]
"""Of a seed, per r and for "none": held-out bits per byte, and nats per token over the last tenth of the steps."""


def band(parameters: float) -> tuple[float, float]:
    """Repeats between which Hernandez et al. 2022 found the damage."""
    return 4.2e6 * parameters**-0.56, 5.1e7 * parameters**-0.50


def table(found: list[Outcome], really: dict[str, float], size: Size, tokens: int, repeats: Sequence[int]) -> str:
    """Per r, mean and 95 % interval over seeds; differences within seeds."""
    low, high = band(size.parameters()[0])
    lines = [
        "| r asked for | copies | distinct tokens | held-out bits per byte | less r = 1 | less `none` | "
        "training loss at the end | predicted band |",
        "| --- " * 8 + "|",
    ]
    first = str(repeats[0])
    for name in [*map(str, repeats), "none"]:
        bits = [one[name][0] for one in found if name in one]
        loss = f"{np.mean([one[name][1] for one in found if name in one]):.3f}"
        cells = [name]
        cells += [
            ""
            if name == other
            else shown([one[name][0] - one[other][0] for one in found if {name, other} <= one.keys()], sign=True)
            for other in (first, "none")
        ]
        if name == "none":
            lines.append(f"| none | | | {shown(bits)} | {cells[1]} | | {loss} | |")
            continue
        times = [really[f"{name}_{seed}"] for seed in range(len(found))]
        copies_shown = (
            f"{min(times):,.0f} to {max(times):,.0f}" if round(min(times)) < round(max(times)) else f"{times[0]:,.0f}"
        )
        distinct = np.mean([SHARE * tokens / one for one in times])
        inside = "left of it" if max(times) < low else "right of it" if min(times) > high else "inside"
        cells = [name, copies_shown, f"{distinct:,.0f}", shown(bits), *cells[1:], loss, inside]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(path: Path, found: list[Outcome], really: dict[str, float], size: Size, repeats: Sequence[int]) -> None:
    """Difference from r = 1 over the number of copies, and the band."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "tamis"
    from matplotlib import pyplot

    first = str(repeats[0])
    copies_of = [float(np.mean([really[f"{times}_{seed}"] for seed in range(len(found))])) for times in repeats]
    apart = [[one[str(times)][0] - one[first][0] for one in found] for times in repeats]
    figure, axes = pyplot.subplots(figsize=(6.5, 4))
    axes.axvspan(
        *band(size.parameters()[0]), color="C1", alpha=0.2, label="predicted band (Hernandez et al. 2022), extrapolated"
    )
    axes.axhline(0, color="grey", lw=0.8)
    means = [float(np.mean(values)) for values in apart]
    axes.errorbar(copies_of, means, [half_width(values) or 0.0 for values in apart], fmt="o-", capsize=3)
    without = float(np.mean([one["none"][0] - one[first][0] for one in found if "none" in one]))
    axes.axhline(without, color="C2", ls="--", label="the repeated tenth left out")
    axes.set(xscale="log", xlabel="copies of the repeated tenth", ylabel="held-out bits per byte, less r = 1")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def prediction(size: Size, tokens: int) -> str:
    """The band, where it is from, and how far ours is from what it was fitted on."""
    every, inner = size.parameters()
    (low, high), (inner_low, inner_high) = band(every), band(inner)
    least, most, budget = FITTED
    outside = " (fewer than the smallest)" if every < least else ""
    return (
        "Predicted band, 4.2e6 N^-0.56 to 5.1e7 N^-0.50 (Hernandez et al. 2022, arXiv 2205.10487): "
        f"{low:,.0f} to {high:,.0f} copies for N = {every:,} parameters, {inner_low:,.0f} to {inner_high:,.0f} for the "
        f"{inner:,} not in the embedding. **Extrapolated**: fitted on {least:,.0f} to {most:,.0f} parameters{outside} "
        f"and {budget:,.0f} training tokens, {budget / tokens:,.0f} times ours."
    )
