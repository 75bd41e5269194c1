"""Questions and answers from Debian's documentation, as conversations.

foldoc    entries of the Free On-line Dictionary of Computing (package dict-foldoc, GFDL): "What is X?", and the entry
          as it stands, with its cross-references in braces, dates and sources
faq       the Perl FAQ (package perl-doc, Artistic or GPL): its questions, and the answers as they stand, in POD

Both packages are downloaded with apt-get and unpacked without being installed.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = ("dict-foldoc", "perl-doc")
SHORTEST, LONGEST = 80, 2000
"""Characters of an answer."""
_ENTRY = re.compile(r"^(\S[^\n]*)\n((?:\n|[ \t]+\S[^\n]*\n)+)", re.MULTILINE)
_QUESTION = re.compile(r"^=head2 (.+\?)\s*$", re.MULTILINE)


def conversations(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """{source: conversations with id, source, messages}, downloaded if they are not in the folder yet."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PACKAGES if not list(folder.glob(f"{name}_*.deb"))]
    if missing and subprocess.run(["apt-get", "download", "-q", *missing], cwd=folder).returncode:
        sys.exit(f"apt-get could not download {' '.join(missing)}; run `apt-get update` once, then this again")
    with tempfile.TemporaryDirectory() as place:
        for name in PACKAGES:
            subprocess.run(["dpkg-deb", "-x", str(next(folder.glob(f"{name}_*.deb"))), place], check=True)
        dictionary = gzip.decompress(next(Path(place).rglob("foldoc.dict.dz")).read_bytes()).decode("utf-8", "replace")
        pods = [path.read_text(encoding="utf-8") for path in sorted(Path(place).rglob("perlfaq[1-9].pod"))]
    return {
        "foldoc": [_row("foldoc", n, *pair) for n, pair in enumerate(_foldoc(dictionary))],
        "faq": [_row("faq", n, *pair) for n, pair in enumerate(pair for pod in pods for pair in _faq(pod))],
    }


def _row(source: str, number: int, question: str, answer: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"id": f"{source}-{number:05d}", "source": source, "messages": messages}


def _foldoc(text: str) -> Iterator[tuple[str, str]]:
    for match in _ENTRY.finditer(text[text.index("\nAcknowledgements") :]):
        names, body = match[1].split("%%%")[0].strip(), match[2]
        answer = "\n".join(line.strip() for line in body.strip().splitlines())
        if SHORTEST <= len(answer) <= LONGEST:
            yield f"What is {names}?", answer


def _faq(pod: str) -> Iterator[tuple[str, str]]:
    parts = _QUESTION.split(pod)
    for question, answer in zip(parts[1::2], parts[2::2], strict=True):
        answer = re.split(r"^=(?:head1|cut)", answer, maxsplit=1, flags=re.MULTILINE)[0].strip()
        if SHORTEST <= len(answer) <= LONGEST:
            yield question.strip(), answer
