"""From losses to strengths, labels, a classifier and its evaluation, on losses whose truth is known."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from pipeline.errors import UserError
from pipeline.execute import Pool
from pipeline.preselect.evaluate import auc, evaluate
from pipeline.preselect.matrix import make_pairs, read_pairs
from pipeline.preselect.report import shown
from pipeline.preselect.sample import Sample, make_sample
from pipeline.preselect.settings import LabelSettings, SampleSettings, StrengthSettings
from pipeline.preselect.strength import REPORT, make_strength, measure, read_strength
from pipeline.preselect.train import LABELS, labelled, make_classifier
from pipeline.preselect.weights import domain_weights
from pipeline.shards import read_narrow
from pipeline.workspace import Workspace
from scorers.fasttext.train import TrainSettings
from tests.pipeline.preselect.helpers import panel, web, write_losses

SMALL = TrainSettings(dim=8, bucket=2000, epoch=10, lr=0.5)
FAST = StrengthSettings(benchmarks=["quiz"], permutations=20)


@pytest.fixture
def sample(workspace: Workspace, pool: Pool) -> Sample:
    return make_sample(web(workspace), SampleSettings(domains=20, per_domain=10, shard_rows=100), pool)


def test_strengths_follow_the_truth_and_are_aligned_with_the_sample(sample: Sample) -> None:
    stage = make_strength(sample, panel(), write_losses(sample), FAST)
    table = read_strength(sample, stage.folder)
    ids = [i for shard in sample.shards for i in sample.table(shard, ["id"]).column("id").to_pylist()]
    assert table.column("id").to_pylist() == ids
    good = np.array([name.endswith("g") for name in ids])
    for name in ("preselect", "spearman", "margin", "noise"):
        assert auc(table.column(name).to_numpy(), good) > 0.95, name
    assert (table.column("se").to_numpy() > 0).all()
    report = orjson.loads(sample.workspace.store.read_bytes(f"{stage.folder}/{REPORT}"))
    assert sum(bar["documents"] for bar in report["estimators"]["preselect"]["histogram"]) == len(ids)
    assert len(report["agreement"]) == 6
    assert "permuted_orders" in report["estimators"]["noise"]
    assert "real order" in shown(report)


def test_a_document_of_which_a_model_saw_other_characters_is_rejected_for_all(sample: Sample) -> None:
    odd = sample.table(sample.shards[0], ["id"]).column("id")[3].as_py()
    table = read_strength(sample, make_strength(sample, panel(), write_losses(sample, odd=odd), FAST).folder)
    row = next(row for row in table.to_pylist() if row["id"] == odd)
    assert row["reason"] == "other_characters"
    assert row["preselect"] is None
    assert row["noise"] is None
    assert table.column("reason").null_count == table.num_rows - 1


def test_mixed_tokenizers_are_refused_or_compared_over_common_characters(sample: Sample) -> None:
    stages = write_losses(sample, cuts={2: 3})
    with pytest.raises(UserError, match="align: true"):
        make_pairs(sample, panel(), stages)
    found = read_pairs(sample, make_pairs(sample, panel(align=True), stages))
    texts = [t for shard in sample.shards for t in sample.table(shard, ["text"]).column("text").to_pylist()]
    common = [len({*range(0, len(t), 12)} | {len(t)}) - 1 for t in texts]  # tokens of 3 and of 4 meet every 12
    assert found.tokens.tolist() == common
    means = (found.losses[:, 0] - found.losses[:, 2]) / found.tokens  # pair (0, 2) is the second
    np.testing.assert_allclose(found.pairs.difference[:, 1], means, atol=1e-4)


def test_pairs_are_the_same_bytes_from_workers_and_from_this_process_and_made_once(sample: Sample, pool: Pool) -> None:
    losses, store = write_losses(sample), sample.workspace.store
    stage = make_pairs(sample, panel(), losses, pool)
    files = [f"{stage.folder}/{shard}.parquet" for shard in sample.shards]
    made = [store.read_bytes(file) for file in files]
    store.remove(files[0])
    assert make_pairs(sample, panel(), losses).folder == stage.folder
    assert [store.read_bytes(file) for file in files] == made
    rows = sample.workspace.rows(stage.folder)
    assert [rows[shard].attempt for shard in sample.shards] == [2] + [1] * (len(files) - 1)
    other = panel(models=panel().model_dump()["models"][:4])
    assert make_pairs(sample, other, losses).folder != stage.folder


def test_strength_needs_no_token_losses_once_they_are_paired(sample: Sample) -> None:
    losses, store = write_losses(sample), sample.workspace.store
    first = make_strength(sample, panel(), losses, FAST)
    kept = [store.read_bytes(f"{first.folder}/{shard}.parquet") for shard in sample.shards]
    store.remove("losses")
    store.remove("ledger/losses")
    store.remove(first.folder)
    store.remove(f"ledger/{first.folder}")
    again = make_strength(sample, panel(), losses, FAST)
    assert [store.read_bytes(f"{again.folder}/{shard}.parquet") for shard in sample.shards] == kept
    store.remove(make_pairs(sample, panel(), losses).folder)
    with pytest.raises(UserError, match="run `tamis preselect losses` again"):
        make_pairs(sample, panel(), losses)


def test_noise_pools_its_pairs_by_the_mean_unless_told_otherwise(sample: Sample) -> None:
    found = read_pairs(sample, make_pairs(sample, panel(), write_losses(sample)))
    quiz = np.array([[model.scores["quiz"] for model in panel().models]])
    mean, product = (
        measure(found.losses, found.told, FAST.model_copy(update={"pooling": pooling}), "noise")(quiz).value
        for pooling in ("mean", "product")
    )
    np.testing.assert_array_equal(measure(found.losses, found.told, FAST, "noise")(quiz).value, mean)
    assert (product < mean).all()  # as geometric means are, unless all pairs say the same


def test_domains_are_on_one_side_and_labels_obey_the_caps(sample: Sample) -> None:
    table = read_strength(sample, make_strength(sample, panel(), write_losses(sample), FAST).folder)
    rows = labelled(table, LabelSettings(by="noise", rule="quantile", held_out=0.3, per_domain=2)).to_pylist()
    sides: dict[str, set[bool]] = {}
    for row in rows:
        sides.setdefault(row["domain"], set()).add(row["held_out"])
    assert all(len(side) == 1 for side in sides.values())
    assert 0 < sum(side == {True} for side in sides.values()) < 20
    for domain in sides:
        for label in (0, 1):
            assert sum(row["domain"] == domain and row["label"] == label for row in rows) <= 2
    with pytest.raises(UserError, match="did you mean 'noise'"):
        labelled(table, LabelSettings(by="noises"))


def test_the_classifier_finds_the_truth_on_domains_it_never_saw(sample: Sample) -> None:
    strengths = make_strength(sample, panel(), write_losses(sample), FAST)
    settings = LabelSettings(by="noise", rule="quantile", held_out=0.3)
    stage = make_classifier(sample, strengths.folder, settings, SMALL, "quality")
    store = sample.workspace.store
    rows = store.read_bytes(f"{stage.folder}/model.bin")
    values = evaluate(sample, read_narrow(store, f"{stage.folder}/{LABELS}"), store.shown(f"{stage.folder}/model.bin"))
    assert values["auc"] > 0.95
    assert values["precision_at_10"] > 2 * values["prevalence"]
    words = {side: {f["feature"] for f in values["telling"]["words"][side]} for side in ("for", "against")}
    assert {"because", "therefore"} <= words["for"]
    assert {"menu", "index"} <= words["against"]
    assert sum(row["documents"] for row in values["lengths"]) == values["documents"]
    assert sum(row["documents"] for row in values["calibration"]) == values["positives"] + values["negatives"]
    assert make_classifier(sample, strengths.folder, settings, SMALL, "quality").folder == stage.folder
    store.remove(stage.folder)
    make_classifier(sample, strengths.folder, settings, SMALL, "quality")
    assert store.read_bytes(f"{stage.folder}/model.bin") == rows


def test_zeroing_the_end_of_sentence_changes_that_weight_alone(sample: Sample) -> None:
    from scorers.fasttext.classifier import load_classifier

    strengths = make_strength(sample, panel(), write_losses(sample), FAST)
    tables = []
    for zero in (False, True):
        settings = LabelSettings(by="noise", rule="quantile", zero_eos=zero)
        stage = make_classifier(sample, strengths.folder, settings, SMALL, "quality")
        model = load_classifier(sample.workspace.store.path(f"{stage.folder}/model.bin"))
        tables.append((model.rows.table, model.tables.eos))
    (kept, eos), (cleared, _) = tables
    assert kept[eos] != 0
    assert cleared[eos] == 0
    others = np.arange(len(kept)) != eos
    np.testing.assert_array_equal(kept[others], cleared[others])


def test_weights_keep_within_the_tokens_of_each_domain(sample: Sample) -> None:
    table = read_strength(sample, make_strength(sample, panel(), write_losses(sample), FAST).folder)
    found = domain_weights(table, "noise", 0.25)
    for name in ("linear", "l2"):
        weight = found.column(name).to_numpy()
        assert abs(weight.sum() - 1) < 1e-9
        assert (weight <= found.column("cap").to_numpy() + 1e-12).all()
    np.testing.assert_allclose(found.column("cap").to_numpy().sum(), 4)
    order = found.column("linear").to_numpy() / found.column("cap").to_numpy()
    assert (np.diff(order) <= 1e-12).all()  # best estimates first, each used up before the next
    assert found.num_rows == 20


def test_another_benchmark_or_setting_is_another_stage(sample: Sample) -> None:
    stages = write_losses(sample)
    one = make_strength(sample, panel(), stages, FAST)
    other = make_strength(sample, panel(), stages, FAST.model_copy(update={"benchmarks": ["quiz", "flat"]}))
    assert one.folder != other.folder
    shrunk = make_strength(sample, panel(), stages, FAST.model_copy(update={"kappa": 50.0}))
    assert "noise_shrunk" in read_strength(sample, shrunk.folder).column_names


def test_auc_counts_ties_half() -> None:
    assert auc(np.array([1.0, 1.0, 0.0]), np.array([True, False, False])) == 0.75
