"""One target under atheris (libFuzzer), in a process forked for it: what is imported and instrumented once serves all.

    targets = load()
    ended = fuzzed(targets["csv"], 60, ["-max_len=4096", "corpus"], log)    # exit status, seconds of the processor

Coverage comes from the Python code that parses; what Numba compiles is left as it is, because it could not compile
instrumented code, and what Arrow, DuckDB and tokenizers do in C++ and Rust is not seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import resource
import sys
import time
import traceback
from pathlib import Path

import atheris

from tests.fuzz.target import Target

ROOT = Path(__file__).parents[2]
KERNELS = re.compile(r"^(?:from|import) (?:numba|scorers\.jit|scorers\.bits)\b", re.MULTILINE)
PARSERS = ["pipeline", "scorers", "yaml", "jinja2", "csv"]
"""Whole packages: atheris looks at the first part of a name alone."""


def compiled() -> list[str]:
    """Modules whose functions Numba compiles, all that there are: it fails on instrumented code, or takes minutes."""
    files = [path for package in ("pipeline", "scorers") for path in sorted((ROOT / package).rglob("*.py"))]
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files if KERNELS.search(path.read_text())
    ]


def load() -> dict[str, Target]:
    """The targets, with their parsers instrumented."""
    with atheris.instrument_imports(include=PARSERS, exclude=compiled()):
        from tests.fuzz.targets import TARGETS
    return TARGETS


def fuzzed(target: Target, seconds: float, flags: list[str], log: Path, limit: int | None = None) -> tuple[int, float]:
    """Fuzz in a child until it has used so many seconds of the processor: a machine that does other things must not
    shorten a run. limit: seconds after which the child is killed. Returns what os.wait4 says, and the seconds used."""
    child = os.fork()
    if child == 0:
        try:
            with log.open("ab", 0) as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
            _child(target, seconds, flags, log.parent / "artifacts")
        finally:
            os._exit(99)
    _, status, used = os.wait4(child, 0)
    return status, used.ru_utime + used.ru_stime


def _warm(target: Target) -> None:
    """Have everything imported and compiled that the seeds need: that may take longer than a target is given."""
    for seed in target.seeds:
        with contextlib.suppress(BaseException):  # the fuzzer tries them again, and tells
            target.attempt(seed)


def _child(target: Target, seconds: float, flags: list[str], artifacts: Path) -> None:
    corpus = Path(flags[-1])
    if corpus.is_dir():
        for number, seed in enumerate(target.seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
    executed = 0
    end = None

    def one(data: bytes) -> None:
        nonlocal executed, end
        if end is None:
            _warm(target)
            end = time.process_time() + seconds
        found = None
        try:
            target.attempt(data)
        except BaseException as error:
            found = error
            (artifacts / f"crash-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
            traceback.print_exception(error)
        executed += 1
        if found is not None or time.process_time() > end:
            print(f"stat::number_of_executed_units: {executed}", file=sys.stderr, flush=True)
            os._exit(0 if found is None else 77)  # an exit of Python's own would lose both

    atheris.Setup([sys.argv[0], *flags], one)
    atheris.Fuzz()
