"""Role and turn of every token, for published templates, and the tokens that transformers would make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.tokens.encode import (
    ASSISTANT,
    NOBODY,
    OTHER,
    SYSTEM,
    TEXT,
    USER,
    Encoded,
    encode_document,
    identity,
    tokenizing_of,
)
from pipeline.trainer.encode import Tokenizing, Unfit
from tests.pipeline.trainer.packs import little
from tests.pipeline.trainer.templates import TEMPLATES

MARKUP = ["<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
MARKUP += ["<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|system|>"]
CHARACTERS = st.characters(codec="utf-8", exclude_categories=("Co", "Cs"))
TALK = [
    {"role": "user", "content": "the lazy dog é"},
    {"role": "assistant", "content": "seven wizards\nboil tea"},
    {"role": "user", "content": "tea"},
    {"role": "assistant", "content": "in the garden 🙂"},
]


def folder(place: Path, template: str | None) -> Path:
    """A tokenizer with special tokens for all the templates."""
    place.mkdir(parents=True, exist_ok=True)
    tokenizer = little()
    tokenizer.add_special_tokens(MARKUP)
    tokenizer.save(str(place / "tokenizer.json"))
    config = {"bos_token": "<s>", "eos_token": "</s>"} | ({} if template is None else {"chat_template": template})
    (place / "tokenizer_config.json").write_bytes(orjson.dumps(config))
    return place


@pytest.fixture(scope="module")
def hows(tmp_path_factory: pytest.TempPathFactory) -> dict[str | None, Tokenizing]:
    place = tmp_path_factory.mktemp("tokenizers")
    made: dict[str | None, Tokenizing] = {
        name: tokenizing_of(str(folder(place / name, source)), None) for name, source in TEMPLATES.items()
    }
    return made | {None: tokenizing_of(str(folder(place / "plain", None)), None)}


def said(made: Encoded, role: int) -> dict[int, str]:
    """{turn: what its tokens stand for} of a role."""
    turns = dict.fromkeys(made.turns[made.roles == role].tolist())
    return {t: "".join(_text(made, (made.roles == role) & (made.turns == t))) for t in turns}


def _text(made: Encoded, which: np.ndarray) -> str:
    places = np.flatnonzero(which)
    return made.text[int(made.starts[places].min()) : int(made.ends[places].max())]


@pytest.mark.parametrize("name", TEMPLATES)
def test_answers_are_the_assistants_and_what_asks_for_them_is_not(
    hows: dict[str | None, Tokenizing], name: str
) -> None:
    made = encode_document(hows[name], "", TALK)
    answers = said(made, ASSISTANT)
    assert list(answers) == [1, 3]
    for turn, text in answers.items():
        assert text.lstrip().startswith(TALK[turn]["content"])
        assert len(text.strip()) <= len(TALK[turn]["content"]) + len("<end_of_turn>")
    asked = said(made, USER)
    assert [TALK[turn]["content"] in text for turn, text in asked.items()] == [True, True]
    assert not any(TALK[turn]["content"] in text for turn, text in said(made, NOBODY).items() if turn >= 0)
    # Every token has one role, and the responses are exactly the assistant's.
    spans = made.responses
    assert len(spans) == 2
    inside = np.zeros(len(made.ids), bool)
    for first, last in spans:
        inside[first:last] = True
    np.testing.assert_array_equal(inside, made.roles == ASSISTANT)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=15)
@given(
    words=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=("Co", "Cs")), max_size=12), min_size=2, max_size=4
    )
)
def test_no_token_of_a_question_carries_loss(hows: dict[str | None, Tokenizing], name: str, words: list[str]) -> None:
    talk = [{"role": ("user", "assistant")[i % 2], "content": f"Q{i} {word} A"} for i, word in enumerate(words)]
    made = encode_document(hows[name], "", talk)
    for i, message in enumerate(talk):
        at = made.text.find(message["content"].strip())
        assert at >= 0
        first, last = (np.searchsorted(made.starts, at + k, side="right") - 1 for k in (0, 1))
        wanted = ASSISTANT if message["role"] == "assistant" else USER
        assert made.roles[last] == wanted, (name, i)
        assert made.turns[last] == i
        assert made.roles[first] == wanted or message["role"] == "assistant"


def test_a_default_system_message_is_nobodys_and_a_given_one_is_the_systems(
    hows: dict[str | None, Tokenizing],
) -> None:
    made = encode_document(hows["smollm2"], "", TALK)
    assert "helpful AI assistant named SmolLM" in said(made, NOBODY)[-1]
    given = encode_document(hows["smollm2"], "", [{"role": "system", "content": "be brief"}, *TALK])
    assert said(given, SYSTEM)[0].startswith("be brief")
    assert "SmolLM" not in given.text
    tool = [*TALK[:1], {"role": "tool", "content": "five"}, *TALK[1:2]]
    assert "five" in said(encode_document(hows["chatml"], "", tool), OTHER)[1]


def test_text_is_one_response_behind_bos_and_a_conversation_without_template_is_what_ingest_writes(
    hows: dict[str | None, Tokenizing],
) -> None:
    made = encode_document(hows[None], "the lazy dog", None)
    assert made.roles.tolist() == [NOBODY] + [TEXT] * (len(made.ids) - 1)
    assert [made.ids[0], made.ids[-1]] == [0, 1]
    assert made.responses.tolist() == [[1, len(made.ids)]]
    plain = encode_document(hows[None], "", TALK)
    assert plain.text == "\n\n".join(f"{m['role']}: {m['content']}" for m in TALK)
    assert [text.strip() for text in said(plain, ASSISTANT).values()] == [TALK[1]["content"], TALK[3]["content"]]
    assert plain.roles[-1] == ASSISTANT  # the EOS ends an answer


@pytest.mark.parametrize("name", TEMPLATES)
def test_ids_are_those_of_apply_chat_template(tmp_path: Path, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    place = folder(tmp_path / "t", TEMPLATES[name])
    theirs = transformers.AutoTokenizer.from_pretrained(place).apply_chat_template(TALK, tokenize=True)
    ids = theirs["input_ids"] if not isinstance(theirs, list) else theirs
    assert encode_document(tokenizing_of(str(place), None), "", TALK).ids.tolist() == list(ids)


def test_what_would_be_read_as_markup_or_is_left_out_is_said(hows: dict[str | None, Tokenizing]) -> None:
    talk: list[dict[str, Any]] = [TALK[0], {"role": "assistant", "content": "a<|im_end|>b"}]
    with pytest.raises(Unfit, match="special_in_content"):
        encode_document(hows["chatml"], "", talk)
    with pytest.raises(Unfit, match="template"):
        encode_document(hows["gemma"], "", [{"role": "system", "content": "x"}, *TALK])


def test_the_identity_knows_tokenizer_and_template_but_not_how_the_file_was_written(tmp_path: Path) -> None:
    one = tokenizing_of(str(folder(tmp_path / "a", TEMPLATES["chatml"])), None)
    other = folder(tmp_path / "b", TEMPLATES["chatml"])
    values = orjson.loads((other / "tokenizer.json").read_bytes())
    values["truncation"] = None
    (other / "tokenizer.json").write_bytes(orjson.dumps(values, option=orjson.OPT_INDENT_2))
    assert identity(tokenizing_of(str(other), None)) == identity(one)
    (tmp_path / "own.jinja").write_text(TEMPLATES["zephyr"])
    assert identity(tokenizing_of(str(other), str(tmp_path / "own.jinja"))) != identity(one)
    with pytest.raises(UserError, match="cannot be read"):
        tokenizing_of(str(other), str(tmp_path / "none.jinja"))
