"""Word lists: EFF's as shipped, other people's as files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import scorers.ghosts.wordlists as wordlists
from scorers.ghosts.canonical import canonical
from scorers.ghosts.wordlists import eff_large, parse_words, shipped

DATA = Path(wordlists.__file__).parent / "data"


def test_effs_list_is_whole_and_known_by_its_hash():
    words = eff_large()
    assert len(words) == 7776 == 6**5
    assert len(set(words.words)) == 7776
    assert words.words[:2] == ("abacus", "abdomen")
    assert words.words[-1] == "zoom"
    assert words.bits == pytest.approx(12.925, abs=5e-4)
    # As EFF publishes it: the five rolls of a die in order, a tab, the word.
    file = DATA / "eff_large_wordlist.txt"
    assert hashlib.sha256(file.read_bytes()).hexdigest().startswith("addd3553651159")
    rolls = [int(line.split("\t")[0]) for line in file.read_text().splitlines()]
    assert rolls == sorted(rolls)
    assert shipped(words.hash) is words
    assert shipped("0" * 64) is None
    assert "CC BY 3.0 US" in (DATA / "LICENSE").read_text()


def test_every_word_of_effs_list_is_recovered_from_the_canonical_text():
    for word in eff_large().words:
        assert "".join(canonical(word)) == word.replace("-", "")


def test_rolls_comments_and_signatures_are_passed_over():
    assert parse_words("# mine\n1111\tant\n\n1112  bee\nfly\n", "x").words == ("ant", "bee", "fly")
    signed = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA1\n\nant\n- -bee\n-----BEGIN PGP SIGNATURE-----\nabc def\n"
    assert parse_words(signed, "x").words == ("ant", "-bee")


def test_order_is_part_of_a_list():
    assert parse_words("a\nb\n", "x").hash != parse_words("b\na\n", "x").hash


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 words; expected at least 2"),
        ("ant\nbig bee\n", "line 2: 'big bee': expected one word a line"),
        ("ant\nAnt\n", "'Ant' and 'ant' are the same word"),
        ("cafe\ncafé\n", "same word once case, accents"),
        ("ant\n--\n", "line 2: '--' has no letter"),
        ("drop\ndrop-down\n", "'drop-down' begins with the word 'drop'"),
    ],
)
def test_lists_that_could_be_read_two_ways_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_words(text, "mine.txt")
