"""Real, distinct text: Debian's manuals as documents of 1 to 4 KB. `python -m benchmarks.corpus` (make bench-data).

Packages are downloaded with apt-get, unpacked without being installed, turned to text, and each page is cut at line
ends into documents; exact duplicates are dropped and the rest is shuffled, so that any stretch of the corpus is a fair
sample of it. These are manuals in some twenty languages, not the open web.

Written to benchmarks/.data: documents.parquet and documents.jsonl.zst, both with `id`, `text`, `source`. Where there is
no apt, put any documents.parquet with these columns there; the JSONL is then made from it.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
import zstandard

from benchmarks import peers
from benchmarks.common import DATA, DOCUMENTS, FULL_MB, HERE, JSONL, say, shown

PACKAGES = [
    "debian-handbook",
    "erlang-doc",
    "installation-guide-amd64",
    "libboost1.74-doc",
    "linux-doc-6.1",
    "llvm-14-doc",
    "perl-doc",
    "postgresql-doc-15",
    "python-django-doc",
    "python3.11-doc",
    "sqlite3-doc",
]
SHORTEST, LONGEST = 1024, 4096
"""Bytes of a document."""
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("source", pa.string())])


def cut(lines: Iterable[bytes], draw: random.Random) -> Iterator[bytes]:
    """Cut a page into documents of SHORTEST to LONGEST bytes, at line ends where lines are no longer than SHORTEST.

    Every byte is kept but a last piece shorter than SHORTEST and the space around a document.
    """
    parts: list[bytes] = []
    size, target = 0, draw.randint(SHORTEST + 16, LONGEST - SHORTEST)
    for piece in (piece for line in lines for piece in _pieces(line)):
        parts.append(piece)
        size += len(piece)
        if size >= target:
            text = b"".join(parts).strip()
            if len(text) < SHORTEST:
                parts, size = [text, b"\n"], len(text) + 1
                continue
            yield text
            parts, size = [], 0
            target = draw.randint(SHORTEST + 16, LONGEST - SHORTEST)
    text = b"".join(parts).strip()
    if len(text) >= SHORTEST:
        yield text


def _pieces(line: bytes) -> Iterator[bytes]:
    """A line in pieces of at most SHORTEST bytes: after a space where there is one, never within a character."""
    while len(line) > SHORTEST:
        end = line.rfind(b" ", 1, SHORTEST) + 1
        if not end:
            end = SHORTEST
            while line[end] & 0xC0 == 0x80:
                end -= 1
        yield line[:end]
        line = line[end:]
    yield line


def make() -> None:
    """Make both files of documents unless they are there."""
    if not DOCUMENTS.exists():
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            sys.exit(
                "the corpus is made of Debian packages, and apt-get or dpkg-deb is not here: put any Parquet file with "
                f"the string columns id, text and source at {shown(DOCUMENTS)} and run this again"
            )
        peers.install("text")
        write_parquet(_documents())
    if not JSONL.exists():
        write_jsonl()
    table = pq.read_table(DOCUMENTS, columns=["text"])
    size = pc.sum(pc.binary_length(table.column("text"))).as_py() / 1e6
    say(f"{shown(DOCUMENTS)}: {table.num_rows} documents, {size:.0f} MB")
    if size < FULL_MB:
        say(f"that is less than the {FULL_MB:.0f} MB a measurement needs")


def _documents() -> list[tuple[str, bytes]]:
    """(source, text) of all packages: distinct, shuffled with a fixed seed."""
    debs = DATA / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PACKAGES if not list(debs.glob(f"{name}_*.deb"))]
    if missing:
        done = subprocess.run(["apt-get", "download", "-q", *missing], cwd=debs)
        if done.returncode:
            sys.exit(f"apt-get could not download {' '.join(missing)}; run `apt-get update` once, then this again")
    seen: dict[bytes, str] = {}
    for name in PACKAGES:
        before = len(seen)
        for page in _pages(next(debs.glob(f"{name}_*.deb")), name):
            lines = orjson.loads(page)["text"].encode("utf-8", "replace").splitlines(keepends=True)
            for text in cut(lines, random.Random(xxhash.xxh3_64_intdigest(page))):
                seen.setdefault(text, name)
        say(f"{name}: {len(seen) - before} documents that were not there before")
    documents = [(source, text) for text, source in seen.items()]
    random.Random(0).shuffle(documents)
    return documents


def _pages(package: Path, name: str) -> list[bytes]:
    """Pages of one package as JSON lines. Exits if it holds none: a package that gives nothing is a mistake here."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True)
        done = subprocess.run(
            [str(peers.python_of("text")), str(HERE / "html_text.py"), folder, name],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
    if done.returncode:
        sys.exit(f"{package.name} gave no pages")
    return done.stdout.splitlines()


def write_parquet(documents: list[tuple[str, bytes]]) -> None:
    """Write documents.parquet; ids are hashes of the text."""
    ids = [xxhash.xxh3_64_hexdigest(text) for _, text in documents]
    texts = pa.array([text for _, text in documents], pa.large_binary()).cast(pa.large_string())
    table = pa.table([ids, texts, [source for source, _ in documents]], schema=SCHEMA)
    half = DOCUMENTS.with_suffix(".tmp")
    pq.write_table(table, half, compression="zstd", row_group_size=16_384)
    half.replace(DOCUMENTS)


def write_jsonl() -> None:
    """Write documents.jsonl.zst from documents.parquet."""
    half = JSONL.with_suffix(".tmp")
    with zstandard.open(half, "wb", zstandard.ZstdCompressor(level=3)) as out:
        for batch in pq.ParquetFile(DOCUMENTS).iter_batches(8192, columns=["id", "text", "source"]):
            for row in batch.to_pylist():
                out.write(orjson.dumps(row) + b"\n")
    half.replace(JSONL)


def first_megabytes(megabytes: float) -> pa.Table:
    """The first documents of the corpus that together reach so many MB of text (or all of them, if it is smaller)."""
    table = pq.read_table(DOCUMENTS, columns=SCHEMA.names).cast(SCHEMA).combine_chunks()
    ends = np.cumsum(pc.binary_length(table.column("text")).to_numpy())
    return table.slice(0, int(np.searchsorted(ends, megabytes * 1e6)) + 1)


def parts(table: pa.Table, count: int) -> list[pa.Table]:
    """Consecutive stretches of about equal bytes; together they are the table."""
    ends = np.cumsum(pc.binary_length(table.column("text")).to_numpy())
    edges = np.searchsorted(ends, np.arange(1, count) * (ends[-1] / count)) + 1
    return [table.slice(a, b - a) for a, b in zip([0, *edges], [*edges, table.num_rows], strict=True)]


if __name__ == "__main__":
    make()
