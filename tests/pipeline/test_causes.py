"""Failures are summed up by cause, and nothing is lost on the way."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.causes import causes
from pipeline.errors import ShardsFailed
from pipeline.workspace import shard_name


def test_a_thousand_shards_with_one_cause_are_one_line() -> None:
    failed = {shard_name(i, 1000): f"/data/in/{shard_name(i, 1000)}.jsonl: row {i} is not text" for i in range(1000)}
    failed[shard_name(7, 1000)] = "[Errno 28] No space left on device"
    failed[shard_name(9, 1000)] = "[Errno 28] No space left on device"
    most, second = causes(failed)
    assert (len(most.shards), len(second.shards)) == (998, 2)
    assert most.shown().startswith("998 shards: /data/in/part-00000-of-01000.jsonl: row 0 is not text (part-00000-of-")
    assert most.shown().endswith(" and 995 more)")
    message = str(ShardsFailed("score web", failed, 2000))
    assert message.startswith("score web: 1000 of 2000 shards failed: 998 shards: /data/in/")
    assert "; 2 shards: [Errno 28] No space left on device (part-00007-of-01000, part-00009-of-01000)" in message


def test_different_causes_stay_apart_and_one_shard_is_shown_with_its_own_error() -> None:
    found = causes({"a": "no column 'text'", "b": "no column 'id'"})
    assert [cause.shown() for cause in found] == ["a: no column 'text'", "b: no column 'id'"]


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=30), max_size=20))
def test_each_shard_stands_in_one_cause(failed: dict[str, str]) -> None:
    found = causes(failed)
    assert sorted(shard for cause in found for shard in cause.shards) == sorted(failed)
    assert [len(cause.shards) for cause in found] == sorted((len(cause.shards) for cause in found), reverse=True)
