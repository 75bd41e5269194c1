"""Pages of an unpacked package as text, one JSON object a line. Runs in the environment `text` (see peers.py).

    python html_text.py FOLDER SOURCE >> pages.jsonl

HTML goes through resiliparse (main content only: manuals repeat their whole table of contents on every page); POD is
taken as it is. Symbolic links would count pages twice and generated indexes of several MB are no documents.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

MAX_PAGE_BYTES = 3_000_000


def page_files(folder: str) -> Iterator[str]:
    """HTML and POD files, in the order of their names."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            wanted = name.endswith((".html", ".pod")) and not os.path.islink(path)
            if wanted and os.path.getsize(path) <= MAX_PAGE_BYTES:
                yield path


def main() -> None:
    """Write the pages to stdout, what came of it to stderr. Exit code 1 if the package holds no page at all."""
    from resiliparse.extract.html2text import extract_plain_text

    folder, source = sys.argv[1:]
    pages = size = 0
    for path in page_files(folder):
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        if path.endswith(".html"):
            text = extract_plain_text(text, main_content=True, alt_texts=False)
        row = {"page": path[len(folder) :], "source": source, "text": text}
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
        pages, size = pages + 1, size + len(text.encode("utf-8", "replace"))
    print(f"{source}: {pages} pages, {size / 1e6:.1f} MB of text", file=sys.stderr)
    if not pages:
        sys.exit(1)


if __name__ == "__main__":
    main()
