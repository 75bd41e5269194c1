"""Perplexities of documents and lines are those of the model's own losses. The model's part needs the extra `lm`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.ghosts.perplexity import Values, closed, token_values


def test_a_part_of_a_text_has_the_tokens_that_end_in_it():
    values = Values(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), np.array([2, 4, 6, 8, 10, 12]))
    assert values.perplexity == pytest.approx(math.exp(3.5))
    assert values.between(2, 12) == pytest.approx(math.exp(4.0))
    assert math.isnan(values.between(4, 12))  # four tokens are too few to say
    assert math.isnan(Values(np.zeros(0), np.zeros(0, np.int64)).perplexity)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.pipeline.preselect.test_losses import _model

    folder = tmp_path_factory.mktemp("model")
    _model(folder, 0)
    return folder


def test_values_are_the_models_losses_of_the_documents_that_are_asked_for(model, workspace, pool):
    from scorers.lm.losses import token_losses
    from scorers.lm.model import open_model
    from tests.pipeline.preselect.helpers import web

    corpus = web(workspace)
    from pipeline.sql import query

    texts = {row["id"]: row["text"] for row in query(workspace, "SELECT id, text FROM documents").to_pylist()}
    chosen = sorted(texts)[:7]
    found = token_values(workspace, corpus.name, str(model), pool, chosen)
    closed(pool)
    assert sorted(found) == chosen
    with open_model(model, dtype="float32", device="cpu", attention="sdpa") as opened:
        expected = token_losses(opened, [texts[id] for id in chosen])
    for n, id in enumerate(chosen):
        own = slice(expected.offsets[n], expected.offsets[n + 1])
        assert np.allclose(found[id].losses, expected.values[own], atol=1e-4)
        assert found[id].ends.tolist() == expected.ends[own].tolist()
        assert found[id].ends[-1] == len(texts[id])


def test_a_folder_without_a_model_is_one_line(model, workspace, pool, tmp_path):
    with pytest.raises(UserError, match="expected the folder of a Hugging Face model"):
        token_values(workspace, "web", str(tmp_path), pool)
