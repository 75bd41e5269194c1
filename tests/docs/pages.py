"""What the pages of the docs show: their commands, files and queries, with the marks that say how they are tested.

Above a fence, invisible to a reader:

    <!-- run -->               the commands are run, in order, in the page's own temporary folder
    <!-- run by .ci/run -->    a target of make that CI runs
    <!-- run by tests/... -->  the test of that path runs it
    <!-- file: a.yaml -->      the fence is written to this file first
and once a page:
    <!-- files: here=path/in/the/repository ... -->   <!-- prepare: a shell command -->

Commands without a mark are followed, before the next fence or heading, by a sentence that says "not run".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```[ ]*$", re.DOTALL | re.MULTILINE
)
MARK = re.compile(r"<!-- (run|run by [^ ]+|file: [^ ]+|demo|cookbook) -->\s*$")
COMMAND = re.compile(r"^\s*(\$ )?(tamis|make|torchrun|dask|pip|sbatch|kubectl|python) [^|=]", re.MULTILINE)
NOT_RUN = re.compile(r"\bnot run\b|\bnever run\b", re.IGNORECASE)
SHELL = ("", "sh", "bash", "console", "shell")


@dataclass(frozen=True)
class Fence:
    """A fence. mark: '' or what stands above it; after: the words that follow, up to the next fence or heading."""

    language: str
    code: str
    mark: str
    after: str

    @property
    def is_command(self) -> bool:
        """Whether it shows commands for a shell."""
        return self.language in SHELL and bool(COMMAND.search(self.code))

    @property
    def says_not_run(self) -> bool:
        """Whether a reader is told that it was not run."""
        return bool(NOT_RUN.search(self.after))


@dataclass(frozen=True)
class Page:
    """A page of the docs, or the README."""

    path: Path

    @property
    def name(self) -> str:
        """Relative to the repository."""
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        """As it stands."""
        return self.path.read_text(encoding="utf-8")

    @property
    def fences(self) -> list[Fence]:
        """All of them, in order."""
        found, text = [], self.text
        for match in FENCE.finditer(text):
            mark = MARK.search(text[: match.start()])
            after = re.split(r"^ *```|^#+ ", text[match.end() :], maxsplit=1, flags=re.MULTILINE)[0]
            code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
            found.append(Fence(match["language"].strip(), code, mark[1] if mark else "", after))
        return found

    def values(self, mark: str) -> list[str]:
        """What the page's marks of one name say."""
        return re.findall(rf"<!-- {mark}: (.*?) -->", self.text)

    @property
    def files(self) -> dict[str, str]:
        """{name in the folder: path in the repository} that its commands need."""
        pairs = [pair.partition("=") for line in self.values("files") for pair in line.split()]
        return {name: path for name, _, path in pairs}


def pages() -> list[Page]:
    """The README and all of the docs but the records of experiments and decisions, which are about their day."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [Page(path) for path in found if not {"decisions", "experiments"} & set(path.relative_to(ROOT).parts)]
