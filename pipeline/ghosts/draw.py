"""Draw identifiers in two steps, so that nobody, the owner included, can have chosen them.

    committed = commit("owners.parquet", DrawSettings(owners=["ann", "ben"], count=8, beacon_source="drand round 9"))
    print(committed.commitment)                # publish it, or have it timestamped
    registry = draw("owners.parquet", beacon)  # once the beacon's value is out
    verify("owners.parquet", "owners.secret")  # anybody with the secret, later

The commitment is SHA-256 over terms, salt and secret, a line feed between them. Terms is JSON with sorted keys and no
spaces (generator, owners, count, reserve, plan of the test, source of the beacon); salt and secret are 32 random bytes
each, in hex. The phrases are G(HMAC-SHA256(secret, beacon)): before the beacon is known the owner cannot know them, and
after the commitment the secret cannot be changed, so a phrase cannot be shopped for (which would void the null).

    owners.commit.json   terms, commitment: what was promised (a list of words of your own stands in it)
    owners.secret        secret and salt, mode 600; it appears nowhere else
    owners.parquet       the registry (pipeline.ghosts.registry)
"""

from __future__ import annotations

import datetime
import hashlib
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import UserError
from pipeline.ghosts.registry import (
    Identifier,
    Null,
    Registry,
    Statistic,
    TestPlan,
    Unit,
    plan_of,
    read,
    secret_path,
    write,
)
from pipeline.storage import Store
from scorers.ghosts.generator import Casing, Generator, canonical_json, secret_key
from scorers.ghosts.generator import draw as draw_rows
from scorers.ghosts.planning import Correction, required_draws
from scorers.ghosts.wordlists import EFF_LARGE, WordList, eff_large, parse_words, shipped

FORMAT = "tamis ghosts 1"
NO_BEACON = ""
LEAST_DRAWS = 999
"""Null draws of a test where its registry would do with fewer."""


class DrawSettings(BaseModel):
    """All that a commitment fixes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owners: Annotated[tuple[str, ...], Field(min_length=1)] = ("owner",)
    count: Annotated[int, Field(ge=1)] = 10
    """identifiers of each owner"""
    reserve: Annotated[int, Field(ge=0)] = 0
    """further identifiers of each owner that are never inserted"""
    words: str = EFF_LARGE
    """`eff-large`, or a file of words"""
    length: Annotated[int, Field(ge=2, le=64)] = 12
    replacement: bool = False
    carriers: Annotated[tuple[str, ...], Field(min_length=1)] = ("The ghost sentence of this text is {phrase}.",)
    element: str = ""
    casing: Casing = "lower"
    statistic: Statistic = "mean_nll"
    null: Null = "generator"
    unit: Unit = "identifier"
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    correction: Correction = "holm"
    m: Annotated[int, Field(ge=1)] | None = None
    """null draws of each identifier; None: as many as the registry needs, at least 999"""
    seed: Annotated[int, Field(ge=0)] = 0
    """of the null draws"""
    last_k: Annotated[int, Field(ge=1)] = 2
    reference: str = ""
    beacon_source: str = ""
    """which value of which public beacon will be taken, so that it cannot be chosen either"""


@dataclass(frozen=True)
class Committed:
    """What was promised. terms: as hashed."""

    commitment: str
    terms: dict[str, Any]
    generator: Generator
    words: WordList
    plan: TestPlan
    created: str = ""

    @property
    def tests(self) -> int:
        """Tests that the plan makes."""
        owners = len(self.terms["owners"])
        return self.plan.tests(self.terms["count"] * owners, owners)


def commit(path: str, settings: DrawSettings) -> Committed:
    """Make secret and salt, and fix everything else. Raises UserError if that was done before under this path."""
    if not path.endswith(".parquet"):
        raise UserError(f"registry {path}: expected a name that ends with .parquet")
    for there in (path, secret_path(path), commit_path(path)):
        if os.path.exists(there):
            raise UserError(f"{there} exists already: a commitment is made once; give the registry another name")
    words = load_words(settings.words)
    if len(set(settings.owners)) < len(settings.owners):
        twice = next(o for o in settings.owners if settings.owners.count(o) > 1)
        raise UserError(f"owner {twice!r} is named twice")
    generator = Generator(
        words.hash, settings.length, settings.replacement, settings.carriers, settings.element, settings.casing
    )
    generator.checked(words)
    terms, plan = _terms(settings, generator)
    secret, salt = secrets.token_hex(32), secrets.token_hex(32)
    commitment = _commitment(terms, salt, secret)
    made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = {
        "commitment": commitment,
        "terms": terms,
        "words": None if shipped(words.hash) else list(words.words),
        "created": made,
    }
    Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
    kept = orjson.dumps({"commitment": commitment, "salt": salt, "secret": secret})
    descriptor = os.open(secret_path(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(kept)
        file.flush()
        os.fsync(file.fileno())
    file_path = Path(commit_path(path)).absolute()
    Store(str(file_path.parent)).write_bytes(file_path.name, orjson.dumps(record, option=orjson.OPT_INDENT_2))
    return Committed(commitment, terms, generator, words, plan, made)


def draw(path: str, beacon: str) -> Registry:
    """Draw what was committed under this path, and write the registry. Raises UserError.

    beacon: its value; NO_BEACON: none, and then nothing but the owner's word says that the draw was not chosen.
    """
    committed = read_commit(path)
    if os.path.exists(path):
        raise UserError(f"{path} is drawn already: a second beacon would be a second choice")
    if beacon != NO_BEACON and not beacon.strip():
        raise UserError("beacon: expected its value, such as the randomness of a drand round in hex")
    secret = read_secret(secret_path(path), committed)
    registry = _registry(path, committed, secret, beacon.strip())
    phrases = [one.phrase for one in registry.identifiers]
    if len(set(phrases)) < len(phrases):
        raise UserError(
            f"two of {len(phrases)} phrases of {committed.generator.length} words came out the same; commit again "
            f"with a larger --length"
        )
    write(registry)
    return registry


def verify(path: str, secret_file: str | None = None) -> Registry:
    """The registry, if it is what was promised: commitment and every phrase are made again. Raises UserError."""
    registry = read(path)
    committed = read_commit(path)
    secret = read_secret(secret_file or secret_path(path), committed)
    if registry.commitment != committed.commitment:
        raise UserError(f"registry {path} belongs to another commitment than {commit_path(path)}")
    made = _registry(path, committed, secret, registry.beacon)
    if made.identifiers != registry.identifiers:
        odd = next(
            (b.id for a, b in zip(made.identifiers, registry.identifiers, strict=False) if a != b), "their number"
        )
        raise UserError(f"registry {path}: {odd} is not what secret and beacon give: it was not drawn as promised")
    if (made.generator, made.plan) != (registry.generator, registry.plan):
        raise UserError(f"registry {path}: generator or plan is not the one that was committed")
    return registry


def _registry(path: str, committed: Committed, secret: bytes, beacon: str) -> Registry:
    terms, generator, words = committed.terms, committed.generator, committed.words
    key = secret_key(secret, beacon)
    per_owner = terms["count"] + terms["reserve"]
    rows = draw_rows(generator, words, key, 0, per_owner * len(terms["owners"]))
    identifiers = []
    for number, row in enumerate(rows):
        owner, place = divmod(number, per_owner)
        phrase = generator.phrase(words, row)
        made = generator.sentence(phrase, generator.carrier(key, number))
        identifiers.append(
            Identifier(
                id=f"{committed.commitment[:8]}-{number:06d}",
                number=number,
                owner=terms["owners"][owner],
                reserve=place >= terms["count"],
                phrase=phrase,
                words=tuple(words.words[i] for i in row),
                places=tuple(int(i) for i in row),
                carrier=made.carrier,
                element=generator.element,
                sentence=made.text,
                begin=made.begin,
                end=made.end,
            )
        )
    source = terms["beacon_source"]
    return Registry(
        path,
        generator,
        words,
        committed.plan,
        committed.commitment,
        beacon,
        source,
        tuple(identifiers),
        committed.created,
    )


def load_words(name: str) -> WordList:
    """The word list of that name or file. Raises UserError."""
    if name == EFF_LARGE:
        return eff_large()
    try:
        return parse_words(Path(name).expanduser().read_text("utf-8"), name)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"words: {name!r} is neither {EFF_LARGE} nor a text file in UTF-8 ({error})") from None


def commit_path(path: str) -> str:
    """The file of the promise beside a registry."""
    return f"{path.removesuffix('.parquet')}.commit.json"


def read_commit(path: str) -> Committed:
    """What was committed under a registry's path. Raises UserError."""
    where = commit_path(path)
    try:
        record = orjson.loads(Path(where).read_bytes())
        terms = record["terms"]
        generator = Generator.of(terms["generator"])
        words = WordList(tuple(record["words"])) if record["words"] else shipped(generator.list_hash)
        if words is None:
            raise ValueError("its word list is missing")
        generator.checked(words)
        return Committed(record["commitment"], terms, generator, words, plan_of(terms["plan"]), record["created"])
    except FileNotFoundError:
        raise UserError(f"no commitment {where}; `tamis ghosts draw {path} --commit` makes one") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"commitment {where} is damaged ({error})") from None


def read_secret(file: str, committed: Committed) -> bytes:
    """The secret of a commitment. Raises UserError, which never shows it, if it is another one's."""
    try:
        kept = orjson.loads(Path(file).read_bytes())
        salt, secret = kept["salt"], kept["secret"]
    except FileNotFoundError:
        raise UserError(f"no secret {file}; without it nothing can be drawn or proven") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"secret {file} is damaged") from None
    if _commitment(committed.terms, salt, secret) != committed.commitment:
        raise UserError(f"secret {file} and the commitment {committed.commitment[:16]} do not belong together")
    return bytes.fromhex(secret)


def _terms(settings: DrawSettings, generator: Generator) -> tuple[dict[str, Any], TestPlan]:
    owners = len(settings.owners)
    plan = TestPlan(
        **{
            name: getattr(settings, name)
            for name in ("statistic", "null", "unit", "alpha", "correction", "seed", "last_k")
        },
        reference=settings.reference,
    )
    needed = required_draws(plan.tests(settings.count * owners, owners), settings.alpha, settings.correction)
    m = settings.m or max(needed, LEAST_DRAWS)
    if m < needed:
        raise UserError(
            f"m: with {m} null draws no test of this registry can come out at alpha {settings.alpha} with correction "
            f"{settings.correction}; expected at least {needed}"
        )
    if (settings.statistic == "ratio_nll") != bool(settings.reference):
        raise UserError("reference: the statistic ratio_nll needs a reference model, and no other statistic has one")
    if settings.last_k >= settings.length:
        raise UserError(f"last_k: {settings.last_k} of {settings.length} words leave nothing to prompt with")
    plan = TestPlan(**asdict(plan) | {"m": m})
    terms = {
        "format": FORMAT,
        "generator": generator.fields(),
        "owners": list(settings.owners),
        "count": settings.count,
        "reserve": settings.reserve,
        "plan": asdict(plan),
        "beacon_source": settings.beacon_source,
    }
    return terms, plan


def _commitment(terms: dict[str, Any], salt: str, secret: str) -> str:
    return hashlib.sha256(f"{canonical_json(terms)}\n{salt}\n{secret}".encode()).hexdigest()
