"""A loaded classifier: tables made once, then batches in, logits and probabilities out.

    model = load_classifier("model.bin")
    logits, counts = model.logits(texts)      # float64 (n, outputs), int64 (n,)
    model.from_logits(logits)                 # float64 (n, labels)

A document without a single feature (only possible in models that lack ``</s>``) has no score: its count is 0.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scorers.bits import read_only
from scorers.fasttext import Newline, cache, kernel, losses
from scorers.fasttext.fold import fold, is_pair, num_outputs
from scorers.fasttext.model import (
    HIERARCHICAL,
    LABEL_PREFIX,
    NEGATIVE,
    ONE_VS_ALL,
    Matrix,
    ModelFile,
    read_model,
)
from scorers.fasttext.rows import DENSE, FOLDED, QUANTISED, SCALAR, Rows
from scorers.fasttext.tokens import Tables, without_newlines
from scorers.fasttext.vocabulary import (
    build_front,
    build_gram_slots,
    build_slots,
    find_word,
)
from scorers.texts import Texts

if TYPE_CHECKING:
    import pyarrow as pa

_EVERYTHING = kernel.WORDS | kernel.GRAMS
_CHUNK = 1 << 22  # numbers of an intermediate array: bounds the memory of a batch of short documents
# The library adds rows in float32, and a row that is added m times adds its rounding error m times. Above this sum of
# m * m (natural text of some 45 kB) or this ratio of it to the number of features (one word 60 times: then the mean is
# large too) the error came near 1e-6 in trials; to agree is to repeat it. Character n-grams repeat more, and pruned
# models keep the largest rows, so models with subwords get a lower limit. See ``_heard`` for two labels.
_REPEATS, _SUBWORD_REPEATS, _SHARE = 1 << 18, 1 << 15, 30


@dataclass(frozen=True)
class Classifier:
    """labels: without the prefix, in the order of the file. ``mode`` and ``rows`` say what the kernel sums."""

    labels: list[str]
    loss: int
    pair: bool
    outputs: int
    dim: int
    tables: Tables
    mode: int
    rows: Rows
    raw_mode: int
    raw: Rows
    output: Rows
    children: np.ndarray
    file: ModelFile

    def without_eos(self) -> Classifier:
        """The same model with the weight of ``</s>`` set to zero (it still counts as a feature)."""
        eos = self.tables.eos
        rows = self.rows
        if eos >= 0 and self.mode in (SCALAR, FOLDED):
            table = self.rows.table.copy()
            table[eos * self.outputs : (eos + 1) * self.outputs] = 0
            rows = rows._replace(table=table)
        return replace(self, rows=rows._replace(skipped=eos), raw=self.raw._replace(skipped=eos))

    def logits(self, texts: Texts, newline: Newline = " ") -> tuple[np.ndarray, np.ndarray]:
        """Logits as float64 (n, outputs) and the number of features as int64 (n,).

        Probabilities made of them differ from the library's by less than 1e-6; the logits themselves may by more where
        the model is sure of a document that repeats much. ``outputs`` is 1 for a softmax of two labels (second minus
        first), labels - 1 for a hierarchical softmax (inner nodes), else the number of labels.
        """
        data, offsets = read_only(texts.data), texts.offsets.astype(np.int64, copy=False)
        if newline == "":
            kept = np.empty(texts.num_bytes + 1, np.uint8)
            kept_offsets = np.empty_like(offsets)
            without_newlines(data, read_only(offsets), kept, kept_offsets)
            data, offsets = read_only(kept), kept_offsets
        offsets = read_only(offsets)
        begins, stops = offsets[:-1], offsets[1:]
        num = len(begins)
        counts, squares = np.zeros(num, np.int64), np.zeros(num, np.int64)
        if self.mode not in (SCALAR, FOLDED):
            return self._raw_logits(data, begins, stops)
        logits, nothing = np.zeros((num, self.outputs)), np.zeros((num, 0), np.float32)
        kernel.sum_features(
            data, begins, stops, self.tables, self.rows, self.mode, _EVERYTHING, logits, nothing, counts, squares
        )
        logits /= np.maximum(counts, 1)[:, None]
        heard = _heard(logits[:, 0]) if self.pair else 1.0
        again = squares * heard > np.minimum(_SUBWORD_REPEATS if self.tables.maxn else _REPEATS, _SHARE * counts)
        if self.loss in (NEGATIVE, ONE_VS_ALL):
            again |= losses.near_step(logits, counts)
        chosen = np.flatnonzero(again)
        if len(chosen):
            exact, _ = self._raw_logits(data, read_only(begins[chosen]), read_only(stops[chosen]))
            usable = np.isfinite(exact).all(axis=1)  # absurd weights overflow float32 where the folded sum does not
            logits[chosen[usable]] = exact[usable]
            self.file.release()
        return logits, counts

    def _raw_logits(self, data: np.ndarray, begins: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The library's own way: float32 sums of rows, times 1/n, times B. Slower: a row is dim numbers."""
        num = len(begins)
        counts, squares = np.zeros(num, np.int64), np.zeros(num, np.int64)
        logits, nothing = np.zeros((num, 2 if self.pair else self.outputs)), np.zeros((num, 0))
        step = max(1, _CHUNK // self.dim)
        for start in range(0, num, step):
            part = slice(start, start + step)
            hidden = np.zeros((len(begins[part]), self.dim), np.float32)
            for kind in (kernel.WORDS, kernel.GRAMS):  # the library's order, in documents of any length
                kernel.sum_features(
                    data, begins[part], stops[part], self.tables, self.raw, self.raw_mode, kind,
                    nothing[part], hidden, counts[part], squares[part],
                )  # fmt: skip
            losses.multiply_output(hidden, counts[part], self.output, logits[part])
        return (logits[:, 1:] - logits[:, :1] if self.pair else logits), counts

    def from_logits(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities of the labels, float64 (n, labels)."""
        if self.pair:
            second = losses.sigmoid(logits[:, 0])
            return np.stack([losses.sigmoid(-logits[:, 0]), second], axis=1)
        if self.loss == HIERARCHICAL:
            return losses.hierarchical(logits, self.children)
        return losses.stepped_sigmoid(logits) if self.loss in (NEGATIVE, ONE_VS_ALL) else losses.softmax(logits)

    def probabilities(self, texts: pa.Array | pa.ChunkedArray, newline: Newline = " ") -> pa.Table:
        """One float32 column per label (named without ``__label__``), in the order of the file; null for a null text.

        texts: string or large_string. newline: what a newline becomes; "" joins the words around it.
        """
        import pyarrow as pa

        batch = Texts.from_arrow(texts)
        logits, counts = self.logits(batch, newline)
        values = self.from_logits(logits).astype(np.float32)
        missing = counts == 0
        if texts.null_count:
            missing |= np.asarray(
                texts.is_null().to_numpy(zero_copy_only=False)
                if isinstance(texts, pa.Array)
                else texts.is_null().to_numpy(),
                bool,
            )
        return pa.table([pa.array(column, mask=missing) for column in values.T], names=self.labels)


def _heard(logits: np.ndarray) -> np.ndarray:
    """How much of the error of a difference of logits x its probability p has: 1 at x = 0, little where p is sure.

    The slope of p, p (1 - p), by the error's growth: rows that make a large mean lose more in float32.
    """
    size = np.minimum(np.abs(logits), 700.0)  # the cosine of more is no float
    return np.maximum(size, 1.0) / np.cosh(size / 2) ** 2


def load_classifier(path: str | os.PathLike[str]) -> Classifier:
    """Read, check and fold a model; see ``scorers.fasttext.load``. What was folded is kept (cache.py)."""
    name = os.fspath(path)
    before = os.stat(name)
    model = read_model(name)
    arrays = cache.recall(name)
    if arrays is None:
        arrays = _fold(model)
        cache.keep(name, before, arrays)
    raw_mode, raw = _raw_rows(model.input)
    outputs = num_outputs(model)
    mode, rows = raw_mode, raw
    if len(arrays["folded"]):
        mode = SCALAR if outputs == 1 else FOLDED
        rows = _no_rows()._replace(table=arrays["folded"], width=outputs)
    return Classifier(
        labels=[label.removeprefix(LABEL_PREFIX) for label in model.labels],
        loss=model.loss,
        pair=is_pair(model),
        outputs=outputs,
        dim=model.dim,
        tables=_tables(model, arrays),
        mode=mode,
        rows=rows,
        raw_mode=raw_mode,
        raw=raw,
        output=_output_rows(model.output),
        children=losses.tree(model.label_counts) if model.loss == HIERARCHICAL else np.zeros((0, 2), np.int64),
        file=model,
    )


def _fold(model: ModelFile) -> dict[str, np.ndarray]:
    """What takes time to make: the folded rows (none if raw ones are the better choice), and the dictionary."""
    folded = fold(model)
    outputs = num_outputs(model)
    scores = np.zeros(0, np.float32) if folded is None or outputs > 1 else folded[: model.num_words, 0]
    slots, rests = build_slots(model.strings, model.starts, np.ascontiguousarray(scores), max(model.bucket, 1))
    # a row of zeros for words that have none
    table = [] if folded is None else [folded.reshape(-1), np.zeros(outputs, np.float32)]
    return {
        "folded": np.concatenate([*table, np.zeros(0, np.float32)]),
        "slots": slots,
        "rests": rests,
        "front": build_front(slots, model.strings, model.starts, model.num_words),
    }


def _tables(model: ModelFile, arrays: dict[str, np.ndarray]) -> Tables:
    bucket = max(model.bucket, 1)
    eos = np.frombuffer(b"</s>", np.uint8)
    row = find_word(arrays["slots"], arrays["rests"], eos, 0, 4)
    return Tables(
        front=arrays["front"],
        slots=arrays["slots"],
        rests=arrays["rests"],
        gram_slots=build_gram_slots(model.pruned),
        num_words=model.num_words,
        eos=int(row) if row < model.num_words else -1,
        plain_labels=all(label.startswith(LABEL_PREFIX) for label in model.labels),
        bucket=bucket,
        inverse=np.uint64((2**64 - 1) // bucket),
        word_ngrams=model.word_ngrams if model.pruned is None or len(model.pruned) else 0,
        minn=model.minn,
        maxn=model.maxn if model.pruned is None or len(model.pruned) else 0,
    )


def _no_rows() -> Rows:
    floats, codes = np.zeros(0, np.float32), read_only(np.zeros(0, np.uint8))
    return Rows(floats, 0, codes, 0, 0, 0, codes, read_only(floats.copy()), codes, read_only(floats.copy()), -1)


def _raw_rows(matrix: Matrix) -> tuple[int, Rows]:
    rows = _no_rows()._replace(width=matrix.cols)
    if not matrix.groups:
        return DENSE, rows._replace(data=read_only(matrix.data), offset=matrix.offset)
    return QUANTISED, rows._replace(
        groups=matrix.groups,
        group_width=matrix.width,
        codes=read_only(matrix.codes),
        centroids=read_only(matrix.centroids),
        norm_codes=read_only(matrix.norm_codes),
        norm_centroids=read_only(matrix.norm_centroids),
    )


def _output_rows(matrix: Matrix) -> Rows:
    """B for ``losses.multiply_output``: quantised as it is, dense copied to where its floats are aligned."""
    mode, rows = _raw_rows(matrix)
    if mode == DENSE:
        return _no_rows()._replace(width=matrix.cols, table=matrix.block(0, matrix.rows).copy().reshape(-1))
    return rows
