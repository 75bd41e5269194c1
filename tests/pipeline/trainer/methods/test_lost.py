"""LOST layers by their formula; the export is the same function; with a nonlinearity it is said that there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.trainer.changed import PARTS, changer, read_changed  # noqa: E402
from pipeline.trainer.methods.lost import LostLinear, Settings, make, plain_weights, split  # noqa: E402
from pipeline.trainer.model import read_network  # noqa: E402
from scorers.lm.files import check_folder  # noqa: E402
from tests.pipeline.trainer.methods.test_all import documents, go_on, training  # noqa: E402, F401
from tests.pipeline.trainer.networks import network  # noqa: E402

IDS = torch.arange(5, 17)[None]


@pytest.mark.parametrize("activation", ["identity", "silu"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_follows_the_formula(activation: str, bias: bool) -> None:
    settings = Settings.model_validate({"rank": 3, "density": 0.25, "gamma": 0.7, "activation": activation})
    linear = torch.nn.Linear(12, 8, bias=bias)
    w = linear.weight.detach().double().numpy()
    u, s, v = np.linalg.svd(w.T, full_matrices=False)
    complement = (u[:, 3:6] * s[3:6]) @ v[3:6]
    channels = np.sort(np.argsort(-np.linalg.norm(complement, axis=1))[:3])
    x = np.random.default_rng(0).normal(size=(2, 5, 12))
    inner = x @ (u[:, :3] * np.sqrt(s[:3]))
    inner = inner / (1 + np.exp(-inner)) if activation == "silu" else inner
    low = inner @ (np.sqrt(s[:3])[:, None] * v[:3])
    expected = 0.7 * low + 0.3 * x[..., channels] @ w[:, channels].T
    expected += linear.bias.detach().numpy() if bias else 0
    layer = LostLinear(linear, settings, True)
    assert layer.channels.tolist() == channels.tolist()
    found = layer(torch.from_numpy(x).float()).detach().numpy()
    if activation == "identity":  # a pair of singular vectors may change its sign, which SiLU sees
        np.testing.assert_allclose(found, expected, atol=1e-5)
    inner = torch.from_numpy(x).float() @ layer.low_in
    inner = torch.nn.functional.silu(inner) if activation == "silu" else inner
    again = 0.7 * inner @ layer.low_out + 0.3 * torch.from_numpy(x).float()[..., channels] @ layer.sparse.T
    np.testing.assert_allclose(found, (again + (layer.bias if bias else 0)).detach().numpy(), atol=1e-5)
    assert sum(p.numel() for p in layer.parameters()) == 3 * 20 + 3 * 8 + 8 * bias


def test_the_low_rank_part_is_the_best_of_its_rank_and_channels_come_from_the_complement() -> None:
    torch.manual_seed(0)
    weight = torch.randn(10, 16)
    low_in, low_out, sparse, channels = split(weight, 4, Settings(rank=4, density=0.2, complement_rank=2))
    values = torch.linalg.svdvals(weight)
    error = (weight.T - low_in @ low_out).norm()
    torch.testing.assert_close(error, values[4:].norm(), rtol=1e-4, atol=1e-5)
    assert torch.equal(sparse, weight[:, channels])
    u, s, v = torch.linalg.svd(weight.T, full_matrices=False)
    norms = ((u[:, 4:6] * s[4:6]) @ v[4:6]).norm(dim=1)
    assert set(channels.tolist()) == set(norms.topk(3).indices.tolist())


def test_plain_weights_are_the_same_function() -> None:
    model, twin = network(), network()
    method = make(Settings(rank=4, density=0.2, gamma=0.6), 0)
    assert method.prepare is not None
    method.prepare(model, True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    plain = plain_weights(model.state_dict(), 0.6)
    assert plain.keys() == twin.state_dict().keys()
    twin.load_state_dict(plain)
    torch.testing.assert_close(twin(input_ids=IDS).logits, model(input_ids=IDS).logits, atol=2e-4, rtol=1e-4)


def test_a_checkpoint_with_the_identity_is_a_plain_model(tmp_path: Path, documents) -> None:  # noqa: F811
    run = training(tmp_path, documents, "lost")
    folder = go_on(run)
    changes = changer(run.methods)
    assert changes is not None
    plain, own = read_network(folder, "sdpa"), read_changed(folder, "sdpa", changes)
    assert any(isinstance(module, LostLinear) for module in own.modules())
    torch.testing.assert_close(plain(input_ids=IDS).logits, own(input_ids=IDS).logits, atol=2e-4, rtol=1e-4)


def test_a_nonlinearity_has_no_plain_weights_and_says_so(
    tmp_path: Path,
    documents,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = training(tmp_path, documents, "lost-silu")
    folder = go_on(run)
    assert "with the activation silu there are no plain weights to export" in capsys.readouterr().err
    assert not (folder / "model.safetensors").exists()
    assert (folder / PARTS).exists()
    with pytest.raises(ValueError, match=r"has no model.safetensors"):
        check_folder(folder)
    changes = changer(run.methods)
    assert changes is not None
    own = read_changed(folder, "sdpa", changes)
    assert sum(isinstance(module, LostLinear) for module in own.modules()) == 2 * 7
