"""Fill docs/security.md with what the last `make fuzz` came to: python -m tests.fuzz.report"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.fuzz.targets import TARGETS

RESULTS = Path(__file__).with_name("results.json")
FOUND = Path(__file__).parent / "found"
PAGE = Path(__file__).parents[2] / "docs" / "security.md"


def table() -> str:
    """A row per target: what it reads, executions, findings of the last run, inputs kept from all runs."""
    results = json.loads(RESULTS.read_text())
    lines = ["| target | reads | by | executions | findings | inputs kept |", "|---|---|---|---|---|---|"]
    total = 0
    for name, target in TARGETS.items():
        kept = len(list((FOUND / name).glob("*"))) or ""
        one = results.get(name)
        if one is None:
            lines.append(f"| `{name}` | {target.reads} | not run | | | {kept} |")
            continue
        total += one["executions"]
        how = f"{one['by']}, {one['seconds']:.0f} s"
        lines.append(f"| `{name}` | {target.reads} | {how} | {one['executions']:,} | {len(one['findings'])} | {kept} |")
    return "\n".join([*lines, "", f"{total:,} executions in all; seconds are the processor's."])


def main() -> None:
    """Replace what stands between the marks."""
    page = PAGE.read_text()
    made = f"<!-- fuzz -->\n{table()}\n<!-- /fuzz -->"
    PAGE.write_text(re.sub(r"<!-- fuzz -->\n.*?<!-- /fuzz -->", lambda _: made, page, flags=re.DOTALL))


if __name__ == "__main__":
    main()
