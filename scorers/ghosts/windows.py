"""What a registry makes known to a search: the windows of its phrases, as they are or only as hashes.

A window is `size` consecutive canonical words of a phrase (8, or all of a shorter one). With the registry itself a
candidate is compared word for word. A curator who must not know the phrases gets a windows file instead:

    pq.write_table(windows_of("owners.parquet"), "windows.parquet")
    known = read_known("windows.parquet")            # or "owners.parquet"
    known.probes                                     # for the kernel
    known.identify(("cupbearer", "tinsmith", ...))   # id of the identifier, or None

The windows file holds per window 16 bytes of SHA-256(domain, words), 40 bits of the fast hash for the filter, and the
identifier's id. Eight words of EFF's list are 103 bits: nobody finds them by trying; whoever has a text that holds them
recognises them. Windows of fewer than LEAST_BITS bits could be found by trying: such registries are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scorers.ghosts.canonical import canonical
from scorers.ghosts.kernel import Probes, probes, window_hashes
from scorers.ghosts.word_kernel import canonical_words
from scorers.ghosts.wordlists import WordList, shipped
from scorers.texts import Texts

REGISTRY_METADATA = b"tamis.ghosts"
METADATA = b"tamis.ghosts.windows"
SCHEMA_VERSION = 1
WINDOW_WORDS = 8
CHECK_BITS = 40
"""Bits of the fast hash in a windows file: with a million identifiers one window in 300,000 is looked at in vain."""
LEAST_BITS = 64
"""Entropy of a window that may be published."""
SCHEMA = pa.schema([("key", pa.binary(16)), ("probe", pa.uint64()), ("id", pa.string())])


class Known(Protocol):
    """What the finder asks of a registry."""

    @property
    def probes(self) -> Probes:
        """What the kernel looks windows up in."""
        ...

    @property
    def words(self) -> WordList | None:
        """The list that all phrases come from, if it is named."""
        ...

    def may_be(self, hashes: np.ndarray) -> np.ndarray:
        """Which of the candidates' hashes (uint64) are worth a look: all that are known, hardly any other."""
        ...

    def identify(self, window: Sequence[str]) -> str | None:
        """The identifier that has this window of canonical words."""
        ...


@dataclass(frozen=True)
class Registered:
    """Windows of a registry, sorted by hash; `rows` are the places of their phrases."""

    probes: Probes
    words: WordList | None
    hashes: np.ndarray
    rows: np.ndarray
    ids: pa.StringArray
    phrases: pa.ListArray

    def may_be(self, hashes: np.ndarray) -> np.ndarray:
        """By the whole hash."""
        return _among(hashes, self.hashes)

    def identify(self, window: Sequence[str]) -> str | None:
        """By hash, then word for word."""
        wanted = window_hashes(hash_words(window)[None, :], len(window))[0, 0]
        first = int(np.searchsorted(self.hashes, wanted))
        while first < len(self.hashes) and self.hashes[first] == wanted:
            row = int(self.rows[first])
            if _holds(canonical(" ".join(self.phrases[row].as_py())), window):
                return self.ids[row].as_py()
            first += 1
        return None


@dataclass(frozen=True)
class Hashed:
    """A windows file; keys sorted, as two uint64; checks: the bits of the fast hashes, sorted."""

    probes: Probes
    words: WordList | None
    checks: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    ids: pa.StringArray

    def may_be(self, hashes: np.ndarray) -> np.ndarray:
        """By as many bits as the file has."""
        return _among(hashes >> np.uint64(64 - CHECK_BITS), self.checks)

    def identify(self, window: Sequence[str]) -> str | None:
        """By the cryptographic hash."""
        upper, lower = np.frombuffer(window_key(window), ">u8").astype(np.uint64)
        first = int(np.searchsorted(self.upper, upper))
        while first < len(self.upper) and self.upper[first] == upper:
            if self.lower[first] == lower:
                return self.ids[first].as_py()
            first += 1
        return None


def _among(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Which values are in a sorted array."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    places = np.searchsorted(ordered, values)
    places[places == len(ordered)] = 0
    return ordered[places] == values


def _holds(words: Sequence[str], window: Sequence[str]) -> bool:
    size = len(window)
    return any(list(words[i : i + size]) == list(window) for i in range(len(words) - size + 1))


def window_key(window: Sequence[str]) -> bytes:
    """16 bytes of SHA-256 over the canonical words."""
    return hashlib.sha256(b"tamis ghosts window 1\0" + " ".join(window).encode()).digest()[:16]


def hash_words(words: Sequence[str]) -> np.ndarray:
    """uint64: the kernel's hashes of canonical words."""
    texts = Texts.from_arrow(pa.array([" ".join(words)], pa.large_string()))
    return canonical_words(texts.data, texts.offsets).hashes


def read_known(path: str | Path) -> Registered | Hashed:
    """From a registry or a windows file. Raises ValueError for any other."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"registry {path}: cannot be read as Parquet ({' '.join(str(error).split())[:200]})") from None
    metadata = table.schema.metadata or {}
    try:
        if REGISTRY_METADATA in metadata:
            return _registered(table, json.loads(metadata[REGISTRY_METADATA]), str(path))
        if METADATA in metadata:
            return _hashed(table, json.loads(metadata[METADATA]), str(path))
    except (pa.ArrowException, UnicodeDecodeError, json.JSONDecodeError, LookupError, TypeError) as error:
        # Whoever wrote it left something out, or a bit flipped: a KeyError tells nobody which file.
        raise ValueError(
            f"registry {path}: damaged ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        ) from None
    raise ValueError(f"registry {path}: neither a registry of identifiers nor a windows file (`tamis ghosts windows`)")


def _word_list(about: dict[str, Any]) -> WordList | None:
    return WordList(tuple(about["words"])) if about.get("words") else shipped(about["list_hash"] or "")


def _registered(table: pa.Table, about: dict[str, Any], where: str) -> Registered:
    words = _word_list({"words": about["words"], "list_hash": about["generator"]["list_hash"]})
    phrases = table.column("words").cast(pa.list_(pa.string())).combine_chunks()
    size, rows, hashed = _windows(phrases, where)
    hashes = np.concatenate([window_hashes(part, size).ravel() for part in hashed])
    places = np.concatenate([np.repeat(r, part.shape[1] - size + 1) for r, part in zip(rows, hashed, strict=True)])
    order = np.argsort(hashes, kind="stable")
    ids = table.column("id").combine_chunks()
    known = probes(size, hashes >> np.uint64(32), words is not None)
    return Registered(known, words, hashes[order], places[order], ids, phrases)


def _windows(phrases: pa.ListArray, where: str) -> tuple[int, list[np.ndarray], list[np.ndarray]]:
    """Size of the windows; rows and word hashes (n, canonical words) of the phrases, by their number of words."""
    flat = phrases.flatten().dictionary_encode()
    pieces = [canonical(word) for word in flat.dictionary.to_pylist()]
    all_hashes = hash_words([piece for word in pieces for piece in word])
    counts = np.array([len(word) for word in pieces])
    firsts = np.cumsum(counts) - counts
    codes = flat.indices.to_numpy()
    offsets = np.asarray(phrases.offsets)
    offsets = offsets - offsets[0]
    # Words that are several in canonical form (t-shirt) make their phrase longer.
    spread = np.repeat(firsts[codes], counts[codes])
    within = np.arange(len(spread)) - np.repeat(np.cumsum(counts[codes]) - counts[codes], counts[codes])
    hashes = all_hashes[spread + within]
    ends = np.concatenate([[0], np.cumsum(counts[codes])])[offsets]
    lengths = np.diff(ends)
    if not len(lengths) or lengths.min() < 2:
        raise ValueError(f"registry {where}: it holds no phrase of at least two words")
    size = min(WINDOW_WORDS, int(lengths.min()))
    rows, parts = [], []
    for length in np.unique(lengths):
        chosen = np.flatnonzero(lengths == length)
        rows.append(chosen)
        parts.append(hashes[ends[chosen][:, None] + np.arange(length)])
    return size, rows, parts


def _hashed(table: pa.Table, about: dict[str, Any], where: str) -> Hashed:
    if about.get("schema") != SCHEMA_VERSION:
        raise ValueError(f"windows {where}: schema {about.get('schema')}; this Tamis reads {SCHEMA_VERSION}")
    words = shipped(about["list_hash"] or "")
    keys = b"".join(table.column("key").to_pylist())
    halves = np.frombuffer(keys, ">u8").astype(np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    checks = np.sort(table.column("probe").to_numpy())
    known = probes(about["size"], checks >> np.uint64(CHECK_BITS - 32), words is not None)
    ids = table.column("id").combine_chunks().take(pa.array(order))
    return Hashed(known, words, checks, halves[order, 0], halves[order, 1], ids)


def windows_of(registry: str | Path, name_list: bool = True) -> pa.Table:
    """The windows file of a registry, sorted by key. name_list: say which (shipped) list its words are of.

    Raises ValueError if a window could be guessed.
    """
    table = pq.read_table(registry)
    about = json.loads((table.schema.metadata or {}).get(REGISTRY_METADATA, b"null"))
    if about is None:
        raise ValueError(f"registry {registry}: not a registry of identifiers; `tamis ghosts draw` makes one")
    known = _registered(table, about, str(registry))
    words, size = known.words, known.probes.size
    assert words is not None, "a registry holds or names its list"
    if size * words.bits < LEAST_BITS:
        raise ValueError(
            f"registry {registry}: {size} words of a list of {len(words)} are {size * words.bits:.0f} bits; hashes of "
            f"them could be guessed (expected at least {LEAST_BITS} bits)"
        )
    pieces = {word: canonical(word) for word in words.words}
    keys: list[bytes] = []
    found: list[np.ndarray] = []
    ids: list[str] = []
    phrases = table.column("words").cast(pa.list_(pa.string())).combine_chunks()
    _, rows, hashed = _windows(phrases, str(registry))
    for chosen, hashes in zip(rows, hashed, strict=True):
        found.append(window_hashes(hashes, size).ravel() >> np.uint64(64 - CHECK_BITS))
        number = hashes.shape[1] - size + 1
        for row in chosen.tolist():
            chain = [piece for word in phrases[row].as_py() for piece in pieces[word]]
            keys += [window_key(chain[i : i + size]) for i in range(number)]
            ids += [table.column("id")[row].as_py()] * number
    made = pa.table([keys, np.concatenate(found), ids], schema=SCHEMA).sort_by("key")
    list_hash = words.hash if name_list and shipped(words.hash) else None
    about_windows = {"schema": SCHEMA_VERSION, "size": size, "list_hash": list_hash, "commitment": about["commitment"]}
    return made.replace_schema_metadata({METADATA: json.dumps(about_windows, sort_keys=True).encode()})
