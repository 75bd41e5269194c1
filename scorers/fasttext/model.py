"""Reader of fastText's .bin and .ftz files (one container, versions up to 12).

Every count is checked against the bytes that are left before anything is allocated, and a file that does not fit
is a ValueError that names the file, the byte, the field and what was expected. Large parts stay in the mapped
file: a model of several GB costs no memory of its own until its rows are read.

    model = read_model("model.bin")
    model.labels            # ["__label__1", "__label__0"], in the order of the file
    model.input.rows        # words and buckets

Layout (little-endian, packed): magic, version, twelve int32 and a float64 of settings, dictionary, input matrix,
output matrix; a matrix is dense float32 or product-quantised (codes into 256 centroids per group of columns).
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MAGIC, NEWEST_VERSION = 793712314, 12
MOST_LABELLED = 10**15  # what a node of the tree of labels weighs before it is made, here and in the library
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
LABEL_PREFIX = "__label__"
MOST_GRAMS = 1000  # longer n-grams than this are no model's, and their cost would not be linear in the text

_ARGS = ("dim", "ws", "epoch", "min_count", "neg", "word_ngrams", "loss", "model", "bucket", "minn", "maxn", "rate")


@dataclass(frozen=True)
class Matrix:
    """float32 of shape (rows, cols). Dense: ``data`` is the file and the rows begin at byte ``offset``.

    Quantised (``groups`` > 0): ``codes`` is uint8 (rows * groups), ``centroids`` float32 (256 * cols) with the
    centroids of a group together, ``width`` columns per group (the last one has what is left). A row is the
    concatenation of its centroids, times ``norm_centroids[norm_codes[row]]`` when the norms are quantised too.
    """

    rows: int
    cols: int
    data: np.ndarray
    offset: int = 0
    groups: int = 0
    width: int = 0
    codes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    centroids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    norm_codes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    norm_centroids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop as float32 (stop - start, cols)."""
        count = stop - start
        if not self.groups:
            flat = self.data[self.offset + start * self.cols * 4 : self.offset + stop * self.cols * 4]
            return np.frombuffer(flat, "<f4").reshape(count, self.cols)
        out = np.empty((count, self.cols), np.float32)
        codes = self.codes[start * self.groups : stop * self.groups].reshape(count, self.groups)
        for group in range(self.groups):
            first = group * self.width
            last = min(first + self.width, self.cols)
            table = self.centroids[first * 256 : last * 256].reshape(256, last - first)
            out[:, first:last] = table[codes[:, group]]
        if len(self.norm_codes):
            out *= self.norm_centroids[self.norm_codes[start:stop], None]
        return out


@dataclass(frozen=True)
class ModelFile:
    """One supervised model. Word i is ``strings[starts[i]:starts[i + 1]]``; labels follow the ``num_words`` words.

    pruned: None, or int32 (n, 2) of (bucket, row after the words) of a model cut by ``quantize(cutoff=...)``.
    label_counts: int64, the labels' counts in the training data (they shape the tree of hierarchical softmax).
    """

    path: str
    dim: int
    word_ngrams: int
    loss: int
    bucket: int
    minn: int
    maxn: int
    num_words: int
    strings: np.ndarray
    starts: np.ndarray
    labels: list[str]
    label_counts: np.ndarray
    pruned: np.ndarray | None
    input: Matrix
    output: Matrix
    mapping: mmap.mmap

    def release(self) -> None:
        """Give the memory of the pages read so far back; they stay in the system's cache and come again when read."""
        if hasattr(self.mapping, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
            self.mapping.madvise(mmap.MADV_DONTNEED)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.input.data)


class _Bytes:
    """The mapped file and a position in it."""

    def __init__(self, path: str) -> None:
        self.path, self.at = path, 0
        size = os.path.getsize(path)
        if size == 0:
            raise ValueError(f"{path}: the file is empty, expected a fastText model (.bin or .ftz)")
        with open(path, "rb") as file:
            self.mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.data = np.frombuffer(self.mapping, np.uint8)

    def wrong(self, field: str, found: object, expected: str, at: int | None = None) -> ValueError:
        where = self.at if at is None else at
        return ValueError(f"{self.path}: byte {where}: {field} is {found}, expected {expected}; the file is damaged")

    def take(self, count: int, field: str) -> np.ndarray:
        left = len(self.data) - self.at
        if not 0 <= count <= left:
            raise ValueError(
                f"{self.path}: byte {self.at}: {field} needs {count} bytes but {left} are left; "
                "the file is damaged or cut short"
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, kind: str, field: str, low: int, high: int) -> int:
        at = self.at
        (value,) = struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind), field).tobytes())
        if not low <= value <= high:
            raise self.wrong(field, value, f"{low} to {high}", at)
        return value

    def floats(self, count: int, field: str) -> np.ndarray:
        """An aligned copy of ``count`` float32."""
        at = self.at
        values = np.frombuffer(self.take(count * 4, field).tobytes(), "<f4")
        if not np.isfinite(values).all():
            raise self.wrong(field, "not finite", "finite numbers", at)
        return values


def read_model(path: str | Path) -> ModelFile:
    """Read a supervised model. Raises ValueError for any other or damaged file, OSError if it cannot be opened."""
    file = _Bytes(os.fspath(path))
    magic = file.take(4, "magic number").view("<i4")[0] if len(file.data) >= 4 else 0
    if magic != MAGIC:
        raise ValueError(f"{path}: not a fastText model: it starts with {magic}, expected {MAGIC}")
    version = file.number("i", "version", 0, NEWEST_VERSION)
    limits = {
        "dim": (1, 2**31 - 1),
        "word_ngrams": (0, MOST_GRAMS),
        "loss": (1, 4),
        "model": (1, 3),
        "bucket": (0, 2**31 - 1),
        "minn": (0, MOST_GRAMS),
        "maxn": (0, MOST_GRAMS),
    }
    args = {name: file.number("i", name, *limits.get(name, (-(2**31), 2**31 - 1))) for name in _ARGS}
    file.take(8, "sampling threshold")
    if args["model"] != 3:
        raise ValueError(f"{path}: holds word vectors (model {args['model']}), expected a supervised classifier")
    if version == 11:
        args["maxn"] = 0  # fastText did not use subwords of classifiers then, whatever the file says
    if args["bucket"] == 0 and (args["word_ngrams"] > 1 or args["maxn"] > 0):
        raise ValueError(f"{path}: byte 40: bucket is 0, expected more in a model with n-grams; the file is damaged")
    dictionary = _read_dictionary(file)
    quantised = bool(file.number("b", "flag of the quantised input", 0, 1))
    if dictionary["pruned"] is not None and not quantised:
        raise file.wrong("the input matrix", "dense", "a quantised one beside a pruned dictionary")
    matrix = _read_quantised(file, "input matrix") if quantised else _read_dense(file, "input matrix")
    pruned = dictionary["pruned"]
    grams = args["bucket"] if pruned is None else len(pruned)
    rows = dictionary["num_words"] + grams
    _check_shape(file, "input matrix", matrix, rows, args["dim"])
    quantised = bool(file.number("b", "flag of the quantised output", 0, 1)) and quantised
    output = _read_quantised(file, "output matrix") if quantised else _read_dense(file, "output matrix")
    _check_shape(file, "output matrix", output, len(dictionary["labels"]), args["dim"])
    if file.at != len(file.data):
        raise ValueError(f"{path}: byte {file.at}: {len(file.data) - file.at} bytes after the model's end")
    wanted: dict[str, Any] = {name: args[name] for name in ("dim", "word_ngrams", "loss", "bucket", "minn", "maxn")}
    return ModelFile(path=os.fspath(path), input=matrix, output=output, mapping=file.mapping, **dictionary, **wanted)


def _read_dictionary(file: _Bytes) -> dict[str, Any]:
    from scorers.fasttext.vocabulary import scan_entries

    size = file.number("i", "number of dictionary entries", 1, 2**31 - 1)
    words = file.number("i", "number of words", 0, size)
    labels = file.number("i", "number of labels", 1, size)
    if words + labels != size:
        raise file.wrong("words + labels", words + labels, f"{size} as the dictionary says", file.at - 12)
    file.take(8, "number of tokens")
    kept = file.number("q", "number of pruned n-grams", -1, 2**31 - 1)
    if size * 11 > len(file.data) - file.at:  # a word of one byte, NUL, count, type
        raise ValueError(
            f"{file.path}: byte {file.at}: {size} dictionary entries need {size * 11} bytes or more but "
            f"{len(file.data) - file.at} are left; the file is damaged or cut short"
        )
    starts, counts = np.empty(size + 1, np.int64), np.empty(labels, np.int64)
    strings, trouble, at = scan_entries(file.data, file.at, words, starts, counts)
    if trouble >= 0:
        raise file.wrong(
            f"dictionary entry {trouble}",
            "unreadable",
            "words of type 0 and then labels of type 1, each not empty and ended by NUL",
            int(at),
        )
    if labels and (counts.min() < 0 or sum(map(int, counts)) >= MOST_LABELLED):
        worst = int(counts.min() if counts.min() < 0 else counts.max())
        raise file.wrong("a count of a label", worst, "0 to 10^15 for all labels", file.at)
    file.at = int(at)
    names = []
    for i in range(words, size):
        raw = strings[starts[i] : starts[i + 1]].tobytes()
        try:
            names.append(raw.decode("utf-8"))
        except UnicodeDecodeError:
            raise file.wrong(f"label {i - words}", repr(raw), "UTF-8") from None
    if len(set(names)) != len(names):
        raise file.wrong("the list of labels", "with repeats", "distinct labels")
    pruned = None
    if kept >= 0:
        at = file.at
        pruned = np.frombuffer(file.take(kept * 8, "pruned n-grams").tobytes(), "<i4").reshape(kept, 2)
        if kept and (pruned.min() < 0 or pruned[:, 1].max() >= kept):
            raise file.wrong("a pruned n-gram", "out of range", f"rows 0 to {kept - 1}", at)
    return {
        "num_words": words,
        "strings": strings,
        "starts": starts,
        "labels": names,
        "label_counts": counts,
        "pruned": pruned,
    }


def _read_dense(file: _Bytes, name: str) -> Matrix:
    rows = file.number("q", f"rows of the {name}", 1, 2**40)
    cols = file.number("q", f"columns of the {name}", 1, 2**31 - 1)
    offset = file.at
    file.take(rows * cols * 4, f"{rows} x {cols} numbers of the {name}")
    return Matrix(rows, cols, file.data, offset)


def _read_quantised(file: _Bytes, name: str) -> Matrix:
    with_norms = bool(file.number("b", f"flag of quantised norms of the {name}", 0, 1))
    rows = file.number("q", f"rows of the {name}", 1, 2**40)
    cols = file.number("q", f"columns of the {name}", 1, 2**31 - 1)
    at = file.at
    size = file.number("i", f"number of codes of the {name}", 1, 2**31 - 1)
    codes = file.take(size, f"codes of the {name}")
    groups, width, centroids = _read_quantiser(file, name, cols)
    if size != rows * groups:
        raise file.wrong(f"number of codes of the {name}", size, f"{rows} rows x {groups}", at)
    if not with_norms:
        return Matrix(rows, cols, file.data, 0, groups, width, codes, centroids)
    norm_codes = file.take(rows, f"norm codes of the {name}")
    norm_centroids = _read_quantiser(file, f"norms of the {name}", 1)[2]
    return Matrix(rows, cols, file.data, 0, groups, width, codes, centroids, norm_codes, norm_centroids)


def _read_quantiser(file: _Bytes, name: str, cols: int) -> tuple[int, int, np.ndarray]:
    """(groups, width, centroids) of a product quantiser of ``cols`` columns."""
    file.number("i", f"columns of the quantiser of the {name}", cols, cols)
    groups = file.number("i", f"groups of the {name}", 1, cols)
    width = file.number("i", f"columns per group of the {name}", 1, cols)
    if groups != -(-cols // width):
        raise file.wrong(f"groups of the {name}", groups, f"{-(-cols // width)} for {cols} columns", file.at - 8)
    last = cols - (groups - 1) * width
    file.number("i", f"columns of the last group of the {name}", last, last)
    return groups, width, file.floats(cols * 256, f"centroids of the {name}")


def _check_shape(file: _Bytes, name: str, matrix: Matrix, rows: int, cols: int) -> None:
    if (matrix.rows, matrix.cols) != (rows, cols):
        raise file.wrong(f"shape of the {name}", f"{matrix.rows} x {matrix.cols}", f"{rows} x {cols}")
