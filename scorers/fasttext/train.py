"""Train a fastText classifier with the fastText library, bit for bit the same every time.

    train([("1", "good text"), ("0", "bad text"), ...], "model.bin", TrainSettings())
    train("labelled.jsonl", "model.bin", TrainSettings(epoch=3))     # rows {"label": ..., "text": ...}

The library needs care. It leaves nine tenths or more of the input matrix uninitialised when it trains with one
thread, and trains differently every time with more. So it runs in a process of its own, with one thread, and with the
C library told to hand out zeroed memory (glibc fills memory with ``perturb`` xor 255; its per-thread cache, which skips
the filling, is off). What lay in the heap before, and MALLOC_* variables of the user, then change nothing. On systems
without glibc the memory of a fresh process has to do; every weight is checked in any case.

Rows are put in an order drawn from ``seed`` and their content, so the model does not depend on the order they come in.
Text means what it means when it is scored: newlines are spaces, a literal ``</s>`` ends the text, and tokens that begin
with ``__label__`` are left out (the library would take them for labels). Defaults are those of the PreSelect paper.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_PREFIX = b"__label__"
_SEPARATORS = re.compile(rb"[ \n\r\t\v\f\0]+")
_LARGEST_WEIGHT = 1e6  # trained weights are below 100; uninitialised memory is not

_CHILD = """
import json, sys
import fasttext
source, target, options = json.loads(sys.argv[1])
fasttext.train_supervised(source, **options, thread=1, verbose=0).save_model(target)
"""
_MEMORY = "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0"

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


class TrainSettings(BaseModel):
    """Names and meaning as in the fastText library; minn and maxn are the lengths of character n-grams (0: none)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: Annotated[float, Field(gt=0)] = 0.1
    dim: Positive = 100
    epoch: Positive = 5
    word_ngrams: Positive = 2
    min_count: Positive = 1
    bucket: Positive = 2_000_000
    minn: Count = 0
    maxn: Count = 0
    loss: Literal["softmax", "ova", "hs", "ns"] = "softmax"
    seed: Count = 0


def train(
    rows: str | os.PathLike[str] | Iterable[tuple[str, str]], out_path: str | os.PathLike[str], settings: TrainSettings
) -> None:
    """Train on (label, text) rows, or on a JSONL file of them, and write the model to ``out_path`` in one step.

    Raises ValueError for rows that are not (label, text) in UTF-8, for no row and for fewer than two labels;
    RuntimeError if the library fails.
    """
    pairs = _read_jsonl(Path(rows)) if isinstance(rows, (str, os.PathLike)) else enumerate(rows, 1)
    lines, labels = [], set()
    for number, row in pairs:
        line, label = _training_line(number, row)
        lines.append(line)
        labels.add(label)
    if not lines:
        raise ValueError("no training rows: expected (label, text) rows of two labels or more")
    if len(labels) < 2:
        raise ValueError(f"all {len(lines)} training rows have the label {labels.pop()!r}: expected two labels or more")
    seed = str(settings.seed).encode()
    lines.sort(key=lambda line: (hashlib.blake2b(line, digest_size=16, key=seed).digest(), line))
    target = Path(out_path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".training-", dir=target.parent) as work:
        source, made = os.path.join(work, "rows.txt"), os.path.join(work, "model.bin")
        with open(source, "wb") as file:
            file.writelines(lines)
        _run_library(source, made, settings)
        check_weights(made)
        with open(made, "rb") as file:
            os.fsync(file.fileno())
        os.replace(made, target)


def check_weights(path: str | os.PathLike[str]) -> None:
    """Raise RuntimeError unless every weight of the model is finite and of a size that training can give."""
    import numpy as np

    from scorers.fasttext.fold import blocks
    from scorers.fasttext.model import read_model

    model = read_model(os.fspath(path))
    for name, matrix in (("input", model.input), ("output", model.output)):
        for start, stop in blocks(matrix):
            if not (np.abs(matrix.block(start, stop)) <= _LARGEST_WEIGHT).all():
                raise RuntimeError(
                    f"training went wrong: rows {start} to {stop} of the {name} matrix hold weights that are "
                    f"not finite or above {_LARGEST_WEIGHT:g}; a lower lr may help"
                )


def _read_jsonl(path: Path) -> Iterator[tuple[int, object]]:
    import orjson

    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise ValueError(f"{path}: line {number}: {error}; expected JSON in UTF-8") from None
            if not isinstance(row, dict) or not {"label", "text"} <= row.keys():
                raise ValueError(f'{path}: line {number}: expected an object with "label" and "text"')
            yield number, (row["label"], row["text"])


def _training_line(number: int, row: object) -> tuple[bytes, str]:
    """The row as a line of the library's format, and its label."""
    if not (isinstance(row, tuple) and len(row) == 2 and all(isinstance(part, str) for part in row)):
        raise ValueError(f"training row {number}: expected two strings, label and text, found {row!r:.80}")
    label, text = row
    try:
        name, content = label.encode("utf-8"), text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"training row {number}: not valid Unicode: {error}") from None
    if not name or _SEPARATORS.search(name):
        raise ValueError(f"training row {number}: the label {label!r:.80} is empty or holds white space")
    content = content.replace(b"\n", b" ")
    if b"</s>" in content or _PREFIX in content:
        tokens = _SEPARATORS.split(content)
        if b"</s>" in tokens:
            tokens = tokens[: tokens.index(b"</s>")]
        content = b" ".join(token for token in tokens if not token.startswith(_PREFIX))
    return _PREFIX + name + b" " + content + b"\n", label


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process in which the library finds zeros wherever it forgets to write."""
    kept = {name: value for name, value in environment.items() if not name.startswith("MALLOC_")}
    return kept | {"GLIBC_TUNABLES": _MEMORY}


def _run_library(source: str, target: str, settings: TrainSettings) -> None:
    """The library in a fresh process with zeroed memory."""
    names = {"word_ngrams": "wordNgrams", "min_count": "minCount"}
    options = {names.get(name, name): value for name, value in settings.model_dump().items()}
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CHILD, json.dumps([source, target, options])],
        env=clean_environment(os.environ),
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode != 0 or not os.path.exists(target):
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise RuntimeError(f"the fastText library failed (exit code {done.returncode}): {last}")
