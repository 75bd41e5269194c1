"""Token positions and common boundaries; no model is needed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders

from scorers.lm.align import align_to_characters, common_boundaries
from scorers.lm.tokens import completed, plain_tokenizer, tokenize
from tests.scorers.lm.conftest import bpe

TEXTS = st.text(st.sampled_from("the quickdog \n\té你\U0001f600ß"), max_size=40)
SMALL, LARGE = plain_tokenizer(bpe(258)), plain_tokenizer(bpe(400))  # bytes alone, and words


@given(TEXTS)
def test_ends_count_the_characters_that_are_whole_after_each_token(text):
    for tokenizer in (SMALL, LARGE):
        tokenizer.decoder = decoders.ByteLevel()
        tokens = tokenize(tokenizer, None, [text])
        whole = [tokenizer.decode(tokens.ids[: i + 1].tolist()).rstrip("\ufffd") for i in range(len(tokens.ids))]
        assert tokens.ends.tolist() == [len(start) for start in whole]
        assert all(text.startswith(start) for start in whole)


def test_documents_of_one_call_do_not_see_each_other():
    texts = ["the quick", "", "fox"] * 200
    tokens = tokenize(LARGE, 0, texts)
    for doc, text in enumerate(texts):
        alone = tokenize(LARGE, 0, [text])
        mine = slice(tokens.offsets[doc], tokens.offsets[doc + 1])
        assert tokens.ids[mine].tolist() == alone.ids.tolist()
        assert tokens.ends[mine].tolist() == alone.ends.tolist()
        assert tokens.leads[doc] == (1 if text else 0)


def test_a_file_that_asks_for_truncation_truncates_nothing():
    text = "dog " * 1000
    assert len(bpe().encode(text)) == 16
    assert tokenize(plain_tokenizer(bpe()), None, [text]).ends[-1] == len(text)


def test_without_bos_the_first_whole_character_has_no_loss():
    assert tokenize(SMALL, None, ["\U0001f600a", "ab", ""]).leads.tolist() == [4, 1, 0]
    assert tokenize(SMALL, 0, ["\U0001f600a", "ab", ""]).leads.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("spans", "ends"),
    [
        ([], []),
        ([(0, 1), (0, 1), (1, 2)], [0, 1, 2]),  # a character in two tokens
        ([(0, 0), (0, 3)], [0, 3]),  # a token that stands for nothing
        ([(0, 2), (1, 3)], [1, 3]),  # the second token completes the second character
        ([(0, 1), (3, 4)], [1, 4]),  # characters that the tokenizer drops
    ],
)
def test_a_character_is_whole_when_no_later_token_touches_it(spans, ends):
    assert completed(np.array(spans, np.int64).reshape(-1, 2)).tolist() == ends


@given(TEXTS, st.booleans(), st.data())
def test_pieces_between_common_boundaries_hold_the_losses_of_their_own_characters(text, bos, data):
    """Each token's loss is the number of bytes it spells: then a piece must sum to the bytes of its characters."""
    pieces, edges_of = [], []
    for tokenizer in (SMALL, LARGE):
        tokens = tokenize(tokenizer, 0 if bos else None, [text])
        lead = int(tokens.leads[0])
        begin = int(tokens.ends[lead - 1]) if lead else 0
        sizes = np.array([len(tokenizer.id_to_token(int(token))) for token in tokens.ids[lead:]], np.float32)
        pieces.append((sizes, tokens.ends[lead:], begin))
        edges_of.append((begin, tokens.ends[lead:]))
    edges = common_boundaries(*(ends for _, ends in edges_of), begins=[begin for begin, _ in edges_of])
    assert edges[-1] == len(text)
    expected = [len(text[a:b].encode()) for a, b in itertools.pairwise(edges)]
    for sizes, ends, begin in pieces:
        if begin == edges[0]:
            assert align_to_characters(sizes, ends, edges, begin).tolist() == expected


def test_half_a_token_is_refused():
    with pytest.raises(ValueError, match="no token ends at character 3"):
        align_to_characters(np.ones(2), np.array([4, 8]), [0, 3, 8])


def test_boundaries_that_do_not_rise_are_refused():
    with pytest.raises(ValueError, match="must rise"):
        align_to_characters(np.ones(2), np.array([4, 8]), [0, 8, 4])


def test_losses_and_ends_of_different_documents_are_refused():
    with pytest.raises(ValueError, match="3 losses but 2 token ends"):
        align_to_characters(np.ones(3), np.array([4, 8]), [0, 8])


def test_models_with_nothing_in_common_have_fewer_than_two_boundaries():
    assert len(common_boundaries([3, 5], [4, 6], begins=[1, 2])) == 0
    assert common_boundaries([2, 5], [3, 5], begins=[0, 1]).tolist() == [5]
