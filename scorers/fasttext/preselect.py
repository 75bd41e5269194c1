"""The scorer ``preselect``: a PreSelect classifier (or any other two-class quality classifier of fastText).

Columns, both float32: ``<name>_score``, the probability of the positive label, and ``<name>_logit`` = log(p / (1 - p)).
For a softmax of two labels the logit is the folded sum itself, which still tells documents apart where p rounds to 1;
a softmax of more labels compares the positive one with all others together. A document without any feature is null.

    scorer = load(Settings(model="preselect.bin"), {"model": "/models/preselect.bin"}, "preselect")
    score, logit = scorer.score(texts)

Source: Shum et al. 2025, "Predictive Data Selection" (PreSelect); its classifier names its labels 1 and 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from scorers.fasttext import Newline

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from scorers.fasttext.classifier import Classifier
    from scorers.texts import Texts

VERSION = 3


class Settings(BaseModel):
    """model: path or URL of a .bin or .ftz. newline: what newlines become; "" joins the words around them, which is
    what datatrove does. label: the positive label, without ``__label__``. zero_eos: leave out the weight of ``</s>``,
    the token that every document ends with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    newline: Newline = " "
    label: str = "1"
    zero_eos: bool = False


def model_files(settings: Settings) -> dict[str, str]:
    """The settings that name files."""
    return {"model": settings.model}


def load(settings: Settings, files: dict[str, str], name: str = "preselect") -> PreselectScorer:
    """Read the model at ``files["model"]``. ValueError for a damaged file or a label that it does not have."""
    import pyarrow as pa

    from scorers.fasttext.classifier import load_classifier

    model = load_classifier(files["model"])
    if settings.label not in model.labels:
        raise ValueError(
            f"{files['model']}: no label {settings.label!r}; its labels are {', '.join(sorted(model.labels)[:20])}; "
            "name the positive one with the setting 'label'"
        )
    if len(model.labels) < 2:
        raise ValueError(f"{files['model']}: has one label only, expected two or more")
    if settings.zero_eos:
        model = model.without_eos()
    schema = pa.schema([(f"{name}_score", pa.float32()), (f"{name}_logit", pa.float32())])
    return PreselectScorer(schema, model, model.labels.index(settings.label), settings.newline)


@dataclass(frozen=True)
class PreselectScorer:
    """See the module. ``positive`` is the index of the positive label in ``model.labels``."""

    schema: pa.Schema
    model: Classifier
    positive: int
    newline: Newline

    def score(self, texts: Texts) -> list[pa.Array]:
        """[score, logit], float32, null where a document has no feature."""
        import numpy as np
        import pyarrow as pa

        logits, counts = self.model.logits(texts, self.newline)
        probability = self.model.from_logits(logits)[:, self.positive]
        logit = self._logit(logits, probability)
        missing = counts == 0
        return [pa.array(np.asarray(column, np.float32), mask=missing) for column in (probability, logit)]

    def _logit(self, logits: np.ndarray, probability: np.ndarray) -> np.ndarray:
        import numpy as np

        from scorers.fasttext.model import SOFTMAX

        if self.model.pair:
            return logits[:, 0] if self.positive == 1 else -logits[:, 0]
        if self.model.loss == SOFTMAX:
            others = np.delete(logits, self.positive, axis=1)
            top = others.max(axis=1)
            return logits[:, self.positive] - top - np.log(np.exp(others - top[:, None]).sum(axis=1))
        bounded = np.clip(probability, 1e-12, 1 - 1e-12)  # these losses give 0 and 1 themselves
        return np.log(bounded) - np.log1p(-bounded)
