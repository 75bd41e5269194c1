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
    lines = ["| target | reads | executions | findings | inputs kept |", "|---|---|---|---|---|"]
    total = 0
    for name, target in TARGETS.items():
        one = results.get(name)
        if one is None:
            lines.append(f"| `{name}` | {target.reads} | not run | | |")
            continue
        total += one["executions"]
        kinds = sorted({finding["kind"] for finding in one["findings"]})
        shown = f"{len(one['findings'])} ({', '.join(kinds)})" if kinds else "0"
        kept = len(list((FOUND / name).glob("*")))
        lines.append(f"| `{name}` | {target.reads} | {one['executions']:,} | {shown} | {kept or ''} |")
    seconds = sorted({one["seconds"] for one in results.values()})
    return "\n".join([*lines, "", f"{total:,} executions, {' or '.join(map(str, seconds))} seconds for each target."])


def main() -> None:
    """Replace what stands between the marks."""
    page = PAGE.read_text()
    made = f"<!-- fuzz -->\n{table()}\n<!-- /fuzz -->"
    PAGE.write_text(re.sub(r"<!-- fuzz -->\n.*?<!-- /fuzz -->", lambda _: made, page, flags=re.DOTALL))


if __name__ == "__main__":
    main()
