"""Masks see what they may, adapters leave the base model alone, and acceptance is what decoding by hand would keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from pipeline.errors import UserError  # noqa: E402
from pipeline.trainer.methods.future import GatedLinear, layout, run_body  # noqa: E402
from pipeline.trainer.methods.multi_token import Settings, acceptance, add_heads, head_terms, make  # noqa: E402
from pipeline.trainer.model import Trainee, read_network  # noqa: E402
from pipeline.trainer.settings import LossSettings  # noqa: E402
from pipeline.trainer.step import share_out  # noqa: E402
from tests.pipeline.trainer.methods.test_all import documents, go_on, training  # noqa: E402, F401
from tests.pipeline.trainer.networks import GEMMA, GPT2, network, row_of  # noqa: E402
from tests.pipeline.trainer.packs import packed  # noqa: E402

DOCUMENTS = [[0, *range(20, 31), 1], [0, *range(40, 47), 1]]
SETTINGS = Settings(masks=3, anchors=4, rank=2)


def headed(settings: Settings = SETTINGS, stirred: bool = True) -> Any:
    """A model with heads; stirred: with adapters and sampler away from where they begin."""
    model = network()
    add_heads(model, settings, 0)
    if stirred:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.startswith("future.") or name.endswith((".up", ".down")):
                    parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def test_the_base_models_output_is_unchanged_bit_for_bit() -> None:
    ids = torch.tensor([[*range(20, 31)]])
    expected = network().eval()(input_ids=ids).logits
    assert torch.equal(headed()(input_ids=ids).logits, expected)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_text_does_not_see_masks_and_masks_see_their_own_past(tmp_path: Path, attention: str) -> None:
    micro = row_of(packed(tmp_path, DOCUMENTS), [[0, 1]], 24)
    model = network(attention=attention)
    add_heads(model, SETTINGS, 0)
    model.eval()
    plan = layout(micro, 3, 4, np.random.default_rng(0))
    width = model.config.hidden_size
    embedded = torch.randn(len(plan.offsets), width, generator=torch.Generator().manual_seed(0))
    text, behind = run_body(model, micro, plan, embedded, gated=False)
    plain = model.base_model(input_ids=micro.inputs, position_ids=micro.positions, use_cache=False)[0]
    real = micro.where
    torch.testing.assert_close(text.flatten(0, 1)[real], plain.flatten(0, 1)[real], atol=1e-5, rtol=1e-4)
    # Ungated, a mask is what a token with this embedding would be behind its own prefix alone.
    anchors = [(int(a), b) for b, a in enumerate(plan.anchors)]
    embed = model.get_input_embeddings()
    for place, block in anchors:
        mine = plan.columns // 3 == block
        start = place - int(micro.positions[0, place])
        alone = torch.cat([embed(micro.inputs[0, start : place + 1]), embedded[mine]])[None]
        expected = model.base_model(inputs_embeds=alone, use_cache=False)[0][0, -int(mine.sum()) :]
        torch.testing.assert_close(behind[mine], expected, atol=1e-5, rtol=1e-4)


def test_targets_are_the_tokens_beyond_the_next_within_the_document(tmp_path: Path) -> None:
    micro = row_of(packed(tmp_path, DOCUMENTS), [[0, 1]], 24)
    plan = layout(micro, 3, 100, np.random.default_rng(0))
    found = {}
    for column, offset, target, before in zip(
        plan.columns.tolist(), plan.offsets.tolist(), plan.targets.tolist(), plan.before.tolist(), strict=True
    ):
        found.setdefault(int(plan.anchors[column // 3]), []).append((offset, before, target))
    row = micro.inputs[0].tolist()
    expected = {}
    for first, document in ((0, DOCUMENTS[0]), (len(DOCUMENTS[0]) - 1, DOCUMENTS[1])):
        assert row[first : first + len(document) - 1] == document[:-1]
        for t in range(len(document) - 2):
            drafts = [(j, document[t + 1 + j], document[t + 2 + j]) for j in range(3) if t + 2 + j < len(document)]
            expected[first + t] = drafts
    assert found == expected


def test_the_terms_follow_the_formula(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"cross_entropy": 0.5, "sampler": 2.0, "consistency": 3.0})
    micro = row_of(packed(tmp_path, DOCUMENTS), [[0, 1]], 24)
    share_out([micro], LossSettings())
    model = headed(settings)
    values, nll, _ = head_terms(Trainee(model), micro, settings, np.random.default_rng(5))
    plan = layout(micro, 3, 4, np.random.default_rng(5))
    text, drafts = run_body(model, micro, plan, model.future.embeddings[plan.offsets], gated=True)
    head, text = model.get_output_embeddings(), text.flatten(0, 1)
    ce = torch.nn.functional.cross_entropy
    expected = torch.zeros(len(micro.where))
    blocks = plan.columns // 3
    for block in range(len(plan.anchors)):
        mine = blocks == block
        sampled = model.future.sample(drafts[mine], model.get_input_embeddings()(plan.before[mine]))
        term = 0.5 * ce(head(drafts[mine]), plan.targets[mine]) + 2 * ce(head(sampled), plan.targets[mine])
        term = term + 3 * (drafts[mine] - text[plan.anchors[block] + 1 + plan.offsets[mine]]).square().mean()
        expected[(micro.where == plan.anchors[block]).nonzero()[0, 0]] = term.detach()
    # Anchors stand for all scored positions.
    expected *= len(micro.where) / len(plan.anchors)
    torch.testing.assert_close((values - nll).detach(), expected, atol=1e-4, rtol=1e-4)
    model.zero_grad()
    values.sum().backward()
    learnt = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert learnt == {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(name.startswith("future.") or name.endswith((".up", ".down")) for name in learnt)


def test_acceptance_is_what_decoding_by_hand_keeps(tmp_path: Path) -> None:
    settings = Settings(masks=3, anchors=100, rank=2)
    micro = row_of(packed(tmp_path, DOCUMENTS), [[0, 1]], 24)
    model = headed(settings)
    with torch.no_grad():  # a sampler that is often right: it hears of the token before almost alone
        model.future.sampler[3].weight.mul_(3)
    found = acceptance(Trainee(model), [micro], settings, 0)
    plan = layout(micro, 3, 100, np.random.default_rng([0, 0]), whole=True)
    _, drafts = run_body(model, micro, plan, model.future.embeddings[plan.offsets], gated=True)
    kept = np.zeros(3)
    for block, place in enumerate(plan.anchors.tolist()):
        start = place - int(micro.positions[0, place])
        ids = micro.inputs[0, start : place + 1].tolist()
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        for j in range(3):
            state = drafts[3 * block + j]
            sampled = model.future.sample(state, model.get_input_embeddings().weight[ids[-1]])
            draft = int(model.get_output_embeddings()(sampled).argmax())
            if draft != int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()):
                break
            kept[j] += 1
            ids.append(draft)
    shares = kept / len(plan.anchors)
    assert found["accepted"] == pytest.approx(1 + shares.sum())
    assert [found[f"acceptance_{j}"] for j in (1, 2, 3)] == pytest.approx(shares.tolist())


def test_a_run_leaves_a_frozen_base_as_it_was_and_accepts_more(tmp_path: Path, documents) -> None:  # noqa: F811
    run = training(tmp_path, documents, "multi_token")
    folder = go_on(run)
    begun = network().state_dict()
    saved = load_file(folder / "model.safetensors")
    assert all(torch.equal(value, begun[name]) for name, value in saved.items())
    assert sum(isinstance(m, GatedLinear) for m in read_network(folder, "sdpa").modules()) == 0
    trained = training(tmp_path / "trained", documents, "multi_token-trained")
    other = load_file(go_on(trained) / "model.safetensors")
    assert other.keys() == saved.keys()
    assert not torch.equal(other["model.norm.weight"], begun["model.norm.weight"])


def test_what_cannot_have_heads_is_refused() -> None:
    with pytest.raises(UserError, match="does more behind its body than a linear head"):
        add_heads(network(GEMMA, attention="eager"), SETTINGS, 0)
    method = make(SETTINGS, 0)
    assert method.check is not None
    with pytest.raises(UserError, match="cannot run in 2 processes"):
        method.check(network(), 2)
    with pytest.raises(UserError, match="has no linear layers"):
        add_heads(network(GPT2), SETTINGS, 0)
