"""Guesses, their number, and the chance of being right by luck."""

from __future__ import annotations

import numpy as np
import pytest

from scorers.ghosts.generator import Generator, draw
from scorers.ghosts.wordlists import WordList, eff_large
from scorers.membership.lastk import Listed, judged, last_k_p, positions_test, prompt_of
from scorers.membership.pvalues import binomial_limit

WORDS = WordList(("apple", "brick", "cloud", "yo", "yo-yo", "drum", "eel", "t-shirt"))
LISTED = Listed(WORDS.words)


def test_a_guess_is_the_first_words_of_a_reply_however_they_are_written() -> None:
    for reply in (" voter resent.", "VOTER, Resent facebook", "\n**voter**-resent"):
        assert judged([reply], ["voter", "resent"], Listed(eff_large().words)).hit
    for reply in ("the voter resent", "s voter resent", "", "voter"):
        assert not judged([reply], ["voter", "resent"], Listed(eff_large().words)).hit


def test_every_distinct_guess_counts_once() -> None:
    found = judged(
        ["apple brick", "Apple, brick.", "apple cloud", "what do you mean", "what do I"], ["eel", "drum"], LISTED
    )
    assert (found.guesses, found.hit) == (3, False)


def test_a_reply_that_reads_in_several_ways_counts_for_each() -> None:
    found = judged(["yo yo yo"], ["yo-yo", "yo"], LISTED)
    assert found.hit
    assert found.guesses == 3  # yo yo; yo-yo yo; yo yo-yo
    assert judged(["t shirt apple"], ["t-shirt", "apple"], LISTED) == judged(
        ["T-Shirt apple"], ["t-shirt", "apple"], LISTED
    )


@pytest.mark.parametrize("replacement", [True, False])
def test_luck_is_no_more_frequent_than_its_bound(replacement: bool) -> None:
    generator = Generator(WORDS.hash, length=4, replacement=replacement)
    replies = ["apple brick", "yo yo yo", "eel drum", "cloud apple", "nothing of it"]
    rows = draw(generator, WORDS, b"key", 0, 3000)
    found = [judged(replies, [WORDS.words[i] for i in row[2:]], LISTED) for row in rows]
    bound = {last_k_p(one, generator, len(WORDS), 2) for one in found if one.hit}
    [p] = bound
    assert sum(one.hit for one in found) <= binomial_limit(len(rows), p, 1e-6)
    assert last_k_p(found[0], generator, len(WORDS), 2) in (1.0, p)


@pytest.mark.parametrize("replacement", [True, False])
def test_hits_one_at_a_time_keep_their_bound(replacement: bool) -> None:
    generator = Generator(WORDS.hash, length=4, replacement=replacement)
    rows = draw(generator, WORDS, b"other", 0, 3000)
    p = []
    for row in rows:  # the guesser knows the words before, and says the next one of the list
        before = [WORDS.words[(row[i - 1] + 1) % len(WORDS)] for i in range(1, 4)]
        hidden = [WORDS.words[row[i]] for i in range(1, 4)]
        found = [judged([reply], [word], LISTED) for reply, word in zip(before, hidden, strict=True)]
        p.append(positions_test(found, generator, len(WORDS)))
    for alpha in (0.05, 0.2):
        assert (np.array(p) <= alpha).sum() <= binomial_limit(len(p), alpha, 1e-6)


def test_no_prompt_holds_what_it_asks_for() -> None:
    words = ["apple", "brick", "cloud", "drum"]
    sentence = "The ghost is apple brick cloud drum."
    assert prompt_of(sentence, 13, words, 2) == "The ghost is apple brick"
    assert prompt_of(sentence, 13, words, 3, before="A drummer. ") == "A drummer. The ghost is apple brick cloud"
    with pytest.raises(ValueError, match="already holds"):
        prompt_of(sentence, 13, words, 2, before="As said: Cloud-Drum! ")
