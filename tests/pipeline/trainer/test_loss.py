"""Token losses and their gradients are those of plain PyTorch, and shares add up over a step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from pipeline.trainer import loss  # noqa: E402


def parts(count: int, bias: bool, seed: int) -> tuple[object, ...]:
    made = torch.Generator().manual_seed(seed)
    hidden = torch.randn(count, 8, generator=made, dtype=torch.float32).requires_grad_()
    weight = torch.randn(23, 8, generator=made).requires_grad_()
    labels = torch.randint(0, 23, (count,), generator=made)
    return hidden, weight, torch.randn(23, generator=made).requires_grad_() if bias else None, labels


@pytest.mark.parametrize("kept", [0, 1 << 29])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("count", [0, 1, 37])
def test_losses_and_gradients_are_those_of_plain_cross_entropy(
    monkeypatch: pytest.MonkeyPatch, kept: int, bias: bool, count: int
) -> None:
    monkeypatch.setattr(loss, "PIECE_BYTES", 4 * 23 * 5)  # pieces of five positions
    monkeypatch.setattr(loss, "KEPT_BYTES", kept)
    ours, plain = parts(count, bias, 1), parts(count, bias, 1)
    scale = torch.linspace(0.1, 2, count)

    nll, lse = loss.head_losses(*ours)  # type: ignore[arg-type]
    ((scale * nll).sum() + 0.3 * (scale * lse.square()).sum()).backward()

    logits = torch.nn.functional.linear(plain[0], plain[1], plain[2])  # type: ignore[arg-type]
    expected = torch.nn.functional.cross_entropy(logits, plain[3], reduction="none")  # type: ignore[arg-type]
    partition = torch.logsumexp(logits, -1)
    ((scale * expected).sum() + 0.3 * (scale * partition.square()).sum()).backward()

    torch.testing.assert_close(nll, expected)
    torch.testing.assert_close(lse, partition)
    for mine, theirs in zip(ours[:3], plain[:3], strict=True):
        if mine is not None:
            torch.testing.assert_close(mine.grad, theirs.grad)  # type: ignore[attr-defined]


@examples(deadline=None, max_examples=50)
@given(st.sampled_from(["token", "sample"]), st.sampled_from(["weights", "tokens"]), st.integers(0, 2**32 - 1))
def test_shares_over_a_step_do_not_depend_on_how_it_is_dealt_out(per: str, divide: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    samples = np.sort(draw.integers(0, 6, 40))
    _, samples = np.unique(samples, return_inverse=True)
    of_documents = draw.random(samples.max() + 1).astype(np.float32) + 0.1
    weights = (draw.random(40).astype(np.float32) + 0.1) * of_documents[samples]

    def shared(pieces: list[np.ndarray]) -> np.ndarray:
        micros = []
        for mine in pieces:
            numbers, own = np.unique(samples[mine], return_inverse=True)
            micros.append((weights[mine], own, of_documents[numbers]))
        sums = loss.total([loss.token_sums(*one, per) for one in micros])  # type: ignore[arg-type]
        denominator = sums[0] if divide == "weights" else sums[1]
        return np.concatenate([loss.token_shares(*one, per, denominator) for one in micros])  # type: ignore[arg-type]

    whole = shared([np.arange(40)])
    cuts = [np.flatnonzero(samples < 2), np.flatnonzero((samples >= 2) & (samples < 3)), np.flatnonzero(samples >= 3)]
    np.testing.assert_allclose(shared([cut for cut in cuts if len(cut)]), whole, rtol=1e-5)
    if divide == "weights":
        assert whole.sum() == pytest.approx(1, rel=1e-5)


def test_per_sample_every_document_of_equal_weight_counts_alike() -> None:
    samples = np.array([0, 0, 0, 0, 1, 2, 2])
    shares = loss.token_shares(np.ones(7, np.float32), samples, np.ones(3, np.float32), "sample", 3.0)
    np.testing.assert_allclose(np.bincount(samples, shares), [1 / 3] * 3, rtol=1e-6)
