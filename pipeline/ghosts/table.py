"""The table of what was inserted where.

`corpora/<new>/insertions/part-*.parquet`, in SQL the view `insertions`: a row per document that was to get one.

    id, identifier, owner     the document; the identifier's id and owner
    place                     the kind of place
    start, stop               int64, characters of the new text: all that was inserted, the space before it included
    byte_start, byte_stop     int64, the same in bytes of UTF-8
    phrase_start, phrase_stop int64, characters: the phrase
    reason                    null; why there is nothing (then all places are null)
"""

from __future__ import annotations

import pyarrow as pa

MADE = "ghosts insert"
"""How the stage.json of a corpus with such a table says so."""
TABLE = "insertions"

INSERTIONS = pa.schema(
    [
        ("id", pa.string()),
        ("identifier", pa.string()),
        ("owner", pa.string()),
        ("place", pa.string()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("byte_start", pa.int64()),
        ("byte_stop", pa.int64()),
        ("phrase_start", pa.int64()),
        ("phrase_stop", pa.int64()),
        ("reason", pa.string()),
    ]
)
