"""The process of one side: load everything once, then do part after part on request.

    python -m benchmarks.sides.datatrove_fasttext CORE FOLDER [ARGUMENT...]

FOLDER holds the parts as JSONL, part-00.jsonl and so on. The first line on stdout is {"versions": {...}}, then every
line on stdin is a part's number and the answer one line {"seconds", "cpu", "passes", "documents", "bytes"}.
A part is done again until MIN_SECONDS are over, each time in full. Garbage collection stays on: users have it on.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

MIN_SECONDS = 0.5


def texts_of(folder: str, part: int) -> list[str]:
    """The texts of one part."""
    with open(Path(folder) / f"part-{part:02d}.jsonl", encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def serve(prepare: Callable[[list[str]], Any], work: Callable[[Any], int], packages: list[str], folder: str) -> None:
    """Answer requests until stdin ends.

    prepare: texts of a part to what `work` takes; not timed. work: does the part, returns the number of documents
    done. packages: distributions whose versions the result names.
    """
    # Libraries print; the answers must stay apart from that.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work(prepare(texts_of(folder, 0)[:200]))  # compiles, loads models, fills caches
    _answer(answers, {"versions": {name: metadata.version(name) for name in packages}})
    for line in sys.stdin:
        texts = texts_of(folder, int(line))
        size = sum(len(text.encode()) for text in texts)
        prepared = prepare(texts)
        gc.collect()
        passes, seconds, cpu = 0, 0.0, 0.0
        while seconds < MIN_SECONDS:
            begun, begun_cpu = time.perf_counter(), time.process_time()
            done = work(prepared)
            seconds += time.perf_counter() - begun
            cpu += time.process_time() - begun_cpu
            passes += 1
            if done != len(texts):
                raise AssertionError(f"{done} documents done of {len(texts)}")
        count = passes * len(texts)
        _answer(answers, {"seconds": seconds, "cpu": cpu, "passes": passes, "documents": count, "bytes": passes * size})


def pin() -> list[str]:
    """Bind this process to the core named by the first argument; the arguments after it."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    return sys.argv[2:]


def _answer(answers: Any, values: dict[str, Any]) -> None:
    answers.write(json.dumps(values) + "\n")
    answers.flush()
