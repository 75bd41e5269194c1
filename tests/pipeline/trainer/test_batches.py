"""Batches hold what the plan says, and the same bytes whatever the number of workers or ranks."""

from __future__ import annotations

import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.trainer.batches import Batch, batches, collate
from pipeline.trainer.packed import Packed
from pipeline.trainer.plan import Cut, Plan, Rows, plan_epoch
from tests.pipeline.trainer.packs import VOCABULARY, packed

DOCUMENT = st.lists(st.integers(0, VOCABULARY - 1), min_size=0, max_size=30)


def reference(pack: Packed, plan: Plan, weighted: bool) -> Batch:
    """One place at a time."""
    rows, context = plan.num_rows, plan.context
    made = Batch(
        *(np.zeros((rows, context), np.int64) for _ in range(2)),
        np.zeros((rows, context), np.float32),
        np.zeros((rows, context), np.int64),
        np.full((rows, context), -1, np.int32),
        np.full((rows, context), -1, np.int64),
    )
    for row in range(rows):
        at = 0
        for segment, piece in enumerate(range(plan.row_offsets[row], plan.row_offsets[row + 1])):
            document, start = int(plan.documents[piece]), int(plan.starts[piece])
            tokens, of_tokens = pack.tokens(document), pack.token_weights(document)
            for i in range(int(plan.lengths[piece])):
                made.inputs[row, at], made.labels[row, at] = tokens[start + i], tokens[start + i + 1]
                weight = np.float32(pack.weights[document] if weighted else 1)
                made.weights[row, at] = weight * (1 if of_tokens is None else of_tokens[start + i + 1])
                made.positions[row, at], made.segments[row, at], made.documents[row, at] = i, segment, document
                at += 1
        made.positions[row, at:] = np.arange(context - at)
    return made


def same(one: Batch, other: Batch) -> bool:
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(a is b is None or (a.dtype == b.dtype and np.array_equal(a, b)) for a, b in pairs)


@settings(deadline=None, max_examples=60)
@given(st.lists(DOCUMENT, min_size=1, max_size=12), st.integers(1, 20), st.booleans(), st.data())
def test_a_batch_is_what_a_plain_loop_makes(
    documents: list[list[int]], context: int, weighted: bool, data: st.DataObject
) -> None:
    weight = st.floats(0, 4, width=32)
    weights = [data.draw(weight) for _ in documents]
    of_tokens = [data.draw(st.none() | st.lists(weight, min_size=len(d), max_size=len(d))) for d in documents]
    plan = plan_epoch(np.array([len(d) for d in documents]), None, context, 0, 0)
    with TemporaryDirectory() as folder:
        pack = packed(Path(folder), documents, weights, of_tokens)
        assert same(collate(pack, plan, weighted), reference(pack, plan, weighted))


@pytest.fixture
def pack(tmp_path: Path) -> Packed:
    generator = np.random.default_rng(0)
    documents = [generator.integers(0, VOCABULARY, n).tolist() for n in generator.integers(0, 60, 50)]
    weights = generator.random(50).astype(np.float32).tolist()
    of_tokens = [None if i % 3 else generator.random(len(d)).tolist() for i, d in enumerate(documents)]
    return packed(tmp_path, documents, weights, of_tokens)


def test_a_pack_reads_back_what_was_written(pack: Packed) -> None:
    again = pickle.loads(pickle.dumps(pack))
    for one in (pack, again):
        assert len(one) == 50
        assert one.lengths.tolist() == [len(one.tokens(i)) for i in range(50)]
        assert one.ids([0, 49, 13]) == ["d0", "d49", "d13"]
        assert [one.sources[i] for i in one.source_of[:3]] == ["a", "b", "a"]
        assert one.token_weights(1) is None
        assert one.bytes.tolist() == one.lengths.tolist()
    assert not pack.tokens(int(pack.lengths.argmax())).flags.writeable


def test_ranks_share_the_rows_of_a_step(pack: Packed) -> None:
    rows = Rows(pack.lengths, 16, seed=1)
    whole = [batch for step in batches(pack, rows, range(3, 6), 8, 8) for batch in step]
    for world, micro in ((2, 4), (4, 2), (2, 1)):
        parts = [list(batches(pack, rows, range(3, 6), 8, micro, rank, world)) for rank in range(world)]
        for step, expected in enumerate(whole):
            pieces = [batch for of_rank in parts for batch in of_rank[step]]
            assert all(len(batch) == micro for batch in pieces)
            arrays = [
                np.concatenate([getattr(p, name) for p in pieces])
                for name, own in vars(expected).items()
                if own is not None
            ]
            assert same(Batch(*arrays), expected)


def test_rows_after_the_end_are_padding(pack: Packed) -> None:
    rows = Rows(pack.lengths, 16, seed=1).until(Cut(5, 3))
    [[_, last]] = batches(pack, rows, range(1, 2), 4, 2)
    [[first, _]] = batches(pack, rows, range(1, 2), 4, 2)
    assert (first.segments[0] >= 0).sum() == 3
    assert (last.segments == -1).all()
    assert (last.weights == 0).all()
    assert last.positions[0].tolist() == list(range(16))


def test_rows_that_do_not_divide_are_refused(pack: Packed) -> None:
    with pytest.raises(ValueError, match="multiple of 12"):
        next(batches(pack, Rows(pack.lengths, 16, 0), range(1), 16, 4, 0, 3))


def test_loader_workers_change_nothing(pack: Packed) -> None:
    torch = pytest.importorskip("torch")
    rows = Rows(pack.lengths, 16, seed=1)
    alone = list(batches(pack, rows, range(30, 50), 6, 3))
    state = torch.random.get_rng_state()
    for workers in (1, 3):
        made = list(batches(pack, Rows(pack.lengths, 16, seed=1), range(30, 50), 6, 3, workers=workers))
        assert all(same(a, b) for x, y in zip(made, alone, strict=True) for a, b in zip(x, y, strict=True))
    assert torch.equal(state, torch.random.get_rng_state())
