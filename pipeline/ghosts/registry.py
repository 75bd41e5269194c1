"""The registry: a Parquet file that holds identifiers and everything that a later test of them needs.

    registry = read("owners.parquet")
    registry.generator, registry.words       # G and its word list: nulls(registry.generator, registry.words, id, m)
    registry.plan                            # the one primary statistic and null, alpha, correction, m: as committed
    for one in registry.active:              # Identifier(id, owner, phrase, sentence, begin, end, ...)
        one.sentence[one.begin : one.end] == one.phrase
    registry.reserves                        # never inserted: controls of a calibration, and what is left to reveal
    registry.repetitions("marked")           # {id: copies in that corpus}, once `tamis ghosts insert` has been there

One row per identifier: ``id``, ``number`` (of the draw), ``owner``, ``reserve``, ``phrase`` (as it is written),
``words`` (as the list has them), ``places`` (of the words in the list), ``carrier``, ``element``, ``sentence``,
``begin`` and ``end`` (of the phrase in the sentence, in characters). What all share stands in the file's metadata,
under ``tamis.ghosts``, as JSON: schema, generator and its hash, the words if the list does not come with Tamis,
commitment, beacon, plan.

Phrases are secrets until they are tested: a model may train on whatever is revealed. The file is readable by its owner
alone (mode 600); its content goes into no log, ledger, stage.json, report or export, only the hash of it. The secret
that phrases come from is not in it: `<name>.secret` holds it (mode 600), and no test needs it, only the proof of a draw
(pipeline.ghosts.draw.verify). Where identifiers were inserted stands in `<name>.insertions.parquet`, so that the
registry itself, and its hash, never change.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.storage import Store
from scorers.ghosts.generator import Generator
from scorers.ghosts.planning import Correction, required_draws
from scorers.ghosts.wordlists import WordList, shipped

SCHEMA_VERSION = 1
METADATA = b"tamis.ghosts"

ROWS = pa.schema(
    [
        ("id", pa.string()),
        ("number", pa.int64()),
        ("owner", pa.string()),
        ("reserve", pa.bool_()),
        ("phrase", pa.string()),
        ("words", pa.list_(pa.string())),
        ("places", pa.list_(pa.int32())),
        ("carrier", pa.string()),
        ("element", pa.string()),
        ("sentence", pa.string()),
        ("begin", pa.int32()),
        ("end", pa.int32()),
    ]
)
INSERTIONS = pa.schema(
    [
        ("corpus", pa.string()),
        ("id", pa.string()),
        ("repetitions", pa.int64()),
        ("documents", pa.int64()),
    ]
)

Statistic = Literal["mean_nll", "sum_nll", "centred_nll", "ratio_nll"]
Null = Literal["generator", "permutation"]
Unit = Literal["identifier", "owner", "registry"]


@dataclass(frozen=True)
class TestPlan:
    """What is promised about the test before the phrases are known; all of it is in the commitment.

    statistic: mean NLL of the phrase's tokens, their sum, the mean minus that of permutations of the words, or the mean
    minus that of a reference model (`reference`, by name or hash). null: what the statistic is ranked among. unit: what
    one test speaks of. m: null draws of each identifier; seed: of which stream. last_k: words of the last-k-words test.
    """

    __test__ = False  # no test class of pytest

    statistic: Statistic = "mean_nll"
    null: Null = "generator"
    unit: Unit = "identifier"
    alpha: float = 0.05
    correction: Correction = "holm"
    seed: int = 0
    m: int = 999
    last_k: int = 2
    reference: str = ""

    def tests(self, identifiers: int, owners: int) -> int:
        """How many tests a registry of so many active identifiers and owners makes."""
        return {"identifier": identifiers, "owner": owners, "registry": 1}[self.unit]


@dataclass(frozen=True)
class Identifier:
    """One row of a registry."""

    id: str
    number: int
    owner: str
    reserve: bool
    phrase: str
    words: tuple[str, ...]
    places: tuple[int, ...]
    carrier: str
    element: str
    sentence: str
    begin: int
    end: int


@dataclass(frozen=True)
class Registry:
    """Identifiers, in the order of their draw. path: where it was read from."""

    path: str
    generator: Generator
    words: WordList
    plan: TestPlan
    commitment: str
    beacon: str
    beacon_source: str
    identifiers: tuple[Identifier, ...]
    created: str = ""

    @property
    def active(self) -> tuple[Identifier, ...]:
        """Those to insert and to test."""
        return tuple(one for one in self.identifiers if not one.reserve)

    @property
    def reserves(self) -> tuple[Identifier, ...]:
        """Those kept back."""
        return tuple(one for one in self.identifiers if one.reserve)

    @property
    def owners(self) -> tuple[str, ...]:
        """Owners, in order."""
        return tuple(dict.fromkeys(one.owner for one in self.identifiers))

    @property
    def tests(self) -> int:
        """How many tests the plan makes of it."""
        return max(1, self.plan.tests(len(self.active), len({one.owner for one in self.active})))

    @property
    def required_draws(self) -> int:
        """The fewest null draws with which one of these tests can come out at the plan's alpha and correction."""
        return required_draws(self.tests, self.plan.alpha, self.plan.correction)

    def identifier(self, id: str) -> Identifier:
        """By id. Raises UserError."""
        if id not in self._by_id:
            raise UserError(f"registry {self.path} has no identifier {id!r}")
        return self._by_id[id]

    @cached_property
    def _by_id(self) -> dict[str, Identifier]:
        return {one.id: one for one in self.identifiers}

    def places(self, chosen: Iterable[Identifier] | None = None) -> np.ndarray:
        """int32 (n, length): the words of identifiers, as places in the list."""
        rows = [one.places for one in (self.identifiers if chosen is None else chosen)]
        return np.array(rows, np.int32).reshape(-1, self.generator.length)

    def insertions(self) -> pa.Table:
        """Where identifiers were inserted, as `tamis ghosts insert` has noted it: a row per corpus and identifier."""
        file = insertions_path(self.path)
        return pq.read_table(file, schema=INSERTIONS) if os.path.exists(file) else INSERTIONS.empty_table()

    def repetitions(self, corpus: str | None = None) -> dict[str, int]:
        """{id: copies} of every identifier in a corpus [in all of them]; 0 where it was never inserted."""
        found = {one.id: 0 for one in self.identifiers}
        for row in self.insertions().to_pylist():
            if row["id"] in found and corpus in (None, row["corpus"]):
                found[row["id"]] += row["repetitions"]
        return found


def insertions_path(path: str) -> str:
    """The file of insertions beside a registry."""
    return f"{path.removesuffix('.parquet')}.insertions.parquet"


def secret_path(path: str) -> str:
    """The file of the secret beside a registry."""
    return f"{path.removesuffix('.parquet')}.secret"


def write(registry: Registry) -> None:
    """Write a registry to its path, whole or not at all, readable by its owner alone."""
    about = {
        "schema": SCHEMA_VERSION,
        "generator": registry.generator.fields(),
        "generator_hash": registry.generator.hash,
        "words": None if shipped(registry.words.hash) else list(registry.words.words),
        "commitment": registry.commitment,
        "beacon": registry.beacon,
        "beacon_source": registry.beacon_source,
        "plan": asdict(registry.plan),
        "created": registry.created,
    }
    rows = [asdict(one) for one in registry.identifiers]
    table = pa.Table.from_pylist(rows, ROWS.with_metadata({METADATA: orjson.dumps(about, option=orjson.OPT_SORT_KEYS)}))
    write_private(registry.path, table)


def write_private(path: str, table: pa.Table) -> None:
    """Write a local Parquet file of mode 600."""
    file = Path(path).expanduser().absolute()
    with Store(str(file.parent)).writing(file.name) as temporary:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        pq.write_table(table, temporary, compression="zstd")


def note_insertions(registry: Registry, corpus: str, counts: dict[str, tuple[int, int]]) -> None:
    """Note {id: (repetitions, documents)} of a corpus, in place of what was noted of that corpus before."""
    old = [row for row in registry.insertions().to_pylist() if row["corpus"] != corpus]
    new = [{"corpus": corpus, "id": i, "repetitions": n, "documents": d} for i, (n, d) in sorted(counts.items())]
    rows = sorted(old + new, key=lambda row: (row["corpus"], row["id"]))
    write_private(insertions_path(registry.path), pa.Table.from_pylist(rows, INSERTIONS))


def read(path: str) -> Registry:
    """Read and check a registry. Raises UserError saying what is wrong with it."""
    where = f"registry {path}"
    file = Path(path).expanduser()
    try:
        table = pq.read_table(file)
    except FileNotFoundError:
        raise UserError(f"{where}: no such file; `tamis ghosts draw` makes one") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{where}: cannot be read as Parquet ({' '.join(str(error).split())[:200]})") from None
    metadata = (table.schema.metadata or {}).get(METADATA)
    if metadata is None:
        raise UserError(f"{where}: not a registry of identifiers; `tamis ghosts draw` makes one")
    try:
        about: dict[str, Any] = dict(orjson.loads(metadata))
    except (ValueError, TypeError) as error:
        raise UserError(f"{where}: its metadata are damaged ({error})") from None
    if about.get("schema") != SCHEMA_VERSION:
        raise UserError(f"{where}: schema {about.get('schema')}; this Tamis reads {SCHEMA_VERSION}")
    try:
        if missing := [name for name in ROWS.names if name not in table.schema.names]:
            raise ValueError(f"column {missing[0]!r} is missing; was the file rewritten by something else?")
        generator = Generator.of(about["generator"])
        words = WordList(tuple(about["words"])) if about["words"] else shipped(generator.list_hash)
        if words is None:
            raise ValueError(f"its word list ({generator.list_hash[:12]}) is neither in the file nor part of Tamis")
        generator.checked(words)
        if generator.hash != about["generator_hash"]:
            raise ValueError("its generator does not have the hash that is written beside it")
        plan = plan_of(about["plan"])
        for name in ("commitment", "beacon", "beacon_source", "created"):
            if not isinstance(about[name], str):
                raise ValueError(f"{name}: expected a text, found a {type(about[name]).__name__}")
        rows = table.select(ROWS.names).cast(ROWS).to_pylist()
        identifiers = tuple(
            Identifier(**row | {"words": tuple(row["words"]), "places": tuple(row["places"])}) for row in rows
        )
        _check(identifiers, generator, words)
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise UserError(f"{where}: {error if not isinstance(error, KeyError) else f'no {error} in it'}") from None
    return Registry(
        str(file),
        generator,
        words,
        plan,
        about["commitment"],
        about["beacon"],
        about["beacon_source"],
        identifiers,
        about["created"],
    )


def plan_of(values: dict[str, Any]) -> TestPlan:
    """A plan from what JSON has of it. Raises ValueError."""
    if not isinstance(values, dict):
        raise ValueError(f"plan: expected its fields, found a {type(values).__name__}")
    known = {field.name for field in fields(TestPlan)}
    if values.keys() != known:
        odd = sorted(values.keys() ^ known)[0]
        raise ValueError(f"plan: {odd!r} is {'unknown' if odd in values else 'missing'}")
    return TestPlan(**values)


def _check(identifiers: tuple[Identifier, ...], generator: Generator, words: WordList) -> None:
    """Raises ValueError for the first row that its own generator could not have made."""
    if not identifiers:
        raise ValueError("it holds no identifier")
    ids: set[str] = set()
    for one in identifiers:
        if one.id in ids:
            raise ValueError(f"identifier {one.id!r} stands twice")
        ids.add(one.id)
        listed = len(one.places) == generator.length and all(0 <= i < len(words) for i in one.places)
        if not listed or tuple(words.words[i] for i in one.places) != one.words:
            raise ValueError(f"identifier {one.id!r}: its words are not those of its places in the word list")
        made = generator.sentence(generator.cased(list(one.words)), one.carrier)
        if (made.text, made.begin, made.end) != (one.sentence, one.begin, one.end) or (
            one.sentence[one.begin : one.end] != one.phrase
        ):
            raise ValueError(f"identifier {one.id!r}: phrase and sentence do not go together")
