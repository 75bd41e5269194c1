"""The pinned classifier of the benchmarks: `python -m benchmarks.model` (make bench-model).

Dimension 100, word bigrams, 2 million buckets, softmax over two labels, every word kept: the documents of the
benchmark supply somewhat more than a million distinct words themselves, so nothing is added. Label 1 are the manuals
written as prose, label 0 the references; one epoch, because the weights are to be real, not good. Trained by the
fastText library through `scorers.fasttext.train`, so the same documents give the same bytes.

Written to benchmarks/.data/model.bin (about 1.2 GB) and model.json (what it holds).
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from benchmarks.common import DATA, DOCUMENTS, MODEL, NotReady, needed, say, shown

PROSE = {"debian-handbook", "installation-guide-amd64", "perl-doc", "sqlite3-doc"}
SETTINGS: dict[str, Any] = {
    "dim": 100,
    "word_ngrams": 2,
    "bucket": 2_000_000,
    "min_count": 1,
    "epoch": 1,
    "loss": "softmax",
}
WORDS = 1_000_000
FACTS = DATA / "model.json"


def rows() -> Iterator[tuple[str, str]]:
    """(label, text) of every document."""
    for batch in pq.ParquetFile(needed(DOCUMENTS, "bench-data")).iter_batches(8192, columns=["text", "source"]):
        for row in batch.to_pylist():
            yield ("1" if row["source"] in PROSE else "0"), row["text"]


def make() -> None:
    """Train unless the model is there. Exits if it knows fewer than WORDS words."""
    from scorers.fasttext.model import read_model
    from scorers.fasttext.train import TrainSettings, train

    if not MODEL.exists():
        say(f"training {shown(MODEL)}: one thread, a few minutes")
        begun = time.perf_counter()
        train(rows(), MODEL, TrainSettings(**SETTINGS))
        say(f"trained in {time.perf_counter() - begun:.0f} s")
    model = read_model(str(MODEL))
    facts: dict[str, Any] = {
        **SETTINGS,
        "words": int(model.num_words),
        "labels": list(model.labels),
        "bytes": MODEL.stat().st_size,
        "sha256": _sha256(),
    }
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")
    say(f"{shown(MODEL)}: {facts['words']:,} words, {facts['bytes'] / 1e6:.0f} MB")
    if facts["words"] < WORDS:
        sys.exit(f"the model knows {facts['words']:,} words, fewer than {WORDS:,}: it needs more distinct documents")


def facts() -> dict[str, Any]:
    """What the model holds, for results. Raises NotReady if it is not there."""
    needed(MODEL, "bench-model")
    return json.loads(needed(FACTS, "bench-model").read_text())


def _sha256() -> str:
    with MODEL.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    try:
        make()
    except NotReady as error:
        sys.exit(str(error))
