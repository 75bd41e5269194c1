"""A hook of mkdocs: pages that `nav` in mkdocs.yml does not name come at its end, so that no page is out of reach."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Add what is there and not named, under its own heading."""
    docs = Path(config["docs_dir"])
    named = set(re.findall(r"[\w/.-]+\.md", str(config["nav"])))
    left = sorted(
        str(path.relative_to(docs)) for path in docs.rglob("*.md") if str(path.relative_to(docs)) not in named
    )
    if left:
        config["nav"].append({"More": [{_title(docs / name): name} for name in left]})
    return config


def _title(path: Path) -> str:
    heading = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return heading[1] if heading else path.stem
