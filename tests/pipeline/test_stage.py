"""The hash of what made an output is its name, and says which field changed."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipeline.stage import Stage, differences, saved
from pipeline.workspace import Workspace, shard_name

STAGE = Stage("score", "quality", "scores/web", {"settings": {"newline": " "}, "models": {"model": "aa"}})


def test_names_of_shards_sort_as_their_numbers() -> None:
    assert shard_name(3, 64) == "part-00003-of-00064"
    assert shard_name(99_999, 100_000) == "part-99999-of-100000"
    names = [shard_name(i, 100_001) for i in (0, 9, 99_999, 100_000)]
    assert names == sorted(names)


def test_the_hash_ignores_the_order_of_fields_and_all_info() -> None:
    turned = Stage("score", "quality", "scores/web", dict(reversed(STAGE.fields.items())), {"when": "now"})
    assert turned.hash == STAGE.hash
    assert STAGE.folder == f"scores/web/quality-{STAGE.hash[:8]}"


def test_every_hashed_field_changes_the_hash() -> None:
    changed = replace(STAGE, fields={"settings": {"newline": ""}, "models": {"model": "aa"}})
    assert changed.hash != STAGE.hash
    assert differences(STAGE.fields, changed.fields) == ['settings.newline: " " -> ""']


def test_a_saved_stage_says_what_made_it(workspace: Workspace) -> None:
    STAGE.save(workspace.store, columns={"x": "float"})
    record = saved(workspace.store, STAGE.folder)
    assert record is not None
    assert record["hash"] == STAGE.hash
    assert record["fields"] == STAGE.fields
    assert record["info"]["columns"] == {"x": "float"}
    assert saved(workspace.store, "scores/web/none") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=2), json_values), st.dictionaries(st.text(max_size=2), json_values))
def test_fields_differ_if_and_only_if_a_difference_is_named(old: dict, new: dict) -> None:
    assert (differences(old, new) == []) == ((old == new and repr(old) == repr(new)) or old == new)
