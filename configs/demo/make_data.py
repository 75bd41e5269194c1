"""Make the demo's data again from Debian's manuals (python3.11-doc, postgresql-doc-15). Only for maintainers.

    python configs/demo/make_data.py

Needs apt-get with package lists, dpkg-deb, and `pip install resiliparse tokenizers zstandard orjson`. The result is
what lies in configs/demo/data; LICENSES.md there says where it comes from. Pages become documents as they are,
navigation and all. The labels are a rule, not an opinion: explaining chapters are 1, indexes, listings and release
notes are 0.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import zstandard
from resiliparse.extract.html2text import extract_plain_text
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

DATA = Path(__file__).parent / "data"
EXPLAINS = ("/tutorial", "/howto/", "/faq/", "/mvcc", "/ddl", "/queries", "/indexes", "/performance", "/planner")
LISTS = ("genindex", "bookindex", "/release", "/whatsnew/", "errcodes", "keywords", "/contents", "catalog-", "view-pg")
BUDGET = {"python-docs": 2_400_000, "postgresql-docs": 2_100_000}  # characters of text that ship
CHUNK = 1500  # characters of a labelled example
MAX_PAGE = 60_000  # characters; longer pages are generated listings


def pages(package: str, source: str) -> Iterator[tuple[str, str]]:
    """(url, text) of a package's HTML pages, in order of a hash of the url."""
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["apt-get", "download", "-q", package], cwd=work, check=True)
        subprocess.run(["dpkg-deb", "-x", next(Path(work).glob("*.deb")), f"{work}/root"], check=True)
        files = [f for f in Path(work, "root").rglob("*.html") if not f.is_symlink() and f.stat().st_size < 3_000_000]
        named = {f"{source}{str(f).partition('/html')[2]}": f for f in files}
        for url in sorted(named, key=lambda url: hashlib.sha256(url.encode()).hexdigest()):
            html = named[url].read_text(encoding="utf-8", errors="replace")
            yield url, extract_plain_text(html, main_content=False, alt_texts=False)


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """JSONL, zstd."""
    lines = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(lines))


def chunks(text: str) -> Iterator[str]:
    """Whole lines of about CHUNK characters."""
    part = ""
    for line in text.splitlines():
        part += line + "\n"
        if len(part) >= CHUNK:
            yield part
            part = ""


def main() -> None:
    """Write documents, labelled examples, faulty rows and a tokenizer."""
    DATA.mkdir(exist_ok=True)
    labelled: list[dict[str, str]] = []
    everything: list[str] = []
    faulty: list[bytes] = []
    for package, source in (("python3.11-doc", "python-docs"), ("postgresql-doc-15", "postgresql-docs")):
        documents, size = [], 0
        for url, text in pages(package, source):
            row = {"id": url, "text": text, "source": source}
            label = "1" if any(e in url for e in EXPLAINS) else "0" if any(e in url for e in LISTS) else None
            if label is not None:
                labelled += [{"label": label, "text": part} for part in list(chunks(text))[:12]]
            elif size < BUDGET[source] and 200 < len(text) < MAX_PAGE:
                documents.append(row)
                size += len(text)
        write(DATA / f"{source}.jsonl.zst", documents)
        everything += [row["text"] for row in documents]
        first, second, third = (orjson.dumps(row) for row in documents[:3])
        faulty += [first, second[: len(second) // 2], b'{"id": "no-text"}', third.replace(b"the ", b"\xff\xfe", 1)]
        faulty += [b'{"id": "number", "text": 5}', b'{"id": "empty", "text": "  "}']
    (DATA / "faulty.jsonl").write_bytes(b"\n".join(faulty) + b"\n")
    by_label = {name: [row for row in labelled if row["label"] == name] for name in "01"}
    even = min(map(len, by_label.values()), default=0)
    write(DATA / "labelled.jsonl.zst", [row for name in "01" for row in by_label[name][: min(even, 900)]])
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(everything, trainers.BpeTrainer(vocab_size=4096, initial_alphabet=alphabet))
    tokenizer.save(str(DATA / "tokenizer.json"), pretty=False)


if __name__ == "__main__":
    main()
