"""Where each message of a conversation stands in what a chat template makes of it.

    text, parts = message_parts(template, messages)     # parts[i]: (start, end) of message i, None if it was left out

A message stands from its first word to the end of its turn (`<|im_end|>`, `</s>`, ...); an answer begins where the
template says that an answer begins, if that is before its first word.

The words are found by marks around them, characters for private use that no template knows: whatever the template does
to the text around messages, to their order or to their parts, the marks go along. They are only believed if the
rendering without them is the rendering itself. A template that looks at the first or last characters of a message and
would write something else because of a mark there is tried with marks at the other end alone. Where no mark helps, the
renderings of the first messages are compared, which must then be beginnings of the whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

Message = dict[str, str]
Span = tuple[int, int]
Render = Callable[[list[Message], bool], str]
"""(messages, whether what comes in front of the next answer is wanted) -> text; raises ValueError where it refuses."""
_MARKS = (0xF0000, 0x100000)
"""Where the two planes for private use begin."""
_MOST = 0x7FFE


class NoBeginning(ValueError):
    """The rendering of the first messages is not a beginning of the whole."""


def message_parts(render: Render, messages: list[Message]) -> tuple[str, list[Span | None]]:
    """(text, the characters of each message). Raises ValueError if the template refuses the conversation, or if it
    cannot be told where a message stands."""
    whole = render(messages, False)
    marks = _Marks(messages)
    for ends in ((True, True), (False, True), (True, False)):
        marked = marks.put(messages, *ends)
        text = _quietly(render, marked)
        if text is not None and marks.without(text) == whole:
            words = [marks.find(text, i) for i in range(len(messages))]
            parts = [
                None if span == (-1, -1) else _turn(render, messages, marked, marks, i, span, whole)
                for i, span in enumerate(words)
            ]
            return whole, _apart(parts)
    return whole, [_by_beginnings(render, messages, i, whole) for i in range(len(messages))]


class _Marks:
    """Two characters for each message, that stand in none of them."""

    def __init__(self, messages: list[Message]):
        used = "".join(message["content"] for message in messages)
        free = [plane for plane in _MARKS if not any(plane <= ord(c) < plane + 0x10000 for c in used)]
        if not free or len(messages) > _MOST:
            raise ValueError("the conversation uses all characters for private use, or has too many messages")
        self.first = free[0]
        self._nothing = dict.fromkeys(range(self.first, self.first + 2 * len(messages)))

    def mark(self, i: int, end: int) -> str:
        return chr(self.first + 2 * i + end)

    def put(self, messages: list[Message], before: bool, after: bool) -> list[Message]:
        """The messages with marks around their words; white space stays outside, where templates cut it off."""
        made = []
        for i, message in enumerate(messages):
            content = message["content"]
            words = content.strip()
            at = content.find(words)
            inner = f"{self.mark(i, 0) if before else ''}{words}{self.mark(i, 1) if after else ''}"
            made.append(message | {"content": f"{content[:at]}{inner}{content[at + len(words) :]}"})
        return made

    def without(self, text: str) -> str:
        return text.translate(self._nothing)

    def find(self, text: str, i: int) -> Span:
        """Where the words of a message begin and end in the text without marks; -1: there is no such mark."""
        places = []
        for end in (0, 1):
            mark = self.mark(i, end)
            if text.count(mark) > 1:
                raise ValueError(f"the chat template writes message {i + 1} twice")
            at = text.find(mark)
            places.append(-1 if at < 0 else len(self.without(text[:at])))
        return places[0], places[1]


def _turn(
    render: Render, messages: list[Message], marked: list[Message], marks: _Marks, i: int, words: Span, whole: str
) -> Span:
    """A message of which a mark was found: from where an answer begins, to the end of the turn."""
    start, end = words
    content = messages[i]["content"].strip()
    if end < 0:
        end = start + _common(content, whole[start:])
    asked = _quietly(render, messages[:i], answer=True) if i and messages[i]["role"] == "assistant" else None
    begins = len(asked) if asked is not None and whole.startswith(asked) and len(asked) <= end else -1
    if start < 0:  # the template has cut off the beginning, or there was no mark: what agrees is what is left
        start = end - _common(content[::-1], whole[:end][::-1]) if begins < 0 else begins
    start = start if begins < 0 else min(start, begins)
    # What follows the words where the message is the last one is what ends its turn.
    until = _quietly(render, marked[: i + 1])
    if until is None:
        return start, end
    last = marks.find(until, i)
    plain = marks.without(until)
    tail = plain[last[1] :] if last[1] >= 0 else plain[last[0] + end - words[0] :] if last[0] >= 0 else ""
    return start, end + len(tail[: _common(tail, whole[end:])].rstrip())


def _apart(parts: list[Span | None]) -> list[Span | None]:
    """The parts, none of which reaches into the one that follows it in the text."""
    order = sorted((part[0], part[1], i) for i, part in enumerate(parts) if part is not None)
    for (start, end, i), (follows, _, j) in itertools.pairwise(order):
        if follows < end:
            if follows <= start < end:
                raise ValueError(f"messages {i + 1} and {j + 1} stand in the same place of the chat template's text")
            parts[i] = (start, follows)
    return parts


def _by_beginnings(render: Render, messages: list[Message], i: int, whole: str) -> Span:
    """A message found by what is rendered without it and those after it."""
    until = render(messages[: i + 1], False)
    _check_beginning(until, whole, i + 1)
    end = len(until.rstrip())
    message, before = messages[i], messages[:i]
    asked = render(before, True) if before else ""
    if message["role"] == "assistant" and before and until.startswith(asked):
        return len(asked), end
    earlier = render(before, False) if before else ""
    _check_beginning(earlier, until, len(before))
    at = until.find(message["content"].strip(), len(earlier))
    if at < 0:
        raise ValueError(f"the chat template changes the content of message {i + 1}")
    return at, end


def _check_beginning(first: str, whole: str, count: int) -> None:
    if not whole.startswith(first):
        raise NoBeginning(f"the chat template renders the first {count} messages otherwise than with those after them")


def _quietly(render: Render, messages: list[Message], answer: bool = False) -> str | None:
    """The rendering; None where the template refuses."""
    try:
        return render(messages, answer)
    except ValueError:
        return None


def _common(one: str, other: str) -> int:
    """Characters that two texts have in common from their beginning on."""
    most = min(len(one), len(other))
    return next((k for k in range(most) if one[k] != other[k]), most)
