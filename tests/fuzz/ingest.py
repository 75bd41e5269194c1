"""Targets of `tamis ingest`: a file of each format goes the whole way to a corpus, with settings by its first byte.

Besides not crashing, what came out has to hold: rows in are rows out plus rejected (the ledger refuses anything else),
and documents are valid Arrow.
"""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.errors import ShardsFailed
from pipeline.ingest import IngestSettings, ingest
from pipeline.ingest.chat import MESSAGES
from pipeline.ingest.lines import json_rows, scanned_rows
from pipeline.shards import read_narrow
from pipeline.workspace import Workspace
from tests.fuzz.target import Finding, Here, Target, folder

SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"id": "id"},
    {"source": "n", "held_out": 0.5},
    {"max_chars": 20},
    {"shard_mb": 0.00005},
    {"columns": ["n"], "id": "id", "shard_mb": 0.00005},
    {"messages": "off"},
    {"text": "n"},
)
ROWS = [
    {"id": "a", "text": "A tamis is a drum sieve.", "source": "wiki", "n": 1},
    {"id": "b", "text": 'é\U0001f600 \n\t"quoted"', "n": 2.5, "more": {"x": [1, None]}},
    {"id": 3, "text": "", "n": None},
]
CHATS = [
    {
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "text", "text": "yes"}]},
        ]
    },
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    {"prompt": "Q", "completion": "A"},
    {"instruction": "Do", "input": "", "output": "Done"},
]


def through_ingest(name: str, data: bytes) -> None:
    """Ingest a file of this name and content, whose settings are those of its first byte."""
    chosen = SETTINGS[data[0] % len(SETTINGS)] if data else {}
    with folder() as place:
        (place / name).write_bytes(data[1:])
        workspace = Workspace(str(place / "w"))
        try:
            ingest(workspace, "web", IngestSettings(sources=[str(place / name)], **chosen), Here(workspace))
        except ShardsFailed as failed:
            raise ValueError(str(failed)) from None
        _check(workspace)


def _check(workspace: Workspace) -> None:
    corpus = workspace.corpus("web")
    for shard, row in corpus.done.items():
        table = read_narrow(workspace.store, corpus.file(shard))
        table.validate(full=True)
        if table.num_rows != row.rows_out:
            raise Finding(f"{shard}: {table.num_rows} rows, the ledger says {row.rows_out}")


def both_ways(data: bytes) -> None:
    """The kernel that takes texts out of JSON lines, against the parser that reads whole lines."""
    plain, fast = json_rows(0, data), scanned_rows(0, data, "text")
    if list(plain.positions) != list(fast.positions):
        raise Finding(f"positions {list(plain.positions)} and {list(fast.positions)}")
    texts = [None] * len(fast.rows) if fast.texts is None else fast.texts.to_pylist()
    odd = set(range(len(fast.rows))) if fast.texts is None else set(fast.odd)
    for i, (one, other) in enumerate(zip(plain.rows, fast.rows, strict=True)):
        if type(one) is not dict or type(other) is not dict:
            if type(one) is not type(other):
                raise Finding(f"line {i}: {one!r} and {other!r}")
            continue
        whole = other if i in odd else other | {"text": texts[i]}
        if json.dumps(one) != json.dumps(whole):
            raise Finding(f"line {i}: {one!r} and {whole!r}")


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    """As lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _with_settings(data: bytes) -> list[bytes]:
    return [bytes([i]) + data for i in range(len(SETTINGS))]


def _parquet_seeds() -> list[bytes]:
    made = []
    tables = [
        pa.table({"id": ["a", "b"], "text": ["one", None], "n": [1, 2]}),
        pa.table({"id": [1, 2], "text": pa.array([b"x", b"\xff"]), "n": pa.array(["s", "t"]).dictionary_encode()}),
        pa.table({"messages": pa.array([[{"role": "user", "content": "Hi"}], []], MESSAGES), "n": [[1], None]}),
    ]
    for number, table in enumerate(tables):
        file = io.BytesIO()
        pq.write_table(table, file, compression=("none", "zstd", "snappy")[number], row_group_size=1)
        made.append(bytes([number]) + file.getvalue())
    return made


INGEST = (
    Target(
        "jsonl",
        "JSON lines, through `tamis ingest`",
        lambda data: through_ingest("a.jsonl", data),
        lambda: _with_settings(jsonl(ROWS)),
        (b'{"text":', b'"\\ud800"', b"\xef\xbb\xbf", b"\r\n", b'"id":', b"1e999", b"[[[["),
    ),
    Target(
        "scan",
        "the kernel that takes texts out of JSON lines, against the parser",
        both_ways,
        lambda: [
            jsonl(ROWS),
            b'{"text":"a\\u00e9\\ud83d\\ude00"}\n{"text" : "b" , "x":{"text":1}}\n\n[1]\n{"te\\u0078t":"c"}',
        ],
        (b'{"text":', b"\\u", b"\\ud83d", b'"}\n', b"\\\\", b'\\"'),
    ),
    Target(
        "chat",
        "conversations of four styles, through `tamis ingest`",
        lambda data: through_ingest("a.jsonl", data),
        lambda: [bytes([i]) + jsonl([chat] * 2) for i, chat in enumerate(CHATS)],
        (b'"role":', b'"content":', b'"from":', b'"value":', b'{"type":"text","text":', b'"tool_calls":[{}]'),
    ),
    Target(
        "gzip",
        "compressed JSON lines (gzip)",
        lambda data: through_ingest("a.jsonl.gz", data),
        lambda: [bytes([i]) + gzip.compress(jsonl(ROWS), mtime=0) for i in (0, 4)],
    ),
    Target(
        "zstd",
        "compressed JSON lines (zstd)",
        lambda data: through_ingest("a.jsonl.zst", data),
        lambda: [bytes([i]) + zstandard.compress(jsonl(ROWS)) for i in (0, 4)],
    ),
    Target(
        "csv",
        "CSV, through `tamis ingest`",
        lambda data: through_ingest("a.csv", data),
        lambda: _with_settings(b'id,text,n\na,"one, ""two""\nthree",1\nb,four,\n,,\n'),
        (b'""', b"\r\n", b"id,text,n\n", b"\x00", b"\xff"),
    ),
    Target(
        "text",
        "text files, through `tamis ingest`",
        lambda data: through_ingest("a.txt", data),
        lambda: _with_settings("A tamis is a drum sieve. é\n".encode()),
    ),
    Target(
        "parquet",
        "Parquet, through `tamis ingest`",
        lambda data: through_ingest("a.parquet", data),
        _parquet_seeds,
        (b"PAR1",),
    ),
)
