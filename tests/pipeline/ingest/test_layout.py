"""Columns of JSON get a type from a sample; what does not fit is found, never dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.execute import Pool
from pipeline.ingest.layout import as_array, csv_value, fits, infer, infer_csv, sampled
from pipeline.workspace import Workspace
from tests.pipeline.ingest.helpers import read, run, write_jsonl

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)


@given(st.lists(JSON, max_size=8), st.lists(JSON, max_size=8))
def test_a_column_holds_every_value_whole_or_names_it_as_a_misfit(sample: list[Any], values: list[Any]) -> None:
    kind = infer(sample)
    if kind is None:
        return
    array, misfits = as_array(sample + values, kind)
    assert misfits == [i for i, value in enumerate(sample + values) if not fits(value, kind)]
    for i, (kept, value) in enumerate(zip(array.to_pylist(), sample + values, strict=True)):
        assert kept is None if i in misfits else without_nulls(kept) == without_nulls(value)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None and without_nulls(v) != {}}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, 2], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([True, False, 1], pa.bool_()),
        (["a", 1, "b"], pa.string()),
        ([[1], []], pa.list_(pa.int64())),
        ([{"a": 1}, {"b": "x"}], pa.struct([("a", pa.int64()), ("b", pa.string())])),
        ([None], None),
        ([{}], None),
        ([{f"k{i}": i} for i in range(65)], None),
    ],
)
def test_the_type_of_a_column_is_that_of_most_values(values: list[Any], kind: pa.DataType | None) -> None:
    assert infer(values) == kind


def test_numbers_of_csv_are_numbers_only_if_nothing_is_lost() -> None:
    assert infer_csv(["1", "", "-20"]) == pa.int64()
    assert infer_csv(["1.50", "2"]) == pa.float64()
    for value in ("007", "1_000", "+1", " 1", "1e5x", "nan", "inf", "9" * 30):
        assert infer_csv(["1", value]) in (pa.string(), pa.float64())
        assert csv_value(value, pa.int64()) == value
    assert infer_csv(["00.5"]) == pa.string()
    assert infer_csv(["nan"]) == pa.string()


def test_the_sample_is_spread_over_the_files() -> None:
    assert sampled(range(5)) == [0, 1, 2, 3, 4]
    assert sampled(range(1000))[0] == 0
    assert sampled(range(1000))[-1] == 999
    assert len(sampled(range(1000))) == 16


def test_keys_that_the_sample_did_not_show_go_to_extra(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    rows: list[dict[str, Any]] = [{"text": f"t{i}", "n": i, "tags": ["a"]} for i in range(1200)]
    rows += [{"text": "late", "n": "seven", "tags": [1], "new": {"deep": [1]}, "none": None}]
    run(workspace, pool, write_jsonl(tmp_path / "a.jsonl", rows))
    run(workspace, pool, tmp_path / "a.jsonl", name="few", columns=["n"])
    run(workspace, pool, tmp_path / "a.jsonl", name="bare", columns=[])
    last = read(workspace).to_pylist()[-1]
    assert (last["n"], last["tags"]) == (None, None)
    assert last["_extra"] == '{"n":"seven","new":{"deep":[1]},"tags":[1]}'
    assert read(workspace, "few").to_pylist()[-1]["_extra"] == '{"n":"seven"}'
    assert read(workspace, "bare").schema.names == ["id", "text", "source", "held_out"]


def test_columns_can_be_mapped_and_ours_are_not_overwritten(tmp_path: Path, workspace: Workspace, pool: Pool) -> None:
    row = {"content": "words", "doc": "d1", "site": "x.org", "text": "other", "source": "s", "held_out": 1, "id": 5}
    nobody = row | {"doc": "d2", "site": None}
    run(workspace, pool, write_jsonl(tmp_path / "a.jsonl", [row, nobody]), text="content", id="doc", source="site")
    first, second = read(workspace).to_pylist()
    assert (first["id"], first["text"], first["source"], first["held_out"]) == ("d1", "words", "x.org", False)
    assert second["source"] == "web"
    kept = {name: value for name, value in first.items() if name.startswith("input_")}
    assert kept == {"input_text": "other", "input_source": "s", "input_held_out": 1, "input_id": 5}
