"""fastText classifiers over Arrow arrays: the same probabilities as the library, tens of times faster.

    model = scorers.fasttext.load("model.bin")              # or .ftz
    model.labels                                            # ["1", "0"]: without the prefix __label__
    model.probabilities(pa.array(["some text", None]))      # a pa.Table, one float32 column per label

Source: the fastText library's file format and arithmetic. Probabilities are plain: the library reports p + 1e-5.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from scorers.fasttext.classifier import Classifier

Newline = Literal[" ", ""]


def load(path: str | os.PathLike[str]) -> Classifier:
    """Read and fold a supervised model (.bin or .ftz). ValueError for anything else, naming file, byte and field."""
    from scorers.fasttext.classifier import load_classifier

    return load_classifier(path)
