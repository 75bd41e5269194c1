"""Where identifiers come from: a generator G, fixed and committed before its random numbers are known.

An identifier is a phrase of words drawn from a list, in a carrier sentence, with an element after it if its owner wants
one. The phrase of an identifier and the null draws of a test come out of the same function and differ in the key alone:

    words = eff_large()
    generator = Generator(words.hash, length=12)
    key = secret_key(secret, beacon)                     # HMAC-SHA256: unknown to everybody until the beacon is
    drawn = draw(generator, words, key, start=0, count=100)      # int32 (100, 12): rows of places in the list
    phrase = generator.phrase(words, drawn[0])           # "cupbearer tinsmith richly ..."
    sentence = generator.sentence(phrase, carrier=generator.carrier(key, 0))
    sentence.text[sentence.begin : sentence.end] == phrase

    # A test: m fresh draws of the same generator, carrier and element; each identifier has its own.
    rows = nulls(generator, words, "5e8a3c1f-00001", m=999, seed=0)
    others = [generator.sentence(generator.phrase(words, row), sentence.carrier) for row in rows]
    more = nulls(generator, words, "5e8a3c1f-00001", m=1000, seed=0, start=999)      # the stream goes on
    orders = permuted(drawn[0], generator, "5e8a3c1f-00001", m=999, seed=0)          # the same words in other orders

Under the hypothesis that a model has not seen the phrase, the phrase and its null draws are exchangeable, whatever
is measured: p = (1 + #{T_j <= T}) / (m + 1) is exact. Streams of different identifiers, seeds, generators and kinds
(nulls, permutations) are independent. Source: arXiv 2403.15740 (phrases), 2402.10892 (null draws of one distribution).

Every number is taken from SHAKE-256 in blocks of BLOCK draws, so that draw number t is the same on every machine and
whichever draws came before. A word is one of the V - j that are left (without replacement; of V with it): 64 bits
modulo that number, off uniform by less than 2**-50 for a list of ten thousand words, equally for phrase and nulls.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from scorers.ghosts.wordlists import WordList

VERSION = 1
"""Of the draws: raised whenever the same key would give another phrase."""
BLOCK = 256
"""Draws that come out of one call of SHAKE-256."""

Casing = Literal["lower", "capital", "title", "upper"]

PHRASE, ELEMENT = "{phrase}", "{element}"


@dataclass(frozen=True)
class Sentence:
    """What is inserted. begin, end: the phrase's place in ``text``, in characters."""

    text: str
    begin: int
    end: int
    carrier: str


_KINDS = {
    "list_hash": str,
    "length": int,
    "replacement": bool,
    "carriers": list,
    "element": str,
    "casing": str,
    "version": int,
}


@dataclass(frozen=True)
class Generator:
    """G: all that shapes an identifier but its random numbers.

    list_hash: of the word list (WordList.hash). length: words of a phrase. replacement: whether a word may come twice.
    carriers: sentences that hold ``{phrase}`` once, and perhaps ``{element}`` once (without it, an element follows the
    sentence after a space); each identifier gets one of them, drawn like its words.
    element: any text; the same for all identifiers. casing: of the phrase as it is written.
    """

    list_hash: str
    length: int = 12
    replacement: bool = False
    carriers: tuple[str, ...] = ("The ghost sentence of this text is {phrase}.",)
    element: str = ""
    casing: Casing = "lower"
    version: int = VERSION

    def __post_init__(self) -> None:
        if not 2 <= self.length <= 64:
            raise ValueError(f"length: {self.length} words; expected 2 to 64")
        if self.version != VERSION:
            raise ValueError(f"generator version {self.version}; this Tamis draws version {VERSION}")
        if not self.carriers:
            raise ValueError("carriers: none; expected at least one sentence with {phrase}")
        for carrier in self.carriers:
            if carrier.count(PHRASE) != 1 or carrier.count(ELEMENT) > 1:
                raise ValueError(f"carrier {carrier!r}: expected {PHRASE} once, and {ELEMENT} at most once")
            if ELEMENT in carrier and not self.element:
                raise ValueError(f"carrier {carrier!r} has a place for an element, but there is no element")
            if _breaks(carrier):
                raise ValueError(f"carrier {carrier!r}: expected one line")
        if _breaks(self.element) or PHRASE in self.element or ELEMENT in self.element:
            raise ValueError(f"element {self.element!r}: expected one line without {PHRASE} and {ELEMENT}")

    @property
    def hash(self) -> str:
        """sha256 over all fields, in hex."""
        return hashlib.sha256(canonical_json(self.fields()).encode()).hexdigest()

    def fields(self) -> dict[str, object]:
        """The fields, as JSON has them."""
        return asdict(self) | {"carriers": list(self.carriers)}

    @classmethod
    def of(cls, fields: dict[str, object]) -> Generator:
        """From ``fields()``. Raises ValueError for unknown or missing ones, and for values of another kind."""
        if not isinstance(fields, dict):
            raise ValueError(f"generator: expected its fields, found a {type(fields).__name__}")
        for name, kind in _KINDS.items():
            if type(value := fields.get(name, kind())) is not kind:
                raise ValueError(f"generator: {name} is {value!r:.80}, expected a {kind.__name__}")
        if not all(isinstance(carrier, str) for carrier in fields.get("carriers", ())):  # type: ignore[attr-defined]
            raise ValueError("generator: carriers, expected a list of sentences")
        try:
            return cls(**(fields | {"carriers": tuple(fields["carriers"])}))  # type: ignore[arg-type, call-overload]
        except (TypeError, KeyError) as error:
            raise ValueError(f"generator {fields}: {error}") from None

    def checked(self, words: WordList) -> None:
        """Raises ValueError if the list is another one or too short."""
        if words.hash != self.list_hash:
            raise ValueError(f"the word list has hash {words.hash[:12]}, the generator asks for {self.list_hash[:12]}")
        if not self.replacement and len(words) < self.length:
            raise ValueError(f"{self.length} different words cannot be drawn from a list of {len(words)}")

    def bits(self, words: WordList) -> float:
        """Entropy of a phrase."""
        sizes = len(words) - np.arange(self.length) * (not self.replacement)
        return float(np.log2(sizes).sum())

    def phrase(self, words: WordList, row: np.ndarray) -> str:
        """The words at a row's places, as they are written."""
        return self.cased([words.words[i] for i in row])

    def cased(self, chosen: list[str]) -> str:
        """Words as they are written."""
        if self.casing == "upper":
            chosen = [word.upper() for word in chosen]
        elif self.casing == "title":
            chosen = [word[:1].upper() + word[1:] for word in chosen]
        elif self.casing == "capital":
            chosen = [chosen[0][:1].upper() + chosen[0][1:], *chosen[1:]]
        return " ".join(chosen)

    def sentence(self, phrase: str, carrier: str) -> Sentence:
        """The phrase in its carrier, with the element."""
        if carrier not in self.carriers:
            raise ValueError(f"carrier {carrier!r} is not one of the generator's")
        before, _, after = carrier.partition(PHRASE)
        if ELEMENT in carrier:
            before, after = (part.replace(ELEMENT, self.element) for part in (before, after))
        elif self.element:
            after += f" {self.element}"
        return Sentence(before + phrase + after, len(before), len(before) + len(phrase), carrier)

    def carrier(self, key: bytes, index: int) -> str:
        """The carrier of the identifier of that number."""
        drawn = hashlib.shake_256(key + b"carrier" + index.to_bytes(8, "big")).digest(8)
        return self.carriers[int.from_bytes(drawn, "big") % len(self.carriers)]


def secret_key(secret: bytes, beacon: str) -> bytes:
    """HMAC-SHA256(secret, beacon): the key of a registry's phrases."""
    return hmac.digest(secret, b"tamis ghosts 1\0" + beacon.encode(), "sha256")


def draw(generator: Generator, words: WordList, key: bytes, start: int, count: int) -> np.ndarray:
    """int32 (count, length): the draws from number `start` on, as places in the list."""
    generator.checked(words)
    numbers = _numbers(key + b"words", start, count, generator.length)
    if generator.replacement:
        return (numbers % np.uint64(len(words))).astype(np.int32)
    rows = np.empty((count, generator.length), np.int32)
    for j in range(generator.length):
        # One of the words that are left: step over those that are taken, from the lowest.
        place = (numbers[:, j] % np.uint64(len(words) - j)).astype(np.int32)
        for taken in np.sort(rows[:, :j], axis=1).T:
            place += place >= taken
        rows[:, j] = place
    return rows


def nulls(generator: Generator, words: WordList, identifier: str, m: int, seed: int = 0, start: int = 0) -> np.ndarray:
    """int32 (m, length): null draws `start` to `start + m` of an identifier, as places in the list."""
    return draw(generator, words, _stream("nulls", generator, identifier, seed), start, m)


def permuted(
    row: np.ndarray, generator: Generator, identifier: str, m: int, seed: int = 0, start: int = 0
) -> np.ndarray:
    """(m, len(row)): random orders `start` to `start + m` of the same words (or whatever the row holds)."""
    numbers = _numbers(_stream("orders", generator, identifier, seed), start, m, len(row))
    return np.asarray(row)[np.argsort(numbers, axis=1, kind="stable")]


def _stream(kind: str, generator: Generator, identifier: str, seed: int) -> bytes:
    text = canonical_json(["tamis ghosts 1", kind, generator.hash, identifier, seed])
    return hashlib.sha256(text.encode()).digest()


def _numbers(key: bytes, start: int, count: int, width: int) -> np.ndarray:
    """uint64 (count, width): rows `start` to `start + count` of the key's stream."""
    if start < 0 or count < 0:
        raise ValueError(f"draws {start} to {start + count}: expected numbers from 0 on")
    first, last = start // BLOCK, -(-(start + count) // BLOCK)
    size = BLOCK * width * 8
    blocks = [hashlib.shake_256(key + number.to_bytes(8, "big")).digest(size) for number in range(first, last)]
    rows = np.frombuffer(b"".join(blocks), ">u8").astype(np.uint64).reshape(-1, width)
    return rows[start - first * BLOCK :][:count]


def canonical_json(value: object) -> str:
    """One text for one value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _breaks(text: str) -> bool:
    return len(text.splitlines()) > 1 or text != text.strip("\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029")
