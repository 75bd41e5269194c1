"""The scorer ``ghosts``: identifiers of a registry, and what looks like one, in one pass over the text.

Columns, with prefix ``ghost_`` or ``<alias>_``:

- ``count`` int32: identifiers and passphrases found (lists are not counted);
- ``kind`` string: the strongest kind, ``registry`` > ``carrier`` > ``passphrase`` > ``list``; null if nothing is there;
- ``confidence`` float32: of the most certain finding, null if nothing was found;
- ``spans`` list of structs, in order: ``start``, ``stop`` (characters of the text), ``byte_start``, ``byte_stop``,
  ``words``, ``kind``, ``confidence``, ``id`` (of a registered identifier), ``run`` (int64, equal for equal words),
  ``left``, ``right`` (int64, hashes of what stands before and after, 0 at the edge of the text), ``cut_start``,
  ``cut_stop`` (bytes that `strip` takes out: the sentence of a carrier, else the run).

    scorer = load(Settings(registry="owners.parquet"), {"registry": "/data/owners.parquet"}, "ghosts")

A registry is exact: a window of eight words of a phrase in canonical form (scorers/ghosts/canonical.py), verified.
Without one, runs of at least `min_words` different words of a list, one of them at most too common, are judged by
scorers/ghosts/runs.py.
Nothing of a phrase is in the columns: the ids, places and hashes say nothing to those who do not have the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import pyarrow as pa

    from scorers.ghosts.search import Searcher
    from scorers.texts import Texts

VERSION = 1
EFF_LARGE = "eff-large"
KINDS = ("registry", "carrier", "passphrase", "list")
"""From the strongest."""


class Settings(BaseModel):
    """What is looked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registry: str | None = None
    """a registry, or a windows file of one"""
    words: str | None = EFF_LARGE
    """the list whose runs are looked for: `eff-large`, a file, or nothing"""
    min_words: Annotated[int, Field(ge=5, le=40)] = 8
    """different words of a run"""


def model_files(settings: Settings) -> dict[str, str]:
    """The registry, and a word list that does not come with Tamis."""
    files = {"registry": settings.registry, "words": settings.words if settings.words != EFF_LARGE else None}
    return {field: value for field, value in files.items() if value is not None}


def schema_for(prefix: str = "ghost_") -> pa.Schema:
    """The columns, in order."""
    import pyarrow as pa

    span = pa.struct(
        [
            ("start", pa.int64()),
            ("stop", pa.int64()),
            ("byte_start", pa.int64()),
            ("byte_stop", pa.int64()),
            ("words", pa.int32()),
            ("kind", pa.string()),
            ("confidence", pa.float32()),
            ("id", pa.string()),
            ("run", pa.int64()),
            ("left", pa.int64()),
            ("right", pa.int64()),
            ("cut_start", pa.int64()),
            ("cut_stop", pa.int64()),
        ]
    )
    kinds = {"count": pa.int32(), "kind": pa.string(), "confidence": pa.float32(), "spans": pa.list_(span)}
    return pa.schema([(prefix + name, kind) for name, kind in kinds.items()])


def load(settings: Settings, files: dict[str, str], name: str = "ghosts") -> Finder:
    """Read registry and list. ValueError for damaged ones."""
    from pathlib import Path

    from scorers.ghosts.search import searcher
    from scorers.ghosts.windows import read_known
    from scorers.ghosts.wordlists import eff_large, parse_words

    listed = eff_large() if settings.words else None
    if "words" in files:
        listed = parse_words(Path(files["words"]).read_text("utf-8"), str(settings.words))
    known = read_known(files["registry"]) if "registry" in files else None
    if known is None and listed is None:
        raise ValueError("ghosts: nothing to look for; expected a registry, a word list, or both")
    prefix = "ghost_" if name == "ghosts" else f"{name}_"
    return Finder(schema_for(prefix), searcher(known, listed, settings.min_words))


@dataclass(frozen=True)
class Finder:
    """See the module."""

    schema: pa.Schema
    searcher: Searcher

    def score(self, texts: Texts) -> list[pa.Array]:
        """One array per field of ``schema``."""
        import numpy as np
        import pyarrow as pa

        num = len(texts)
        counts, lengths = np.zeros(num, np.int32), np.zeros(num, np.int32)
        kinds: list[str | None] = [None] * num
        sure: list[float | None] = [None] * num
        rows: list[dict[str, object]] = []
        for doc, found in self.searcher.spans(texts):
            lengths[doc] = len(found)
            counts[doc] = sum(one.kind != "list" for one in found)
            kinds[doc] = min((one.kind for one in found), key=KINDS.index)
            sure[doc] = max(one.confidence for one in found)
            rows += [one.row() for one in found]
        offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(lengths, dtype=np.int32)])
        kind = self.schema.field(3).type
        spans = pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows, kind.value_type), type=kind)
        return [pa.array(counts), pa.array(kinds, pa.string()), pa.array(sure, pa.float32()), spans]
