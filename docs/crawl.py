"""Make a little crawl out of the demo's text, for the commands that the docs show: python docs/crawl.py FOLDER.

FOLDER/crawl/{wiki,forum}.jsonl.zst   url, text, source
FOLDER/labelled.jsonl.zst, tokenizer.json
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import zstandard

DATA = Path(__file__).parents[1] / "configs" / "demo" / "data"
SOURCES = {"wiki": "python-docs", "forum": "postgresql-docs"}


def main(folder: Path) -> None:
    """Write the files."""
    (folder / "crawl").mkdir(parents=True, exist_ok=True)
    for source, name in SOURCES.items():
        with zstandard.open(DATA / f"{name}.jsonl.zst", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        with zstandard.open(folder / "crawl" / f"{source}.jsonl.zst", "wt", encoding="utf-8") as file:
            for row in rows:
                url = f"https://{source}.example/{row['id']}"
                file.write(json.dumps({"url": url, "text": row["text"], "source": source}) + "\n")
    for name in ("labelled.jsonl.zst", "tokenizer.json"):
        shutil.copy(DATA / name, folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
