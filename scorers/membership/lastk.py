"""The last-k-words test: does the model, shown a phrase without its last words, reply with them?

It needs text alone, so it runs on any chat or completion service. A guess is the first canonical words of a reply (as
many as the hidden words have), in lower case and without punctuation. Under the hypothesis that the model has not seen
the phrase, its replies do not depend on the hidden words, which are uniform over what the list still offers; so the
chance that any of g distinct guesses is right is at most g over that number, whatever the model says. Every reply
counts in g: of every prompt, beam and sample.

    prompts of positions   the true words before each of the last words; one guess each
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from scorers.ghosts.canonical import canonical
from scorers.ghosts.generator import Generator
from scorers.membership.pvalues import last_k_bound, positions_p

TOKENS_PER_WORD = 10
"""Tokens that a reply may take for a word: small vocabularies spell words out."""


@dataclass(frozen=True)
class Listed:
    """The words of a list by their canonical form. A word such as "t-shirt" has two canonical words."""

    words: tuple[str, ...]

    @cached_property
    def _places(self) -> dict[tuple[str, ...], int]:
        found: dict[tuple[str, ...], int] = {}
        for word in self.words:
            key = tuple(canonical(word))
            found[key] = found.get(key, 0) + 1
        return found

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._places), default=1)

    def tails(self, said: Sequence[str], k: int) -> dict[tuple[str, ...], int]:
        """{canonical words: phrases of k list words that read so} that canonical text may begin with."""
        if k == 0:
            return {(): 1}
        found: dict[tuple[str, ...], int] = {}
        for size in range(1, self._longest + 1):
            head = tuple(said[:size])
            count = self._places.get(head, 0) if len(head) == size else 0
            if count:
                for rest, ways in self.tails(said[size:], k - 1).items():
                    found[head + rest] = found.get(head + rest, 0) + count * ways
        return found


@dataclass(frozen=True)
class Guesses:
    """What replies came to. guesses: g, distinct ones; hit: whether one of them is right."""

    guesses: int
    hit: bool


def judged(replies: Iterable[str], hidden: Sequence[str], listed: Listed) -> Guesses:
    """The guesses in replies at k hidden words of a list.

    A reply that begins with list words in several ways ("yo yo-yo") counts once for each, and one that begins with
    other words counts once: it could not have been right, but what counts as a guess is not chosen by looking.
    """
    k, right = len(hidden), tuple(word for one in hidden for word in canonical(one))
    tails: dict[tuple[str, ...], int] = {}
    others: set[tuple[str, ...]] = set()
    for reply in replies:
        said = canonical(reply)
        found = listed.tails(said, k)
        tails |= found
        if not found:
            others.add(tuple(said[:k]))
    return Guesses(sum(tails.values()) + len(others), right in tails)


def prompt_of(sentence: str, begin: int, words: Sequence[str], shown: int, before: str = "") -> str:
    """A sentence up to and with the first `shown` words of its phrase, which begins at `begin`.

    before: text of a document that comes first. The prompt ends with a letter: the space is the model's to say.
    Raises ValueError if the hidden words stand in it anywhere.
    """
    prompt = before + sentence[:begin] + " ".join(words[:shown])
    hidden = [word for one in words[shown:] for word in canonical(one)]
    text = canonical(prompt)
    if any(text[i : i + len(hidden)] == hidden for i in range(len(text) - len(hidden) + 1)):
        raise ValueError("the prompt already holds the words that it is to ask for")
    return prompt


def last_k_p(found: Guesses, generator: Generator, list_size: int, k: int) -> float:
    """P-value of one identifier; 1 without a hit."""
    if not found.hit:
        return 1.0
    return last_k_bound(found.guesses, list_size, generator.length, k, generator.replacement)


def positions_test(found: Sequence[Guesses], generator: Generator, list_size: int) -> float:
    """P-value of how many of the last words were guessed one at a time, each after the true ones before it.

    Position by position the word is uniform over what the list still offers, given all words before it.
    """
    offered = list_size if generator.replacement else list_size - generator.length + 1
    return positions_p(sum(one.hit for one in found), [one.guesses / offered for one in found])
