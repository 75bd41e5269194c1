"""Real text of two kinds for the recovery experiments, and a classifier that learns to tell them from labels.

The text is the demo's labelled chunks of two manuals: chapters that explain (label 1) and listings such as indexes and
change logs (label 0), in the order of their pages. Blocks of neighbouring chunks of one kind are dealt to domains at
random, so that a domain has its own share of explaining text, as websites do.

    documents = cut(chunks, BANDS["short"], each=3, random=np.random.default_rng(0))
    classifier_auc(documents, labels, held_out(documents, random), PAPER)
"""

from __future__ import annotations

import io
import json
import math
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import zstandard

from pipeline.preselect.evaluate import auc
from pipeline.preselect.train import train_rows
from scorers.fasttext.preselect import Settings, load
from scorers.fasttext.train import TrainSettings
from scorers.texts import Texts

DATA = Path(__file__).parents[1] / "configs" / "demo" / "data"
BANDS = {"short": (16, 64), "medium": (64, 256)}  # words
BLOCK, DOMAINS = 6, 40  # neighbouring chunks that stay together; domains that the blocks are dealt to
HELD_OUT = 0.3  # of the domains
PAPER = TrainSettings()
LONGER = TrainSettings(dim=16, bucket=100_000, lr=0.5, epoch=25)  # of configs/preselect-small, for a small pool
Chunks = dict[bool, list[str]]
"""The chunks of both kinds; True is explaining."""
_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Documents:
    """texts (D,); explaining: bool (D,); domain: int64 (D,); words: int64 (D,), by white space."""

    texts: list[str]
    explaining: np.ndarray
    domain: np.ndarray
    words: np.ndarray


def labelled_chunks() -> Chunks:
    """All labelled chunks of the demo, 558 of each kind."""
    with zstandard.open(DATA / "labelled.jsonl.zst", "rb") as file:
        rows = [json.loads(line) for line in io.TextIOWrapper(file, encoding="utf-8")]
    return {kind: [row["text"] for row in rows if row["label"] == label] for label, kind in (("1", True), ("0", False))}


def cut(chunks: Chunks, words: tuple[int, int], each: int, random: np.random.Generator) -> Documents:
    """Up to ``each`` documents from every chunk, one after another, of log-uniform lengths within ``words``."""
    texts, kinds, domains, lengths = [], [], [], []
    for kind, own in chunks.items():
        domain_of = random.integers(0, DOMAINS, math.ceil(len(own) / BLOCK))
        for number, chunk in enumerate(own):
            found = list(_WORD.finditer(chunk))
            start = 0
            for drawn in random.uniform(math.log(words[0]), math.log(words[1] + 1), each):
                stop = min(start + int(math.exp(drawn)), len(found))
                if stop - start < words[0]:
                    break
                texts.append(chunk[found[start].start() : found[stop - 1].end()])
                kinds.append(kind)
                domains.append(domain_of[number // BLOCK])
                lengths.append(stop - start)
                start = stop
    return Documents(texts, np.array(kinds), np.array(domains), np.array(lengths))


def held_out(documents: Documents, random: np.random.Generator) -> np.ndarray:
    """bool (D,): a share of the domains, whole."""
    domains = np.unique(documents.domain)
    return np.isin(documents.domain, random.choice(domains, math.ceil(HELD_OUT * len(domains)), replace=False))


def classifier_auc(documents: Documents, labels: np.ndarray, out: np.ndarray, settings: TrainSettings) -> float:
    """AUC against the kinds, over all held-out documents, of fastText trained on the labels of the others.

    labels: 1, 0 or -1 for neither (D,); out: bool (D,). NaN if no document of one of the labels is left to train on.
    """
    chosen = np.flatnonzero((labels >= 0) & ~out)
    rows = [(str(labels[doc]), documents.texts[doc]) for doc in chosen]
    if len({label for label, _ in rows}) < 2:
        return math.nan
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.bin"
        train_rows(rows, path, settings, zero_eos=True)
        scorer = load(Settings(model=path), {"model": path})
        texts = pa.array([documents.texts[doc] for doc in np.flatnonzero(out)], pa.large_string())
        _, logit = scorer.score(Texts.from_arrow(texts))
    return auc(logit.to_numpy(zero_copy_only=False), documents.explaining[out])
