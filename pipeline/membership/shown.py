"""Results for a person: what was asked, what came out, how strong the evidence could have been."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.ghosts.registry import Registry
from scorers.ghosts.planning import smallest_level

MOST = 20
"""Identifiers that the text lists; the table has all."""


def shown(table: pa.Table, registry: Registry, model: str) -> str:
    """A page of text about a test."""
    rows, plan = table.to_pylist(), registry.plan
    primary = [row for row in rows if row["primary"]]
    lines = [f"{registry.path} against {model}"]
    if primary:
        found = sum(row["found"] for row in primary)
        level = smallest_level(registry.tests, plan.alpha, plan.correction)
        lines += [
            f"primary test, as committed: {plan.statistic} among {_null(plan.null)}, one per {plan.unit}, "
            f"alpha {plan.alpha:g}, {_correction(plan.correction)}, at most {plan.m:,} draws each",
            f"found: {found} of {registry.tests} (tested: {len(primary)}; one alone must reach p <= {level:.2g}, the "
            f"smallest possible is {1 / (plan.m + 1):.2g})",
            "",
            *_table(sorted(primary, key=lambda row: row["p"])[:MOST]),
            *_power(primary),
        ]
        if len(primary) > MOST:
            lines.append(
                f"... and {len(primary) - MOST} more, with larger p; tamis sql 'SELECT * FROM membership' has all"
            )
    else:
        lines.append(
            f"the primary test ({plan.statistic}) was not made: this engine tells no log-probabilities; what follows "
            "is exploratory"
        )
    others = [row for row in rows if not row["primary"] and row["level"] == "registry"]
    lines += ["", "exploratory, not corrected, no basis for a claim:"] if others or not primary else []
    for row in others:
        lines.append(
            f"  {row['statistic']} among {_null(row['null'])}: AUC {row['auc']:.3f} ({row['auc_low']:.3f} to "
            f"{row['auc_high']:.3f}), all together p = {_p(row['p'])}"
        )
    for test, what in (("last_k", "reproduced the last words of"), ("positions", "had single words right of")):
        asked = [row for row in rows if row["test"] == test and row["level"] == "identifier"]
        if asked:
            hits = [row for row in asked if row["exceedances"]]
            best = f", smallest p = {_p(min(row['p'] for row in hits))}" if hits else ""
            guesses = sum(row["draws"] for row in asked)
            lines.append(
                f"  {asked[0]['statistic'].replace('_', ' ')}: {what} {len(hits)} of {len(asked)} identifiers "
                f"in {guesses:,} guesses{best}"
            )
    return "\n".join(lines)


def calibration(table: pa.Table, registry: str, model: str) -> str:
    """Counts of small p-values of identifiers that were never inserted."""
    rows = table.to_pylist()
    lines = [f"{registry} against {model}: identifiers that were never inserted", ""]
    head = [
        "statistic",
        "null",
        "test",
        "tests",
        *(f"p <= {alpha:g}" for alpha in sorted({r["alpha"] for r in rows})[::-1]),
    ]
    cells = []
    for key in dict.fromkeys((row["statistic"], row["null"], row["test"], row["tests"]) for row in rows):
        mine = [row for row in rows if (row["statistic"], row["null"], row["test"], row["tests"]) == key]
        cells.append([*map(str, key), *(f"{row['below']} (limit {row['limit']})" for row in mine)])
    lines += _aligned([head, *cells])
    broken = [row for row in rows if not row["holds"]]
    lines.append("")
    if broken:
        lines.append(f"{len(broken)} counts are above their limit: do not trust this test on this engine and model")
    else:
        lines.append(
            "every count is within its limit (an honest test stays within one all but once in a thousand times)"
        )
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    head = ["id", "copies", "value", "effect", "draws", "p", "adjusted", "found"]
    cells = [
        [
            row["id"],
            "" if row["copies"] is None else str(row["copies"]),
            "" if row["value"] is None else f"{row['value']:.3f}",
            f"{row['effect']:.2f}",
            f"{row['draws']:,}",
            _p(row["p"]),
            _p(row["p_adjusted"]),
            "yes" if row["found"] else "no",
        ]
        for row in rows
    ]
    return _aligned([head, *cells])


def _power(primary: list[dict[str, Any]]) -> list[str]:
    """What the test could have found: a large p says little where that is little."""
    known = [row["power"] for row in primary if row.get("power") is not None]
    if not known:
        return ["power: unknown, for no insertion is noted in the registry (tamis ghosts insert)"]
    low, high = min(known), max(known)
    shown = f"{low:.0%}" if f"{low:.0%}" == f"{high:.0%}" else f"{low:.0%} to {high:.0%}"
    return [f"power: {shown} of models that have read them would be found (planning's curve: a prior, no promise)"]


def _aligned(lines: list[list[str]]) -> list[str]:
    """Cells in columns; the first to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    ]


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.001 else f"{value:.1e}"


def _null(null: str) -> str:
    return "fresh draws of its generator" if null == "generator" else "other orders of its words"


def _correction(correction: str) -> str:
    names = {
        "holm": "family-wise by Holm",
        "bh": "false discoveries by Benjamini and Hochberg",
        "by": "false discoveries by Benjamini and Yekutieli",
        "none": "no correction",
    }
    return names[correction]
