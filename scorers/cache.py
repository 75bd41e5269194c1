"""Where downloads, digests and tables of models are kept between runs. All of it may be removed at any time."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """TAMIS_CACHE, then $XDG_CACHE_HOME/tamis."""
    if named := os.environ.get("TAMIS_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tamis"
