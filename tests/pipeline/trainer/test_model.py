"""Documents of a row do not see each other, and packed losses are those of each document by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.errors import UserError  # noqa: E402
from pipeline.trainer.model import Trainee, check_isolation, open_network  # noqa: E402
from pipeline.trainer.settings import ModelSettings  # noqa: E402
from pipeline.trainer.step import losses_of  # noqa: E402
from tests.pipeline.trainer.networks import GEMMA, GPT2, LLAMA, network, row_of  # noqa: E402
from tests.pipeline.trainer.packs import VOCABULARY, packed  # noqa: E402

DRAW = np.random.default_rng(0)
DOCUMENTS = [[0, *DRAW.integers(2, VOCABULARY, n).tolist(), 1] for n in (7, 3, 11, 1)]

KINDS = pytest.mark.parametrize(
    ("config", "attention"),
    [(LLAMA, "sdpa"), (LLAMA, "eager"), (GPT2, "sdpa"), (GPT2, "eager"), (GEMMA, "eager")],
    ids=lambda value: value if isinstance(value, str) else value["model_type"],
)


@KINDS
def test_changing_a_document_never_moves_the_losses_of_another(
    tmp_path: Path, config: dict[str, Any], attention: str
) -> None:
    trainee = Trainee(network(config, attention=attention)).eval()
    changed = [DOCUMENTS[0][:1] + [299] * 8, *DOCUMENTS[1:]]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with torch.no_grad():
        before, after = (
            losses_of(trainee, row_of(packed(tmp_path / name, documents), [[1, 0, 2, 3]], 32))[0]
            for name, documents in (("a", DOCUMENTS), ("b", changed))
        )
    own = slice(4, 12)
    others = np.r_[0:4, 12 : len(before)]
    assert torch.equal(before[others], after[others])
    assert not torch.isclose(before[own], after[own]).all()


@KINDS
def test_packed_losses_are_those_of_each_document_alone(tmp_path: Path, config: dict[str, Any], attention: str) -> None:
    model = network(config, attention=attention).eval()
    documents = packed(tmp_path, DOCUMENTS)
    with torch.no_grad():
        together = losses_of(Trainee(model), row_of(documents, [[2, 0], [1, 3]], 24))[0]
        alone = []
        for number in (2, 0, 1, 3):
            ids = torch.from_numpy(documents.tokens(number).astype(np.int64))[None]
            logits = model(input_ids=ids[:, :-1]).logits[0]
            alone.append(torch.nn.functional.cross_entropy(logits.float(), ids[0, 1:], reduction="none"))
    torch.testing.assert_close(together, torch.cat(alone), atol=2e-5, rtol=1e-5)


def test_a_model_that_mixes_documents_is_refused() -> None:
    trainee = Trainee(network(LLAMA))
    check_isolation(trainee, VOCABULARY)
    # What an architecture without restarting positions does: all of the row is one document.
    inner = trainee.network.model.forward
    trainee.network.model.forward = lambda **told: inner(**{k: v for k, v in told.items() if k != "position_ids"})
    with pytest.raises(UserError, match="does not keep the documents of a row apart"):
        check_isolation(trainee, VOCABULARY)


def test_wrong_configs_are_one_clear_line() -> None:
    def opened(config: dict[str, Any]) -> None:
        open_network(ModelSettings(config=config), VOCABULARY, {}, 0)

    with pytest.raises(UserError, match="no `model_type`"):
        opened({"hidden_size": 8})
    with pytest.raises(UserError, match="lama"):
        opened({"model_type": "lama"})
    with pytest.raises(UserError, match="10 embeddings, the tokenizer 300"):
        opened(LLAMA | {"vocab_size": 10})
