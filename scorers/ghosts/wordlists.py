"""Word lists that passphrases are drawn from, known by the hash of their content.

    eff = eff_large()                        # EFF's large list: 7,776 words, 12.925 bits each; data/LICENSE
    other = parse_words(text, "animals.txt")     # a word a line, or a dice roll and a word a line

The order of a list is part of it: the same draw from another order is another phrase.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from scorers.ghosts.canonical import canonical

EFF_LARGE = "eff-large"
EFF_LARGE_HASH = "6d557f0693958fb5e650b68b5bee585eb82cf4da32965505c789e924743bc522"
_ROLL = re.compile(r"[1-9]{4,}\s+(\S+)")


@dataclass(frozen=True)
class WordList:
    """Distinct words, none of which can be mistaken for the beginning of another in canonical form."""

    words: tuple[str, ...]

    @cached_property
    def hash(self) -> str:
        """sha256 of the words in order, a word a line, in hex."""
        return hashlib.sha256("".join(f"{word}\n" for word in self.words).encode()).hexdigest()

    @property
    def bits(self) -> float:
        """Entropy of one word drawn from the list."""
        return math.log2(len(self.words))

    def __len__(self) -> int:
        return len(self.words)


@cache
def eff_large() -> WordList:
    """EFF's large list."""
    file = Path(__file__).parent / "data" / "eff_large_wordlist.txt"
    return parse_words(file.read_text("utf-8"), EFF_LARGE)


def shipped(digest: str) -> WordList | None:
    """The list of that hash, if it comes with Tamis."""
    return eff_large() if digest == EFF_LARGE_HASH else None


def parse_words(text: str, name: str) -> WordList:
    """A word list from the content of a file; `name` is for messages.

    Empty lines and lines that begin with # are passed over; a signed list (PGP) is read between its marks. Raises
    ValueError for fewer than two words, words with spaces, and words that are the same, or begin alike, in
    canonical form.
    """
    words: list[str] = []
    canonicals: dict[tuple[str, ...], str] = {}
    for number, line in enumerate(_unsigned(text.splitlines()), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        rolled = _ROLL.fullmatch(line)
        word = rolled.group(1) if rolled else line
        if word.split() != [word]:
            raise ValueError(f"word list {name}, line {number}: {word[:60]!r}: expected one word a line")
        pieces = tuple(canonical(word))
        if not pieces:
            raise ValueError(f"word list {name}, line {number}: {word[:60]!r} has no letter")
        if pieces in canonicals:
            raise ValueError(
                f"word list {name}, line {number}: {word!r} and {canonicals[pieces]!r} are the same word once case, "
                f"accents and punctuation are gone; remove one of them"
            )
        canonicals[pieces] = word
        words.append(word)
    if len(words) < 2:
        raise ValueError(f"word list {name}: {len(words)} words; expected at least 2, a word a line")
    for pieces, word in canonicals.items():
        for size in range(1, len(pieces)):
            if pieces[:size] in canonicals:
                raise ValueError(
                    f"word list {name}: {word!r} begins with the word {canonicals[pieces[:size]]!r}: a text could be "
                    f"read either way; remove one of them"
                )
    return WordList(tuple(words))


def _unsigned(lines: list[str]) -> list[str]:
    """The lines between the marks of a PGP signed message, dashes unescaped; all lines if it is none."""
    if not lines or "BEGIN PGP SIGNED MESSAGE" not in lines[0]:
        return lines
    begin = next((n for n, line in enumerate(lines) if not line.strip()), 0)
    end = next((n for n, line in enumerate(lines) if "BEGIN PGP SIGNATURE" in line), len(lines))
    return [line.removeprefix("- ") for line in lines[begin:end]]
