"""What makes a text no document, whatever format it came in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.ingest.layout import Layout
from pipeline.ingest.read import Bad

_MAY_BE_SPACE = np.zeros(256, np.bool_)
"""First bytes of white space, and of characters like it; white space beyond ASCII is U+0085, U+00A0, U+1680, U+2000 to
U+205F and U+3000."""
_MAY_BE_SPACE[:0x21] = _MAY_BE_SPACE[[0xC2, 0xE1, 0xE2, 0xE3]] = True


def check_texts(texts: pa.Array, layout: Layout, max_chars: int, bad: dict[int, Bad]) -> None:
    """Add to `bad` the rows of a large_string column whose text is missing, empty or too long."""
    if texts.null_count:
        for i in np.flatnonzero(texts.is_null().to_numpy(zero_copy_only=False)).tolist():
            bad.setdefault(i, Bad("missing_text", f"no value in column {layout.text!r}"))
    offsets = np.frombuffer(texts.buffers()[1], np.int64, len(texts) + 1, texts.offset * 8)
    lengths = np.diff(offsets)
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    suspect = lengths == 0
    full = np.flatnonzero(~suspect)
    # Only a text that begins with white space can be nothing else.
    suspect[full] = _MAY_BE_SPACE[data[offsets[:-1][full]]]
    for i in np.flatnonzero(suspect).tolist():
        if i not in bad:
            text = texts[i].as_py()
            if not text or text.isspace():
                bad[i] = Bad("empty_text", "")
    for i in np.flatnonzero(lengths > max_chars).tolist():
        if i not in bad and (count := len(texts[i].as_py())) > max_chars:
            bad[i] = Bad("too_long", f"{count} characters")


def utf8_problem(data: bytes, error: UnicodeDecodeError) -> tuple[str, str]:
    """(reason, detail) of bytes that are not UTF-8; halves of a character, written as such, have their own reason."""
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return "invalid_utf8", f"byte {error.start}: {error.reason}"
    return "lone_surrogate", f"byte {error.start}: half a character"
