"""Tables from results: `python -m benchmarks.report` puts them between the markers in README.md. No number is typed.

<!-- result: fasttext -->  ...  <!-- end -->
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from benchmarks.common import HERE, RESULTS

README = HERE / "README.md"
MARKED = re.compile(r"(<!-- result: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOT_MEASURED = "*not measured yet*\n"


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table."""
    lines = [list(map(str, head))]
    lines += [["---"] * len(lines[0])] + [list(map(str, row)) for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float, digits: int = 3) -> str:
    """Three significant digits, thousands with a space, never an exponent."""
    if value >= 10 ** (digits - 1):
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.{digits}g}"


def section(name: str, result: dict[str, Any]) -> str:
    """One result as Markdown: its table, then where and when."""
    return f"\n{BODIES[name](result)}\n{_origin(result)}"


def _origin(result: dict[str, Any]) -> str:
    machine = result["machine"]
    packages = ", ".join(f"{key} {value}" for key, value in machine["packages"].items())
    load = "/".join(f"{value:g}" for value in result["begun"]["load"])
    return (
        f"{result['begun']['time']}, commit {result['commit']}, {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}; load before: {load}.\n"
        f"{packages}.\n"
    )


def _compared(result: dict[str, Any]) -> str:
    rows = []
    for side in result["sides"]:
        ratio = side.get("tamis_is_times_as_fast")
        rows.append(
            [
                f"{side['label']} ({', '.join(f'{k} {v}' for k, v in side['versions'].items() if k != 'tamis')})",
                number(side["mb_per_s"]),
                number(side["documents_per_s"]),
                f"{side['share_of_core']:.2f}",
                number(ratio["of_medians"]) if ratio else "",
                f"{number(ratio['paired'])} ({number(ratio['low'])} to {number(ratio['high'])})" if ratio else "",
            ]
        )
    head = ["side", "MB/s", "documents/s", "share of core", "Tamis, times: medians", "Tamis, times: pairs (95 %)"]
    lost = "".join(f"Left out: {label}: {why}.\n" for label, why in result["missing"].items())
    about = f"{result['megabytes']:.0f} MB in {result['documents']} documents, {result['parts']} parts.\n"
    return table(head, rows) + "\n" + about + lost


def _rates(result: dict[str, Any]) -> str:
    """Results that list `lines` of {what, value, unit, low, high}."""
    rows = []
    for line in result["lines"]:
        spread = f"{number(line['low'])} to {number(line['high'])}" if "low" in line else ""
        rows.append([line["what"], number(line["value"]), line["unit"], spread])
    return table(["what", "median", "unit", "95 %"], rows) + "\n" + result["about"] + "\n"


def _near(result: dict[str, Any]) -> str:
    """Pairs of near-duplicates that each side finds."""
    rows = [
        [row["label"], row["pairs"], f"{row['precision']:.3f}", f"{row['recall']:.3f}", f"{row['seconds']:.1f}"]
        for row in result["sides"]
    ]
    return table(["side", "pairs found", "precision", "recall", "seconds"], rows) + "\n" + result["about"] + "\n"


BODIES = {
    "fasttext": _compared,
    "repetition": _compared,
    "minhash": _compared,
    "near": _near,
    "near_scale": _rates,
    "ingest": _rates,
    "pass": _rates,
    "plan": _rates,
    "page": _rates,
    "linear": _rates,
    "repeats": _rates,
    "strength": _rates,
    "ghosts": _rates,
    "ghost_kinds": _rates,
    "ghost_recurring": _rates,
    "demo": _rates,
    "losses": _rates,
    "loader": _rates,
    "tokens": _rates,
    "training": _rates,
    "methods": _rates,
    "membership": _rates,
}


def update() -> list[str]:
    """Write README.md anew; names of the results it now shows."""
    there = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}

    def filled(match: re.Match[str]) -> str:
        name = match[2]
        return match[1] + (section(name, there[name]) if name in there else NOT_MEASURED) + match[3]

    README.write_text(MARKED.sub(filled, README.read_text()))
    return sorted(there)


if __name__ == "__main__":
    print(f"README.md shows: {', '.join(update()) or 'nothing yet'}")
