"""The scorer ``fasttext``: any classifier, a language identifier included.

Columns ``<name>_<label>``, float32 probabilities, one per label of the model in the order of its file. With ``top = K``
two lists instead: ``<name>_labels`` and ``<name>_probabilities``, the K most probable labels, most probable first
(equal ones by name). A document without any feature is null.

    scorer = load(Settings(model="lid.176.ftz", top=1), {"model": "/models/lid.176.ftz"}, "language")
    labels, probabilities = scorer.score(texts)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from scorers.fasttext import Newline

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from scorers.fasttext.classifier import Classifier
    from scorers.texts import Texts

VERSION = 3
MOST_COLUMNS = 64
_CHUNK = 1 << 21  # probabilities held at once: a model may have a million labels


class Settings(BaseModel):
    """model: path or URL of a .bin or .ftz. newline: what newlines become; "" joins the words around them.
    top: write the K most probable labels instead of a column per label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    newline: Newline = " "
    top: Annotated[int, Field(ge=1)] | None = None


def model_files(settings: Settings) -> dict[str, str]:
    """The settings that name files."""
    return {"model": settings.model}


def load(settings: Settings, files: dict[str, str], name: str = "fasttext") -> LabelScorer:
    """Read the model at ``files["model"]``. ValueError for a damaged file or too many labels for columns."""
    import pyarrow as pa

    from scorers.fasttext.classifier import load_classifier

    model = load_classifier(files["model"])
    if settings.top is not None:
        kinds = (pa.list_(pa.string()), pa.list_(pa.float32()))
        return LabelScorer(
            pa.schema(list(zip((f"{name}_labels", f"{name}_probabilities"), kinds, strict=True))),
            model,
            settings.newline,
            min(settings.top, len(model.labels)),
        )
    if len(model.labels) > MOST_COLUMNS:
        raise ValueError(
            f"{files['model']}: {len(model.labels)} labels are too many for a column each (at most {MOST_COLUMNS}); "
            "ask for the most probable ones with top: K"
        )
    return LabelScorer(
        pa.schema([(f"{name}_{label}", pa.float32()) for label in model.labels]), model, settings.newline, None
    )


@dataclass(frozen=True)
class LabelScorer:
    """See the module."""

    schema: pa.Schema
    model: Classifier
    newline: Newline
    top: int | None

    def score(self, texts: Texts) -> list[pa.Array]:
        """One float32 array per label, or [labels, probabilities] as lists."""
        import numpy as np
        import pyarrow as pa

        if self.top is None:
            found = list(self._probabilities(texts))
            values = np.concatenate([part for part, _ in found]) if found else np.zeros((0, len(self.schema)))
            missing = np.concatenate([part for _, part in found]) if found else np.zeros(0, bool)
            return [pa.array(column.astype(np.float32), mask=missing) for column in values.T]
        return self._lists(texts)

    def _probabilities(self, texts: Texts) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(probabilities (n, labels), whether the document has none) for chunks of documents."""
        from scorers.texts import Texts

        step = max(1, _CHUNK // len(self.model.labels))
        for start in range(0, len(texts), step):
            part = Texts(texts.data, texts.offsets[start : start + step + 1])
            logits, counts = self.model.logits(part, self.newline)
            yield self.model.from_logits(logits), counts == 0

    def _lists(self, texts: Texts) -> list[pa.Array]:
        import numpy as np
        import pyarrow as pa

        assert self.top is not None
        names = np.asarray(self.model.labels, object)
        by_name = np.argsort(names)
        chosen, values, missing = [], [], np.zeros(0, bool)
        for probabilities, none in self._probabilities(texts):
            rounded = probabilities.astype(np.float32)[:, by_name]
            # a stable sort of columns that are in the order of their names leaves equal ones in that order
            order = np.argsort(-rounded, axis=1, kind="stable")[:, : self.top][~none]
            chosen.append(by_name[order].ravel())
            values.append(np.take_along_axis(rounded[~none], order, axis=1).ravel())
            missing = np.concatenate([missing, none])
        sizes = np.where(missing, 0, self.top)
        offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())
        mask = pa.array(missing)
        labels = pa.array(names[np.concatenate(chosen)] if chosen else [], pa.string())
        scores = pa.array(np.concatenate(values) if values else [], pa.float32())
        return [pa.ListArray.from_arrays(offsets, each, mask=mask) for each in (labels, scores)]
