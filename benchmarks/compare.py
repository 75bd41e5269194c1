"""Sides of a comparison, interleaved: A B C, B C A, C A B, ... over parts that together are the corpus.

Every side is a process of its own, bound to one core, with data and model loaded before the clock starts; while one
works the others wait for their next line of input.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks import corpus, model, peers
from benchmarks.common import DATA, DOCUMENTS, MODEL, ONE_THREAD, ROOT, measured_cores, needed, say
from benchmarks.statistics import compare, median


@dataclass(frozen=True)
class Side:
    """One competitor. venv: environment in peers.py; None: Tamis' own. includes: what the clock covers."""

    label: str
    module: str
    includes: str
    venv: str | None = None
    arguments: tuple[str, ...] = ()


FASTTEXT = [
    Side("Tamis", "tamis_fasttext", "Arrow text to one probability column per label", None, (str(MODEL),)),
    Side(
        "fastText 0.9.3, list",
        "library_fasttext",
        "predict(list of str, k=2); newlines replaced beforehand",
        "fasttext",
        (str(MODEL), "fasttext"),
    ),
    Side(
        "fasttext-modern, list",
        "library_fasttext",
        "predict(list of str, k=2); newlines replaced beforehand",
        None,
        (str(MODEL), "fasttext-modern"),
    ),
    Side(
        "datatrove FastTextClassifierFilter",
        "datatrove_fasttext",
        "filter(document), label scores saved, nothing dropped; Document objects made beforehand",
        "datatrove",
        (str(MODEL),),
    ),
]
REPETITION = [
    Side("Tamis", "tamis_scorer", "Arrow text to all its columns, word split included", None, ("repetition",)),
    Side(
        "datatrove GopherRepetitionFilter",
        "datatrove_repetition",
        "filter(document), which stops at the first broken rule; Document objects made beforehand",
        "datatrove",
    ),
    Side(
        "dolma gopher_v2",
        "dolma_gopher",
        "predict(document): all its attributes, spans included; Document objects made beforehand",
        "dolma",
    ),
]
MINHASH = [
    Side("Tamis", "tamis_minhash", "Arrow text to 20 band keys of 120 values of folded word 5-grams"),
    Side(
        "datatrove MinHash signature",
        "datatrove_minhash",
        "get_shingles and get_signature: 112 values of simplified word 5-grams",
        "datatrove",
    ),
    Side("rensa, words", "rensa_minhash", "str.split, then 120 values of the words", "rensa", ("words",)),
    Side("rensa, 5-grams", "rensa_minhash", "str.split and joined 5-grams, then 120 values", "rensa", ("grams",)),
]


class Process:
    """A running side; `seconds` it may take for one answer is not bounded: slow peers take minutes."""

    def __init__(self, side: Side, core: int, folder: Path):
        self.side = side
        python = sys.executable if side.venv is None else str(peers.python_of(side.venv))
        command = [python, "-m", f"benchmarks.sides.{side.module}", str(core), str(folder), *side.arguments]
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.versions: dict[str, str] = self._answer()["versions"]

    def measure(self, part: int) -> dict[str, Any]:
        """Do one part. Raises RuntimeError if the process died."""
        assert self._process.stdin
        self._process.stdin.write(f"{part}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.side.label} died with exit code {self._process.wait()}; its words are above")
        return json.loads(line)


def fasttext(megabytes: float, parts: int) -> dict[str, Any]:
    """Tamis beside the library and datatrove's fastText filter, on the pinned model."""
    return {"model": model.facts(), **interleaved(FASTTEXT, megabytes, parts)}


def repetition(megabytes: float, parts: int) -> dict[str, Any]:
    """Tamis' repetition metrics beside datatrove's and dolma's."""
    return interleaved(REPETITION, megabytes, parts)


def minhash(megabytes: float, parts: int) -> dict[str, Any]:
    """Tamis' signatures beside datatrove's and rensa's."""
    return interleaved(MINHASH, megabytes, parts)


def interleaved(sides: list[Side], megabytes: float, parts: int) -> dict[str, Any]:
    """Measure; a peer that is not installed, cannot start or dies is named under `missing`, the others go on.

    Raises RuntimeError if the first side, which the others are compared with, cannot be measured.
    """
    folder, size, documents = write_parts(megabytes, parts)
    core = measured_cores(1)[0]
    missing: dict[str, str] = {}
    running: list[Process] = []
    measured: dict[str, list[dict[str, Any]]] = {}

    def lost(side: Side, why: str) -> None:
        if side is sides[0]:
            raise RuntimeError(why)
        say(f"left out: {side.label}: {why}")
        missing[side.label] = why
        measured.pop(side.label, None)

    try:
        for side in sides:
            if side.venv is not None and not peers.installed(side.venv):
                lost(side, f"environment {side.venv} is not made; `make bench-peers` makes it")
                continue
            try:
                running.append(Process(side, core, folder))
                say(f"{side.label}: ready ({', '.join(f'{k} {v}' for k, v in running[-1].versions.items())})")
            except RuntimeError as error:
                lost(side, str(error))
        for part in range(parts):
            for turn in range(len(running)):
                process = running[(part + turn) % len(running)]
                if process.side.label in missing:
                    continue
                try:
                    answer = process.measure(part)
                except RuntimeError as error:
                    lost(process.side, str(error))
                    continue
                answer["mb_per_s"] = answer["bytes"] / 1e6 / answer["seconds"]
                measured.setdefault(process.side.label, []).append(answer)
                say(f"part {part + 1}/{parts} {process.side.label}: {answer['mb_per_s']:.2f} MB/s")
    finally:
        for process in running:
            process.close()
        shutil.rmtree(folder)
    versions = {process.side.label: process.versions for process in running}
    return {
        "megabytes": size / 1e6,
        "documents": documents,
        "parts": parts,
        "sides": [_summary(side, measured, versions, sides[0]) for side in sides if side.label in measured],
        "missing": missing,
    }


def write_parts(megabytes: float, parts: int) -> tuple[Path, int, int]:
    """The first MB of the corpus as part-NN.jsonl: (folder, bytes of text, documents)."""
    needed(DOCUMENTS, "bench-data")
    folder = DATA / f"parts-{os.getpid()}"
    folder.mkdir()
    size = documents = 0
    for number, table in enumerate(corpus.parts(corpus.first_megabytes(megabytes), parts)):
        texts = table.column("text").to_pylist()
        with (folder / f"part-{number:02d}.jsonl").open("wb") as file:
            file.writelines(orjson.dumps({"text": text}) + b"\n" for text in texts)
        size += sum(len(text.encode()) for text in texts)
        documents += len(texts)
    return folder, size, documents


def _summary(
    side: Side, measured: dict[str, list[dict[str, Any]]], versions: dict[str, dict[str, str]], ours: Side
) -> dict[str, Any]:
    """A side's medians, and how many times as fast the first side is."""
    rows = measured[side.label]
    rates = [row["mb_per_s"] for row in rows]
    summary: dict[str, Any] = {
        "label": side.label,
        "includes": side.includes,
        "versions": versions[side.label],
        "mb_per_s": median(rates),
        "documents_per_s": median([row["documents"] / row["seconds"] for row in rows]),
        # Below 1: a neighbour had the core for a part of the time.
        "share_of_core": sum(row["cpu"] for row in rows) / sum(row["seconds"] for row in rows),
        "rows": rows,
    }
    if side is not ours:
        summary["tamis_is_times_as_fast"] = asdict(compare([row["mb_per_s"] for row in measured[ours.label]], rates))
    return summary
