"""Conversations of every style keep their messages, and the text is their plain rendering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.execute import Pool
from pipeline.ingest import chat
from pipeline.workspace import Workspace
from tests.pipeline.ingest.helpers import read, read_rejects, run, write_jsonl

EXPECTED = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
STYLES: dict[str, dict[str, Any]] = {
    "messages": {"messages": EXPECTED},
    "conversations": {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    "prompt": {"prompt": "Hi", "completion": "Hello"},
    "prompt of messages": {"prompt": EXPECTED[:1], "completion": EXPECTED[1:]},
    "instruction": {"instruction": "Hi", "output": "Hello"},
    "instruction with input": {"instruction": "Hi", "input": "", "output": "Hello"},
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_every_style_gives_the_same_messages_and_text(
    tmp_path: Path, workspace: Workspace, pool: Pool, style: str, ending: str
) -> None:
    row = STYLES[style] | {"topic": "greeting"}
    path = tmp_path / f"a.{ending}"
    if ending == "jsonl":
        write_jsonl(path, [row])
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    run(workspace, pool, path)
    table = read(workspace)
    assert table.column("messages").to_pylist() == [EXPECTED]
    assert table.column("text").to_pylist() == ["user: Hi\n\nassistant: Hello"]
    assert table.schema.field("messages").type == chat.MESSAGES
    assert table.column("topic").to_pylist() == ["greeting"]
    assert set(table.schema.names) <= {"id", "text", "source", "held_out", "messages", "topic", "_extra"}


def test_alpaca_input_follows_the_instruction() -> None:
    messages, _ = chat.conversation({"instruction": "Sum.", "input": "1 2", "output": "3"}, "instruction")
    assert messages[0]["content"] == "Sum.\n\n1 2"


def test_parts_with_text_are_joined_and_what_does_not_fit_is_kept_beside(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    parts = [{"type": "text", "text": "look"}, {"type": "text", "text": "here"}]
    plain = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "a cat"}]}
    image = {"messages": [{"role": "user", "content": [*parts, {"type": "image_url", "image_url": "x"}]}]}
    tool = {"messages": [{"role": "assistant", "content": None, "tool_calls": ["f"]}, {"role": "tool", "content": "1"}]}
    run(workspace, pool, write_jsonl(tmp_path / "a.jsonl", [plain, image, tool]))
    table = read(workspace)
    assert table.column("text").to_pylist()[0] == "user: look\nhere\n\nassistant: a cat"
    assert table.column("messages").to_pylist()[2] == [
        {"role": "assistant", "content": ""},
        {"role": "tool", "content": "1"},
    ]
    extra = table.column("_extra").to_pylist()
    assert [None if e is None else orjson.loads(e) for e in extra] == [None, image, tool]


def test_parquet_messages_with_more_fields_keep_the_original_column(
    tmp_path: Path, workspace: Workspace, pool: Pool
) -> None:
    rows = [{"messages": [m | {"weight": 0.5} for m in EXPECTED]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    run(workspace, pool, tmp_path / "a.parquet")
    assert read(workspace).column("messages").to_pylist() == [EXPECTED]
    assert read(workspace).column("input_messages").to_pylist() == [rows[0]["messages"]]


def test_broken_conversations_are_rejects(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    good = {"messages": EXPECTED}
    bad: list[Any] = [None, "text", [], [1], [{"content": "x"}], [{"role": "user"}], [{"role": "user", "content": 5}]]
    bad += [[{"role": "user", "content": [5]}]]
    silent = {"messages": [{"role": "user", "content": " "}]}
    lines = [good, good, *({"messages": value} for value in bad), silent, good]
    run(workspace, pool, write_jsonl(tmp_path / "a.jsonl", lines))
    assert [r["reason"] for r in read_rejects(workspace)] == ["bad_messages"] * len(bad) + ["empty_text"]
    assert read(workspace).num_rows == 3


def test_a_text_column_wins_and_messages_beside_it_are_kept(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "plain", "messages": EXPECTED}])
    run(workspace, pool, path)
    assert read(workspace).column("text").to_pylist() == ["plain"]
    assert read(workspace).column("input_messages").to_pylist() == [EXPECTED]
    run(workspace, pool, path, name="chat", messages="messages")
    assert read(workspace, "chat").column("messages").to_pylist() == [EXPECTED]
