"""A scanned block gives the rows, errors and files that a parser gives, line by line, however nasty its lines are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.execute import Job
from pipeline.ingest import IngestSettings, lines, rows
from pipeline.ingest.cut import Piece
from pipeline.ingest.layout import make_layout
from pipeline.ingest.lines import json_rows, scanned_rows
from pipeline.ingest.rows import sample_types
from pipeline.ingest.scan import scan
from pipeline.ingest.shard import SliceTask, make_shard
from pipeline.ingest.sources import discover
from pipeline.workspace import Workspace

PIECES = [
    *(b"a", b"plain words, more than eight", b" ", b"/", b"\x7f", b"{", b"]", b",", b":", b"'"),
    *("é".encode(), "\u0800".encode(), "漢字".encode(), "\ud7ff".encode(), "\uffff".encode(), "😀".encode()),
    *(b"\\n", b'\\"', b"\\\\", b"\\/", b"\\b\\f\\r\\t", b"\\u0000", b"\\u00E9", b"\\u6f22", b"\\ud83d\\ude00"),
]
FAULTS = [
    *(
        b"\\ud800",
        b"\\udc00",
        b"\\ud800\\ud800",
        b"\\ud800\\n",
        b"\\u12g4",
        b"\\u12",
        b"\\u00ax",
        b"\\ud83d\\ude0x",
        b"\\x",
        b"\\",
        b'"',
    ),
    *(b"\xff", b"\xc3", b"\x80", b"\xc0\x80", b"\xe0\x80\x80", b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x80\x80\x80"),
    *(b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf0\x9f\x98", b"\x00", b"\x1f", b"\t", b"\r", b"\n"),
]
VALUES = [
    *(b"null", b"true", b"0", b"-0", b"1.0", b"1e400", b"12345678901234567890", b"NaN", b"01", b"-", b"tru"),
    *(b"[]", b"{}", b'{"text": "inner", "a": [1, {"text": 2}]}', b'["text", "]"]', b"[" * 1100 + b"]" * 1100, b"[}"),
]
KEYS = [
    b'"text"',
    b'"n"',
    b'"id"',
    b'"te\\u0078t"',
    b'"\\"text"',
    b'"Text"',
    b'""',
    b'"caf\xc3\xa9"',
    b"text",
    b'"\xff"',
]


def strings(pieces: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(pieces), max_size=6).map(lambda found: b'"' + b"".join(found) + b'"')


SPACES = st.sampled_from([b"", b"", b" ", b"\t", b" \r"])
GOOD = strings(PIECES)
ANY = st.one_of(GOOD, strings(PIECES + FAULTS), st.sampled_from(VALUES))
FIELDS = st.tuples(SPACES, st.sampled_from(KEYS), SPACES, st.just(b":"), SPACES, ANY, SPACES).map(b"".join)
TEXT = st.tuples(SPACES, st.just(b'"text":'), SPACES, GOOD).map(b"".join)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    fields = draw(st.lists(FIELDS, max_size=3))
    if draw(st.integers(0, 4)):
        fields.insert(draw(st.integers(0, len(fields))), draw(TEXT))
    end = draw(st.sampled_from([b"}"] * 6 + [b"} \r", b"}}", b"]", b"", b",}", b"} {}", b"}x"]))
    return b"{" + b",".join(fields) + end


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    line = bytearray(draw(objects()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(line)))
        line[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2) | st.sampled_from(PIECES + FAULTS))
    return bytes(line)


LINES = st.one_of(
    objects(), damaged(), st.sampled_from([b"", b" ", b"[1, 2]", b'"text"', b"\xef\xbb\xbf{}", b"[" * 5000])
)
BLOCKS = st.tuples(st.sampled_from([b"", b"\xef\xbb\xbf"]), st.lists(LINES, min_size=1, max_size=12).map(b"\n".join))


@settings(max_examples=400, deadline=None)
@given(BLOCKS.map(b"".join), st.sampled_from([0, 1 << 40]))
def test_scanned_rows_are_the_parsers(data: bytes, offset: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "MAX_ODD", 0)
        found = scanned_rows(offset, data, "text")
    expected = json_rows(offset, data)
    assert list(found.positions) == expected.positions
    assert [found.raw(i) for i in range(len(found.rows))] == [expected.raw(i) for i in range(len(expected.rows))]
    assert found.texts is not None
    found.texts.validate(full=True)
    texts = found.texts.to_pylist()
    for i, (row, other) in enumerate(zip(found.rows, expected.rows, strict=True)):
        if i in found.odd:
            assert texts[i] == ""
        elif isinstance(row, dict):
            assert row["text"] == ""
            row["text"] = texts[i]
        assert repr(row) == repr(other)  # 1, 1.0 and True are equal


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, min_size=1, max_size=30).map(b"\n".join))
def test_a_scanned_shard_has_the_bytes_of_a_parsed_one(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"id": "first", "text": "x", "n": 1}\n' + data)
    sources = IngestSettings(sources=[str(tmp_path / "a.jsonl")], id="id", max_chars=40)
    files = discover(sources).files
    layout = make_layout(sample_types("jsonl", files, sources, 1), sources, schemaless=True)
    task = SliceTask(
        0, (Piece("a.jsonl"),), {"a.jsonl": files[0]}, "jsonl", layout, sources, "web", "corpora/web", False
    )
    made = []
    for scan_bytes, name in ((0, "scanned"), (1 << 40, "parsed")):
        workspace = Workspace(str(tmp_path / name))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rows, "SCAN_BYTES", scan_bytes)
            patch.setattr(lines, "MAX_ODD", 0)
            counts = make_shard(Job(workspace, "part", (("corpora/web", 1),), task))
        files_made = [f"corpora/web/{place}part.parquet" for place in ("", "rejects/")]
        made.append((counts, [workspace.store.read_bytes(file) for file in files_made]))
    assert made[0] == made[1]


def test_only_a_line_without_doubt_is_plain() -> None:
    good = [
        b'{"text": "a"}',
        b'{"n": {"text": 1}, "text" : "\\ud83d\\ude00\\n", "m": [1, "]"]} \r',
        '{"text": "é漢😀 and more than eight bytes"}'.encode(),
    ]
    odd = [
        b"",
        b' {"text": "a"}',
        b'{"text": "a", "text": "b"}',
        b'{"te\\u0078t": "a"}',
        b'{"text": "a", "te\\u0078t": "b"}',
        b'{"text": null}',
        b'{"n": 1}',
        b'["text"]',
        b'{"text": "a"} {}',
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
        b'{"text": "a',
    ]
    block = scan(b"\n".join([*good, *odd]), "text")
    assert block.plain.tolist() == [True] * len(good) + [False] * len(odd)
    assert block.texts.to_pylist()[:3] == ["a", "😀\n", "é漢😀 and more than eight bytes"]
    assert block.rest_of(1) == b'{"n": {"text": 1}, "text" : "", "m": [1, "]"]} \r'


def test_a_block_of_odd_lines_is_left_to_the_parser() -> None:
    data = b"\n".join([b'{"text": "a"}', b'{"text": null}'] * 20)
    assert scanned_rows(0, data, "text").texts is None
    assert scanned_rows(0, b'{"text": "a"}\n' * 20 + b"5", "text").odd == [20]
