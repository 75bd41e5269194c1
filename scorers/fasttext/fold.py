"""Fold the two matrices of a classifier into a few floats per feature.

fastText averages the rows A[f] of a document's features and multiplies the mean by the output matrix B. Both steps
are linear, so A @ B.T can be made once: every feature then carries one float per label (one float in all for a
softmax of two labels, whose probabilities hang on the difference of the logits alone; one per inner node for a
hierarchical softmax). A model of 2.7 GB becomes a table of some ten MB, and a document costs one load per feature.

Folding is done in float64 and in blocks of rows, so that it needs memory for the table alone. With more labels than
dimensions the table would be larger than what it folds, and the raw rows are summed instead (``folded`` is None):
the file stays mapped and B is multiplied once per document. The same is done when the table would outgrow the model.
"""

from __future__ import annotations

import numpy as np

from scorers.fasttext.model import HIERARCHICAL, SOFTMAX, Matrix, ModelFile

_SMALL = 64 << 20  # a table of this many bytes is never too large


def fold(model: ModelFile) -> np.ndarray | None:
    """float32 (rows of A, outputs), or None if raw rows are the better choice. ValueError for weights not finite."""
    outputs = num_outputs(model)
    table_bytes = model.input.rows * outputs * 4 + model.output.rows * model.dim * 8
    if outputs > model.dim or table_bytes > max(_SMALL, model.size):
        _check_finite(model, model.input, "input")
        _check_finite(model, model.output, "output")
        return None
    weights = model.output.block(0, model.output.rows).astype(np.float64)
    if is_pair(model):
        weights = weights[1:] - weights[:1]
    weights = weights[:outputs].T
    table = np.empty((model.input.rows, outputs), np.float32)
    for start, stop in blocks(model.input):
        with np.errstate(all="ignore"):  # numbers that are too large are reported below, by place
            table[start:stop] = model.input.block(start, stop).astype(np.float64) @ weights
        if not np.isfinite(table[start:stop]).all():
            row = start + int(np.argmin(np.isfinite(table[start:stop]).all(axis=1)))
            raise ValueError(f"{model.path}: row {row} of the input matrix gives a score that is not finite")
        model.release()
    return table


def num_outputs(model: ModelFile) -> int:
    """Floats per feature when folded."""
    if is_pair(model):
        return 1
    return len(model.labels) - 1 if model.loss == HIERARCHICAL and len(model.labels) > 1 else len(model.labels)


def is_pair(model: ModelFile) -> bool:
    """A softmax of two labels: its output is the difference of the logits, second label minus first."""
    return model.loss == SOFTMAX and len(model.labels) == 2


def blocks(matrix: Matrix) -> list[tuple[int, int]]:
    """Row ranges of about a million numbers."""
    step = max(1, (1 << 20) // matrix.cols)
    return [(start, min(start + step, matrix.rows)) for start in range(0, matrix.rows, step)]


def _check_finite(model: ModelFile, matrix: Matrix, name: str) -> None:
    for start, stop in blocks(matrix):
        finite = np.isfinite(matrix.block(start, stop)).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise ValueError(f"{model.path}: row {row} of the {name} matrix holds a number that is not finite")
        model.release()
