"""The same faults done to Tamis, datatrove and dolma: kills and truncations, each resumed as its documentation says.

    python -m tests.faults.peers --fill          # make faults-peers; environments: make bench-peers

Each tool reads the same files (JSON lines, every other one compressed), with two processes: Tamis ingests and scores
lengths and repetition, datatrove runs its Gopher quality filter and keeps what it drops, dolma runs its Gopher tagger.
What an undisturbed run of the same tool writes for a document is the truth. After a fault the same command is run
again, at most twice; then every output is read, and documents are counted that are lost, doubled, or have other values.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq
import zstandard

from benchmarks.common import VENVS
from benchmarks.peers import installed, python_of
from pipeline.workspace import Workspace
from tests.end_to_end.conftest import DEMO, command
from tests.end_to_end.test_kill import children
from tests.faults import outcomes
from tests.faults.campaign import PAGE, ROOT

FILES, ROWS = 12, 25
SECONDS = 90
"""A run that takes longer hangs: undisturbed ones take a tenth of it."""
BEGIN, END = "<!-- peers -->\n", "<!-- /peers -->"
RESULTS = Path(__file__).parent / ".results" / "peers.jsonl"
Documents = dict[str, list[str]]
"""{id: values, a hash for each time the document is there}"""


@dataclass(frozen=True)
class Tool:
    """How a tool is called on a folder of inputs and one of outputs, and how its outputs are read and found."""

    name: str
    commands: Callable[[Path, Path], list[list[str]]]
    read: Callable[[Path], tuple[Documents, int]]
    """(documents, files that cannot be read)"""
    outputs: str
    idle: str = ""
    """What it says when it ends with an error because nothing is left to do: no word about any fault."""


@dataclass(frozen=True)
class Result:
    """One fault. hung: runs that had to be killed; said: the last run failed or named something; unreadable: files."""

    tool: str
    fault: str
    seed: int
    hung: int
    said: bool
    unreadable: int
    lost: int
    doubled: int
    wrong: int

    @property
    def clean(self) -> bool:
        """Whether everything is as in an undisturbed run."""
        return not (self.unreadable or self.lost or self.doubled or self.wrong)


def _tamis(source: Path, out: Path) -> list[list[str]]:
    workspace = ["-w", str(out), "--workers", "2"]
    return [
        [*command("ingest", source, "--corpus", "web", "--id", "id"), *workspace],
        [*command("score", "lengths", "repetition", "--corpus", "web"), *workspace],
    ]


def _read_tamis(out: Path) -> tuple[Documents, int]:
    """As Tamis reads itself: the shards that the ledger calls done."""
    found: Documents = {}
    workspace = Workspace(str(out))
    corpus, unreadable = workspace.corpus("web"), 0
    stages = sorted(corpus.score_stages())
    for shard in sorted(corpus.done):
        try:
            names = [corpus.file(shard), *(f"{s}/{shard}.parquet" for s in stages if workspace.rows(s)[shard].done)]
            if len(names) <= len(stages):
                continue
            tables = [pq.read_table(out / name, page_checksum_verification=True).to_pylist() for name in names]
        except (OSError, ValueError, KeyError):
            unreadable += 1
            continue
        for rows in zip(*tables, strict=True):
            found.setdefault(rows[0]["id"], []).append(_hash(rows))
    return found, unreadable


def _datatrove(source: Path, out: Path) -> list[list[str]]:
    script = ROOT / "benchmarks/sides/datatrove_files.py"
    return [[str(python_of("datatrove")), str(script), str(source), str(out / "data"), str(out / "logs"), "2"]]


def _dolma(source: Path, out: Path) -> list[list[str]]:
    program = str(VENVS / "dolma/bin/dolma")
    options = ["--documents", f"{source}/*", "--destination", str(out / "data"), "--experiment", "gopher"]
    options += ["--taggers", "gopher_v2", "--processes", "2"]
    return [[program, "tag", *options, "--work_dir.output", str(out / "done"), "--work_dir.input", str(out / "in")]]


def _read_lines(out: Path) -> tuple[Documents, int]:
    """JSON lines, compressed or not, as a reader of all files sees them."""
    found: Documents = {}
    unreadable = 0
    for path in sorted(p for p in (out / "data").rglob("*") if p.is_file()):
        try:
            data = path.read_bytes()
            data = gzip.decompress(data) if path.suffix == ".gz" else data
            rows = [json.loads(line) for line in data.splitlines() if line.strip()]
        except (OSError, EOFError, ValueError, zlib.error):
            unreadable += 1
            continue
        for row in rows:
            found.setdefault(row["id"], []).append(_hash(row))
    return found, unreadable


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


TOOLS = (
    Tool("Tamis", _tamis, _read_tamis, "corpora/web/part-*.parquet"),
    Tool("datatrove", _datatrove, _read_lines, "data/*/*.gz"),
    Tool("dolma", _dolma, _read_lines, "data/**/*.*", "Number of processes must be at least 1"),
)


def run(lines: list[list[str]], disturb: Callable[[subprocess.Popen[str]], None] | None = None) -> tuple[int, str]:
    """Run commands until one fails: (exit code, what was said); -1 if one hung and was killed."""
    text = ""
    code = 0
    for line in lines:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                line, stdout=said, stderr=said, text=True, env=environment, start_new_session=True, cwd=ROOT
            )
            if disturb is not None:
                disturb(process)
            try:
                code = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                code = -1
            _kill([process.pid, *children(process.pid)])
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            said.seek(0)
            text += said.read()
        if code:
            break
    return code, text


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _killing(worker: bool, rng: random.Random, seconds: float) -> Callable[[subprocess.Popen[str]], None]:
    moment = time.monotonic() + rng.uniform(0.3, 1.0) * seconds
    killed: list[int] = []

    def disturb(process: subprocess.Popen[str]) -> None:
        if killed:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(moment - time.monotonic(), 0.01))
        if process.poll() is None:
            below = children(process.pid)
            killed.extend([rng.choice(below)] if worker and below else [] if worker else [*below, process.pid])
            _kill(killed)

    return disturb


def fault(tool: Tool, kind: str, seed: int, source: Path, folder: Path, truth: Documents, seconds: float) -> Result:
    """Do one fault, resume, count."""
    rng = random.Random(f"{kind} {seed}")
    own, out = folder / "in" / "documents", folder / "out"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, own)
    disturb, cut = None, None
    if kind in ("run killed", "one process killed"):
        disturb = _killing(kind == "one process killed", rng, seconds)
    if kind == "input cut short, then whole":
        cut = rng.choice(sorted(own.iterdir()))
        cut.write_bytes(cut.read_bytes()[: int(cut.stat().st_size * rng.uniform(0.3, 0.9))])
    codes = [run(tool.commands(own, out), disturb)[0]]
    if cut is not None:
        shutil.copy2(source / cut.name, cut)
    if kind == "finished output cut short":
        chosen = rng.choice(sorted(p for p in out.glob(tool.outputs) if p.is_file()))
        chosen.write_bytes(chosen.read_bytes()[: int(chosen.stat().st_size * rng.uniform(0.3, 0.9))])
    for _ in range(2):
        code, text = run(tool.commands(own, out))
        code = 0 if code and tool.idle and tool.idle in text else code
        codes.append(code)
        if code == 0:
            break
    found, unreadable = tool.read(out)
    counts = Counter({key: len(values) for key, values in found.items()})
    lost = sum(key not in found for key in truth)
    wrong = sum(values[0] != truth.get(key, [""])[0] for key, values in found.items())
    doubled = sum(count > 1 for count in counts.values())
    return Result(tool.name, kind, seed, codes.count(-1), codes[-1] != 0, unreadable, lost, doubled, wrong)


KINDS = {"run killed": 8, "one process killed": 4, "input cut short, then whole": 6, "finished output cut short": 4}


def inputs(folder: Path) -> Path:
    """The files that all tools read."""
    source = folder / "documents"
    source.mkdir(parents=True)
    with zstandard.open(DEMO / "data/postgresql-docs.jsonl.zst", "rb") as file:
        rows = file.read().splitlines()
    for number in range(FILES):
        keep = [json.loads(row) for row in rows[number * ROWS : (number + 1) * ROWS]]
        lines = [json.dumps({"id": row["id"], "text": row["text"], "source": "manuals"}) for row in keep]
        data = ("\n".join(lines) + "\n").encode()
        name = source / f"{number:02d}.jsonl{'.gz' if number % 2 else ''}"
        name.write_bytes(gzip.compress(data, mtime=0) if number % 2 else data)
    return source


def table(results: list[Result]) -> str:
    """Markdown: a row per fault and tool."""
    head = ["fault", "tool", "tried", "as undisturbed", "an error names it", "not noticed by the tool"]
    head += ["runs that hung", "documents lost", "doubled", "wrong"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for kind in KINDS:
        for tool in TOOLS:
            own = [r for r in results if r.fault == kind and r.tool == tool.name]
            if not own:
                continue
            silent = [r for r in own if not r.clean and not r.said]
            cells = [kind, tool.name, len(own), sum(r.clean for r in own), sum(not r.clean and r.said for r in own)]
            cells += [len(silent), sum(r.hung for r in own)]
            cells += [sum(getattr(r, name) for r in silent) for name in ("lost", "doubled", "wrong")]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Do what is not done yet, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--each", type=int, default=99, help="at most so many faults of a kind")
    parser.add_argument("--fill", action="store_true", help="write the table into docs/faults.md")
    arguments = parser.parse_args()
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    known = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    results = [Result(**json.loads(line)) for line in known]
    done = {(r.tool, r.fault, r.seed) for r in results}
    todo = [
        (tool, kind, seed)
        for tool in TOOLS
        for kind, count in KINDS.items()
        for seed in range(min(count, arguments.each))
        if (tool.name, kind, seed) not in done and (tool.name == "Tamis" or installed(tool.name))
    ]
    with tempfile.TemporaryDirectory(prefix="tamis-peers-") as name:
        source = inputs(Path(name))
        truths: dict[str, tuple[Documents, float]] = {}
        for tool, kind, seed in todo:
            if tool.name not in truths:
                # In the same place as the disturbed ones: some tools write the path of the input into their records.
                own, begun = Path(name) / "one/in/documents", time.monotonic()
                shutil.rmtree(Path(name) / "one", ignore_errors=True)
                shutil.copytree(source, own)
                code, text = run(tool.commands(own, Path(name) / "one/out"))
                assert code == 0, text
                truth, unreadable = tool.read(Path(name) / "one/out")
                assert (len(truth), unreadable) == (FILES * ROWS, 0), tool.name
                truths[tool.name] = truth, time.monotonic() - begun
            result = fault(tool, kind, seed, source, Path(name) / "one", *truths[tool.name])
            results.append(result)
            with arguments.results.open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")
            print(result, file=sys.stderr, flush=True)
    text = table(results)
    print(text)
    if arguments.fill:
        outcomes.fill(PAGE, text, BEGIN, END)


if __name__ == "__main__":
    main()
