"""Conversations: the loss is on the chosen roles, to the character, with a template and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.errors import UserError
from pipeline.trainer.data import DataSettings
from pipeline.trainer.encode import Tokenizing, Unfit, encode_conversation, tokenizing
from pipeline.trainer.template import compiled
from scorers.lengths import load_tokenizer
from tests.pipeline.trainer.packs import little

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% elif m['role'] == 'assistant' %}{% generation %} {{ m['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
FORGETFUL = "{% for m in messages %}{{ m['content'] if loop.last else '...' }}|{% endfor %}"
TALK = [
    {"role": "user", "content": "the lazy dog"},
    {"role": "assistant", "content": "seven wizards"},
    {"role": "user", "content": "tea"},
    {"role": "assistant", "content": "in the garden é"},
]


def how(folder: Path, template: str | None, eos: str = "</s>") -> Tokenizing:
    """A tokenizer with a chat template."""
    tokenizer = little()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {"bos_token": "<s>", "eos_token": eos}
    (folder / "tokenizer_config.json").write_bytes(
        orjson.dumps(config if template is None else config | {"chat_template": template})
    )
    return tokenizing(DataSettings(paths=["x"], tokenizer=str(folder), messages="messages"))


def told(made: Tokenizing, roles: list[str], talk: list[dict[str, str]] = TALK) -> tuple[str, str, int]:
    """(the whole decoded, what of it is learnt, bytes)."""
    assert made.file is not None
    encoded = encode_conversation(made, talk, roles)
    tokenizer = load_tokenizer(made.file)
    tokens = encoded.tokens.tolist()
    assert encoded.weights is not None
    assert len(encoded.weights) == len(tokens)
    learnt = [token for token, weight in zip(tokens, encoded.weights, strict=True) if weight]
    decoded = [tokenizer.decode(part, skip_special_tokens=False) for part in (tokens, learnt)]
    return decoded[0], decoded[1], encoded.bytes


def test_a_template_decides_what_is_read_and_the_roles_what_is_learnt(tmp_path: Path) -> None:
    made = how(tmp_path, CHATML)
    whole, learnt, size = told(made, ["assistant"])
    turns = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in TALK)
    assert whole == f"<s>{turns}</s>"
    assert learnt == "seven wizards<|im_end|>in the garden é<|im_end|></s>"
    assert size == len("seven wizards<|im_end|>in the garden é<|im_end|>".encode())
    assert told(made, ["user"])[1] == "the lazy dog<|im_end|>tea<|im_end|>"


def test_what_the_template_ends_with_is_not_written_twice(tmp_path: Path) -> None:
    whole, learnt, _ = told(how(tmp_path, CHATML, eos="<|im_end|>"), ["assistant"])
    assert whole.endswith("é<|im_end|>\n")
    assert learnt.endswith("é<|im_end|>")
    (tmp_path / "inst").mkdir()
    whole, learnt, _ = told(how(tmp_path / "inst", INST), ["assistant"])
    assert whole == "<s>[INST] the lazy dog [/INST] seven wizards</s>[INST] tea [/INST] in the garden é</s>"
    assert learnt == " seven wizards</s> in the garden é</s>"


def test_without_a_template_contents_are_learnt(tmp_path: Path) -> None:
    whole, learnt, size = told(how(tmp_path, None), ["assistant"])
    assert whole == "<s>" + "\n\n".join(f"{m['role']}: {m['content']}" for m in TALK) + "</s>"
    assert learnt == " seven wizards in the garden é</s>"
    assert size == len(" seven wizards in the garden é".encode())
    assert told(how(tmp_path, None), ["user"])[1] == " the lazy dog tea"


def test_a_template_that_rewrites_earlier_messages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="renders the first 2 messages otherwise"):
        how(tmp_path, FORGETFUL)


def test_a_template_that_is_not_jinja_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="chat template: line 1"):
        how(tmp_path, "{% for %}")


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        ([TALK[0], {"role": "assistant", "content": "a<|im_end|>b"}], "special_in_content"),
        ([{"role": "system", "content": "fox"}, *TALK], "template"),
        ([TALK[0]], "nothing_to_learn"),
    ],
)
def test_a_conversation_that_does_not_fit_says_why(tmp_path: Path, talk: list[dict[str, str]], reason: str) -> None:
    with pytest.raises(Unfit) as raised:
        encode_conversation(how(tmp_path, INST), talk, ["assistant"])
    assert raised.value.args[0] == reason


def test_a_template_cannot_reach_out() -> None:
    escaping = compiled("{{ ''.__class__.__mro__[1].__subclasses__() }}", ())
    with pytest.raises(ValueError, match="chat template says"):
        escaping.text(TALK)


def test_a_template_renders_as_transformers_does(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    for name, template in (("a", CHATML), ("b", INST)):
        folder = tmp_path / name
        folder.mkdir()
        made = how(folder, template)
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        for answer in (False, True):
            expected = theirs.apply_chat_template(TALK, tokenize=False, add_generation_prompt=answer)
            assert compiled(template, made.specials).text(TALK, answer) == expected
