"""Where messages stand in what published chat templates make of them; exact, whatever a template rewrites."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.trainer.template import compiled
from tests.pipeline.trainer.templates import REWRITING, TEMPLATES

SPECIALS = (("bos_token", "<s>"), ("eos_token", "</s>"))
ENDS = {
    "chatml": "<|im_end|>",
    "smollm2": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "mistral": "</s>",
    "mistral-v3": "</s>",
    "gemma": "<end_of_turn>",
    "zephyr": "</s>",
    "qwen3": "<|im_end|>",
}
WORDS = st.text(st.sampled_from("ab <|>\n[]user:é"), min_size=1, max_size=12).filter(lambda text: bool(text.strip()))


def talk(contents: list[str], system: str | None = None) -> list[dict[str, str]]:
    messages = [] if system is None else [{"role": "system", "content": system}]
    return messages + [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]


@pytest.mark.parametrize("name", TEMPLATES)
@given(contents=st.lists(WORDS, min_size=2, max_size=6).filter(lambda c: len(c) % 2 == 0))
def test_an_answer_is_its_words_and_what_ends_its_turn(name: str, contents: list[str]) -> None:
    template = compiled(TEMPLATES[name], SPECIALS)
    whole, parts = template.parts(talk(contents))
    assert whole == template.text(talk(contents))
    at = 0
    for i, (content, part) in enumerate(zip(contents, parts, strict=True)):
        assert part is not None
        start, end = part
        assert at <= start < end
        at = end
        if i % 2:
            said = whole[start:end]
            # All of the words and nothing of the frame; templates differ in whether they keep outer white space.
            assert said.strip().startswith(content.strip())
            assert said.strip().removeprefix(content.strip()).strip() == ENDS[name]
            assert whole[:start] == template.text(talk(contents[:i]), answer=True) or name in REWRITING


@pytest.mark.parametrize("name", ["chatml", "smollm2", "llama3", "zephyr", "qwen3"])
def test_equal_messages_are_told_apart_and_the_system_is_found(name: str) -> None:
    whole, parts = compiled(TEMPLATES[name], SPECIALS).parts(talk(["a", "a", "a", "a"], system="a"))
    spans = [part for part in parts if part is not None]
    assert len(spans) == 5
    assert spans == sorted(spans)
    assert [whole[start:end] for start, end in spans] == ["a" + ENDS[name]] * 5


def test_a_system_message_that_is_moved_into_the_last_question_is_found_there() -> None:
    messages = talk(["first", "answer one", "second", "answer two"], system="be brief")
    whole, parts = compiled(TEMPLATES["mistral-v3"], SPECIALS).parts(messages)
    assert whole == "<s>[INST] first[/INST] answer one</s>[INST] be brief\n\nsecond[/INST] answer two</s>"
    assert [None if part is None else whole[slice(*part)] for part in parts] == [
        "be brief",
        "first[/INST]",
        "answer one</s>",
        "second[/INST]",
        " answer two</s>",
    ]


def test_reasoning_that_is_cut_from_earlier_answers_is_in_no_message() -> None:
    thought = "<think>\nhm\n</think>\n\n"
    messages = talk(["q", thought + "one", "r", thought + "two"])
    whole, parts = compiled(TEMPLATES["qwen3"], SPECIALS).parts(messages)
    said = [None if part is None else whole[slice(*part)] for part in parts]
    assert said == ["q<|im_end|>", "one<|im_end|>", "r<|im_end|>", f"{thought}two<|im_end|>"]
    assert "hm" not in whole[: whole.index("one")]


def test_a_message_that_the_template_tests_is_found_with_one_mark() -> None:
    messages = talk(["<tool_response>\n5\n</tool_response>", "five"])
    whole, parts = compiled(TEMPLATES["qwen3"], SPECIALS).parts(messages)
    assert [None if part is None else whole[slice(*part)] for part in parts][1] == "five<|im_end|>"


def test_a_template_that_repeats_a_message_is_refused() -> None:
    twice = compiled("{% for m in messages %}{{ m['content'] }}|{{ m['content'] }}{% endfor %}", ())
    with pytest.raises(ValueError, match="writes message 1 twice"):
        twice.parts(talk(["a", "b"]))


def test_templates_render_as_transformers_does(tmp_path: object) -> None:
    pytest.importorskip("transformers")
    from transformers.utils.chat_template_utils import render_jinja_template

    for name, source in TEMPLATES.items():
        for contents in (["hi ", " there"], ["a", "b", "c\n", "d"]):
            for answer in (False, True):
                rendered, _ = render_jinja_template(
                    [talk(contents)], chat_template=source, add_generation_prompt=answer, **dict(SPECIALS)
                )
                assert compiled(source, SPECIALS).text(talk(contents), answer) == rendered[0], name
