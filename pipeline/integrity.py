"""Files that say whether they are what was written.

Small JSON records (stage.json, rows of the ledger) carry a hash of themselves. Parquet files carry a checksum per page,
verified by every read of ours, and the ledger has the digest of each file as a whole, which `tamis verify` compares.

    store.write_bytes(name, sealed({"kind": "score"}))
    record = unsealed(store.read_bytes(name), store.shown(name))
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
import xxhash

CHECK = "check"
"""The key of a record's hash."""
DAMAGE = ("crc", "checksum", "decompress", "deserialize", "corrupt", "unexpected end", "malformed")
"""What Arrow says of a file whose bytes make no sense; OSErrors like those of a network that fails."""


class Damaged(ValueError):
    """A file that is not what was written: its name, and what to do."""


def sealed(record: dict[str, Any], pretty: bool = False) -> bytes:
    """A record as JSON with its hash. ``record`` has no key CHECK."""
    assert CHECK not in record
    option = orjson.OPT_SORT_KEYS | (orjson.OPT_INDENT_2 if pretty else 0)
    return orjson.dumps(record | {CHECK: _hash(record)}, option=option)


def unsealed(data: bytes, name: str, mend: str = "remove it and run the same command again") -> dict[str, Any]:
    """The record. Raises Damaged if it is not JSON or not what was written; records of old versions have no hash."""
    try:
        record = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Damaged(f"{name} is damaged ({error}); {mend}") from None
    if not isinstance(record, dict):
        raise Damaged(f"{name} is damaged (not a record); {mend}")
    check = record.pop(CHECK, None)
    if check is not None and check != _hash(record):
        raise Damaged(f"{name} is damaged (its content is not what was written); {mend}")
    return record


def _hash(record: dict[str, Any]) -> str:
    # Through bytes and back: a float that JSON rounds must not change the hash.
    return xxhash.xxh3_64_hexdigest(orjson.dumps(orjson.loads(orjson.dumps(record)), option=orjson.OPT_SORT_KEYS))


@contextlib.contextmanager
def naming(name: str, alone: bool = False) -> Iterator[None]:
    """Turn what Arrow says of a damaged Parquet file into Damaged with the file's name.

    Only what sounds like damage: whoever reads one file may do other things meanwhile that fail by themselves.
    alone: nothing but reading this file is done in the block, whatever a damaged footer makes Arrow say.
    """
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        if not alone and "Parquet" not in str(error):
            raise
        raise Damaged(f"{name} is not a whole Parquet file ({_short(error)})") from None
    except OSError as error:
        text = str(error).lower()
        if error.errno is None and (alone or any(word in text for word in DAMAGE)):
            raise Damaged(f"{name} is damaged ({_short(error)}); `tamis verify` lists what is, and mends it") from None
        raise


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
