"""All targets, by name."""

from __future__ import annotations

from tests.fuzz.ingest import INGEST
from tests.fuzz.readers import READERS
from tests.fuzz.sql import SQL
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {target.name: target for target in (*INGEST, *READERS, *SQL)}
