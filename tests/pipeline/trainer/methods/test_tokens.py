"""Selection while training: the tokens that the formulas name, and what counted stays as much as it was."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from pipeline.errors import UserError  # noqa: E402
from pipeline.storage import Store  # noqa: E402
from pipeline.trainer.checkpoint import checkpoints  # noqa: E402
from pipeline.trainer.loop import Training, train  # noqa: E402
from pipeline.trainer.methods import make_methods, method_settings  # noqa: E402
from pipeline.trainer.methods.tokens import Settings, make, prompt_masses  # noqa: E402
from pipeline.trainer.model import Trainee, read_network  # noqa: E402
from pipeline.trainer.packed import Packed  # noqa: E402
from pipeline.trainer.settings import LossSettings  # noqa: E402
from pipeline.trainer.step import share_out  # noqa: E402
from scorers.lm.attention import watched  # noqa: E402
from tests.pipeline.trainer.networks import network, row_of, settings  # noqa: E402
from tests.pipeline.trainer.packs import VOCABULARY, packed  # noqa: E402

RUN = "runs/test-12345678"


@pytest.fixture
def documents(tmp_path: Path) -> Packed:
    """Conversations of up to two answers, and texts that are learnt as a whole."""
    draw = np.random.default_rng(2)
    rows, weights = [], []
    for n in draw.integers(6, 22, 40):
        rows.append([0, *draw.integers(2, VOCABULARY, n).tolist(), 1])
        learns = np.zeros(n + 2, np.float32)
        learns[n // 3 : n // 2] = 1
        learns[3 * n // 4 : n + 2 - int(n % 2)] = 1
        weights.append(learns.tolist() if n % 5 else None)
    return packed(tmp_path, rows, token_weights=weights)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Another model of the same shape."""
    network(seed=7).save_pretrained(tmp_path / "other")
    return tmp_path / "other"


def answers_of(documents: Packed, document: int) -> list[list[int]]:
    """Runs of learnt tokens, as positions in the document."""
    weights = documents.token_weights(document)
    learns = np.ones(documents.lengths[document]) if weights is None else weights
    runs: list[list[int]] = []
    for token in range(1, len(learns)):
        if learns[token]:
            if runs and runs[-1][-1] == token - 1:
                runs[-1].append(token)
            else:
                runs.append([token])
    return runs


def test_the_mass_is_that_of_the_token_itself_on_all_before_its_answer(documents: Packed) -> None:
    micro = row_of(documents, [[0, 1, 2], [3, 4]], 64)
    own = network(seed=1)
    trainee = Trainee(own).eval()
    with torch.no_grad(), watched(own, -1) as seen:
        trainee(micro.inputs, micro.positions, micro.where, micro.labels)
    found = prompt_masses(micro, seen.states)
    eager = network(seed=1, attention="eager").eval()
    expected = []
    for document in (0, 1, 2, 3, 4):
        ids = torch.from_numpy(documents.tokens(document).astype(np.int64))[None]
        weights = eager(input_ids=ids[:, :-1], output_attentions=True).attentions[-1][0].mean(0).detach().numpy()
        for run in answers_of(documents, document):
            # The last token of a document is never read: the one before it stands in.
            places = [min(token, len(weights) - 1) for token in run]
            expected += [weights[place, : run[0]].sum() for place in places]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.std(found) > 0.02


def stepped(documents: Packed, method: Any, rows: list[list[list[int]]], loss: LossSettings) -> tuple[Any, Any, Any]:
    """(micro-batches, their losses, new shares) of one step."""
    own = network(seed=1)
    trainee = Trainee(own).eval()
    micros = [row_of(documents, one, 64) for one in rows]
    share_out(micros, loss)
    method.begin(trainee, torch.optim.AdamW(own.parameters()))
    found, nll = [], []
    for micro in micros:
        if method.losses is not None:
            nll.append(method.losses(1, trainee, micro)[0].detach())
        else:
            nll.append(trainee(micro.inputs, micro.positions, micro.where, micro.labels)[0].detach())
        if not method.whole_step:
            found += method.shares(1, [micro], nll[-1:])
    return micros, nll, found or method.shares(1, micros, nll)


@pytest.mark.parametrize("select", ["sstoken", "loss", "attention", "random"])
@pytest.mark.parametrize("per", ["token", "sample"])
def test_of_each_sample_the_share_is_kept_and_the_sum_stays(
    documents: Packed, folder: Path, select: str, per: str
) -> None:
    chosen = Settings.model_validate({"select": select, "other": str(folder), "rho": 0.6, "per": per})
    rows = [[[0, 1, 2], [3, 4]], [[5, 6]]]
    micros, nll, shares = stepped(documents, make(chosen, 3), rows, LossSettings(per=per))  # type: ignore[arg-type]
    history = Trainee(read_network(folder, "sdpa")).eval()
    for micro, own, share in zip(micros, nll, shares, strict=True):
        assert float(share.sum()) == pytest.approx(float(micro.shares.sum()), rel=1e-5)
        with torch.no_grad():
            before = history(micro.inputs, micro.positions, micro.where, micro.labels)[0]
        for sample in range(len(micro.documents)):
            mine = micro.samples.numpy() == sample
            kept = share.numpy()[mine] > 0
            assert kept.sum() == math.ceil(round(0.6 * mine.sum(), 9))
            if per == "sample":
                assert share.numpy()[mine].sum() == pytest.approx(float(micro.shares[mine].sum()), rel=1e-4)
            if select == "loss":  # kept is what the history was worse at
                difference = (before - own).numpy()[mine]
                assert difference[kept].min() >= difference[~kept].max()
        if per == "token":
            values = share[share > 0]
            np.testing.assert_allclose(values, values[0], rtol=1e-5)


@pytest.mark.parametrize("scope", ["micro", "step"])
def test_rho1_keeps_what_the_model_is_worse_at_than_the_reference(documents: Packed, folder: Path, scope: str) -> None:
    chosen = Settings.model_validate({"select": "rho1", "other": str(folder), "rho": 0.5, "scope": scope})
    micros, nll, shares = stepped(documents, make(chosen, 3), [[[0, 1, 2]], [[5, 6]]], LossSettings())
    reference = Trainee(read_network(folder, "sdpa")).eval()
    excess = []
    for micro, own in zip(micros, nll, strict=True):
        with torch.no_grad():
            excess.append((own - reference(micro.inputs, micro.positions, micro.where, micro.labels)[0]).numpy())
    kept = [share.numpy() > 0 for share in shares]
    groups = [(np.concatenate(excess), np.concatenate(kept))] if scope == "step" else zip(excess, kept, strict=True)
    for values, own in groups:
        assert own.sum() == math.ceil(len(values) / 2)
        assert values[own].min() >= values[~own].max()


def training(place: Path, documents: Packed, entry: dict[str, Any]) -> Training:
    """A run of eight steps."""
    (place / "tokenizer").mkdir(parents=True, exist_ok=True)
    methods = make_methods(method_settings([{"method": "tokens"} | entry], "test"), 5)
    chosen = settings(steps=8, context=24)
    record = {"run": "test", "hash": "1", "fingerprint": documents.fingerprint}
    return Training(Store(str(place)), RUN, chosen, documents, {}, methods, record, place / "tokenizer")


def weights(run: Training) -> dict[str, Any]:
    return load_file(run.store.path(f"{checkpoints(run.store, RUN)[-1].folder}/model.safetensors"))


@pytest.mark.parametrize("alpha", [None, 0.8])
def test_a_history_that_follows_goes_on_where_it_stopped(
    tmp_path: Path, documents: Packed, folder: Path, alpha: float | None
) -> None:
    entry = {"other": str(folder), "alpha": alpha}
    device = torch.device("cpu")
    whole = training(tmp_path / "whole", documents, entry)
    train(whole, network(), device)
    train(training(tmp_path / "parts", documents, entry), network(), device, stop_after=3)
    parts = training(tmp_path / "parts", documents, entry)
    place = parts.store.path(checkpoints(parts.store, RUN)[-1].folder)
    train(parts, read_network(Path(place), "sdpa"), device)
    once, twice = weights(whole), weights(parts)
    assert all(torch.equal(once[name], twice[name]) for name in once)
    other = training(tmp_path / "other-alpha", documents, entry | {"alpha": 0.5})
    train(other, network(), device)
    assert any(not torch.equal(once[name], value) for name, value in weights(other).items())


def test_what_cannot_be_is_said(tmp_path: Path, documents: Packed, folder: Path) -> None:
    with pytest.raises(UserError, match="sstoken needs `other`"):
        method_settings([{"method": "tokens"}], "test")
    with pytest.raises(UserError, match="`alpha` makes a history follow"):
        method_settings([{"method": "tokens", "select": "rho1", "other": "x", "alpha": 0.5}], "test")
    method = make(Settings(other=str(folder), layer=5), 0)
    assert method.check is not None
    with pytest.raises(ValueError, match="layer 5: the model has 2 layers"):
        method.check(network(), 1)
    method = make(Settings(other=str(folder), alpha=0.5), 0)
    assert method.check is not None
    with pytest.raises(UserError, match="one process"):
        method.check(network(), 2)
    one, other = (Settings(other=str(place)).model_dump()["other_model"] for place in (folder, folder.parent / "none"))
    assert one is not None
    assert other is None
