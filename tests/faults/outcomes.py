"""What came of each fault: kept as JSON lines, so that a campaign that is stopped goes on; shown as a table.

Outcomes, the first that holds:

    same bytes      the run, or the same command again, came to the outputs of an undisturbed run, byte for byte
    named, mended   one clear line named the file or what was wrong; with that mended as it says (`tamis verify --mend`,
                    a file removed or put back), the next run gives the same bytes
    other input     what the user gave was changed into something else that is valid: it made outputs under names of
                    their own; with the right input back, the run gives the same bytes
    LOST            anything else: other bytes, a damaged file that is called done, an error without a name, a traceback
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

SAME, MENDED, OTHER, LOST = "same bytes", "named, mended", "other input", "LOST"
ALL = (SAME, MENDED, OTHER, LOST)
BEGIN, END = "<!-- faults -->\n", "<!-- /faults -->"
SAID = 160
"""Characters of what was said that the table shows."""


@dataclass(frozen=True)
class Result:
    """One fault. what: what was done; said: the first thing the run said about it."""

    kind: str
    seed: int
    what: str
    outcome: str
    said: str
    seconds: float = 0.0


def read(path: Path) -> list[Result]:
    """Results so far; a last line that is cut short is dropped."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(Result(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def add(path: Path, result: Result) -> None:
    """Append one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(asdict(result)) + "\n")


def table(results: Iterable[Result], order: Iterable[str]) -> str:
    """Markdown: faults by kind and outcome, with an example of what was said."""
    by_kind: dict[str, list[Result]] = {}
    for result in results:
        by_kind.setdefault(result.kind, []).append(result)
    head = ["fault", "tried", *ALL, "said, for example"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    total: Counter[str] = Counter()
    for kind in (kind for kind in order if kind in by_kind):
        own = by_kind[kind]
        counts = Counter(result.outcome for result in own)
        total += counts
        said = next((result.said for result in own if result.said), "")
        cells = [kind, len(own), *(counts[outcome] or "" for outcome in ALL), shown(said)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    cells = ["**all**", total.total(), *(total[outcome] for outcome in ALL), ""]
    return "\n".join([*lines, f"| {' | '.join(map(str, cells))} |"])


def shown(said: str) -> str:
    """One line of what was said, without the folders of the machine, safe in a table."""
    text = re.sub(r"/[^\s:;,()']*/(?=[^/\s:;,()']+/[^/\s:;,()']+)", ".../", " ".join(said.split()))
    text = text if len(text) <= SAID else f"{text[:SAID]}..."
    return f"`{text.replace('|', '/').replace('`', chr(39))}`" if text else ""


def fill(page: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Put a text between the marks of a page."""
    before, mark, rest = page.read_text().partition(begin)
    assert mark, f"{page}: no {begin!r}"
    page.write_text(f"{before}{begin}\n{text}\n\n{end}{rest.partition(end)[2]}")
