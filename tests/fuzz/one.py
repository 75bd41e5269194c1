"""One target under atheris (libFuzzer), in a process of its own: python -m tests.fuzz.one TARGET [libFuzzer's flags...]

Coverage comes from the Python code that parses; what Numba compiles is left as it is, because it could not compile
instrumented code, and what Arrow, DuckDB and tokenizers do in C++ and Rust is not seen.
"""

from __future__ import annotations

import sys

import atheris

COMPILED = ["pipeline.ingest.scan", "pipeline.trainer.plan", "pipeline.trainer.packed", "pipeline.trainer.batches"]
PARSERS = ["pipeline", "yaml", "jinja2", "csv", "scorers.fasttext.model", "scorers.ghosts.windows", "scorers.lengths"]


def main() -> None:
    """Fuzz until libFuzzer ends it."""
    name, *flags = sys.argv[1:]
    with atheris.instrument_imports(include=PARSERS, exclude=COMPILED):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]

    def one(data: bytes) -> None:
        target.attempt(data)

    atheris.Setup([sys.argv[0], *flags], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
