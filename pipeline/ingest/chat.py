"""Conversations: rows of chat, prompt/completion and Alpaca style become `messages` and a plain text.

The text is one paragraph per message, `role: content`, with a blank line between them:

    user: What is a tamis?

    assistant: A drum sieve.

Roles of the ShareGPT style are renamed (human -> user, gpt -> assistant, ...). What a message holds beyond a role and a
plain content (tool calls, images, weights) does not fit `messages`: the caller keeps the original beside it.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

COLUMNS = {
    "messages": ("messages",),
    "conversations": ("conversations",),
    "prompt": ("prompt", "completion"),
    "instruction": ("instruction", "input", "output"),
}
"""{style: columns it consumes}; `input` of the instruction style may be missing."""

ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "function": "tool",
    "function_response": "tool",
    "observation": "tool",
}

Message = dict[str, str]


def detect(types: dict[str, pa.DataType | None]) -> str | None:
    """The style that columns of these types have, if any."""
    for name in ("messages", "conversations"):
        kind = types.get(name)
        if kind is not None and _is_list(kind) and pa.types.is_struct(kind.value_type):
            return name
    if "prompt" in types and "completion" in types:
        return "prompt"
    if "instruction" in types and "output" in types:
        return "instruction"
    return None


def is_plain(style: str, name: str, kind: pa.DataType) -> bool:
    """Whether a column of this Arrow type goes into `messages` without loss."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return True
    if not _is_list(kind) or not pa.types.is_struct(kind.value_type):
        return False
    struct = kind.value_type
    fields = {struct.field(i).name: struct.field(i).type for i in range(struct.num_fields)}
    strings = all(pa.types.is_string(t) or pa.types.is_large_string(t) for t in fields.values())
    return strings and set(fields) in ({"role", "content"}, {"from", "value"})


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def conversation(row: dict[str, Any], style: str) -> tuple[list[Message], bool]:
    """(messages, whether the row held more than they do). Raises ValueError that says what is wrong with the row."""
    if style in ("messages", "conversations"):
        return _messages(row.get(style), style)
    if style == "prompt":
        asked, more = _turns(row.get("prompt"), "prompt", "user")
        answered, more_still = _turns(row.get("completion"), "completion", "assistant")
        return asked + answered, more or more_still
    instruction, context, output = row.get("instruction"), row.get("input") or "", row.get("output")
    for name, value in (("instruction", instruction), ("input", context), ("output", output)):
        if not isinstance(value, str):
            raise ValueError(f"{name} is {_kind(value)}, expected a string")
    asked_text = f"{instruction}\n\n{context}" if context else instruction
    return [{"role": "user", "content": str(asked_text)}, {"role": "assistant", "content": str(output)}], False


def render(messages: list[Message]) -> str:
    """The plain text of a conversation; empty if nobody says anything."""
    if not any(message["content"].strip() for message in messages):
        return ""
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)


def _turns(value: Any, name: str, role: str) -> tuple[list[Message], bool]:
    """One side of a prompt/completion row: a string, or messages of its own."""
    if type(value) is str:
        return [{"role": role, "content": value}], False
    return _messages(value, name)


def _messages(value: Any, name: str) -> tuple[list[Message], bool]:
    if type(value) is not list:
        raise ValueError(f"{name} is {_kind(value)}, expected a list of messages")
    if not value:
        raise ValueError(f"{name} is empty")
    found, more = [], False
    for at, item in enumerate(value):
        if type(item) is not dict:
            raise ValueError(f"{name}[{at}] is {_kind(item)}, expected an object")
        role_key, content_key = ("role", "content") if item.get("role") is not None else ("from", "value")
        role, content = item.get(role_key), item.get(content_key)
        if type(role) is not str or not role:
            raise ValueError(f"{name}[{at}] has no role")
        others = any(v is not None for k, v in item.items() if k not in (role_key, content_key))
        if type(content) is list:
            content, plain = _parts(content, f"{name}[{at}]")
            others = others or not plain
        elif content is None and others:
            content = ""  # a tool call has no words
        if type(content) is not str:
            raise ValueError(f"{name}[{at}].{content_key} is {_kind(content)}, expected a string")
        found.append({"role": ROLES.get(role, role), "content": content})
        more = more or others
    return found, more


def _parts(parts: list[Any], at: str) -> tuple[str, bool]:
    """(text of a content made of parts, whether it was all text)."""
    texts, plain = [], True
    for part in parts:
        if type(part) is str:
            texts.append(part)
        elif type(part) is dict and type(part.get("text")) is str and part.get("type", "text") == "text":
            texts.append(part["text"])
        elif type(part) is dict:
            plain = False
        else:
            raise ValueError(f"{at}.content holds {_kind(part)}, expected parts with a text")
    return "\n".join(texts), plain


def _kind(value: Any) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"
