"""Labels by a judge, with a real (tiny, random) language model in real workers. Needs the extra `lm`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from cli.main import main  # noqa: E402
from pipeline.config import load  # noqa: E402
from pipeline.errors import UserError  # noqa: E402
from pipeline.execute import Pool  # noqa: E402
from pipeline.label.ask import read_answers  # noqa: E402
from pipeline.label.judges import voice_of  # noqa: E402
from pipeline.label.label import EVIDENCE, first_groups, make_labels  # noqa: E402
from pipeline.label.settings import JudgeSettings  # noqa: E402
from pipeline.label.steps import expected_cost, read_judge  # noqa: E402
from pipeline.preselect.sample import Sample, make_sample  # noqa: E402
from pipeline.preselect.settings import SampleSettings  # noqa: E402
from pipeline.preselect.strength import read_strength  # noqa: E402
from pipeline.run import plan, run  # noqa: E402
from pipeline.workspace import Workspace  # noqa: E402
from tests.pipeline.preselect.helpers import web  # noqa: E402

CHAT = "{% for m in messages %}<u>{{ m.content }}</u>{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
SAMPLE = SampleSettings(domains=8, per_domain=5)


def judge_folder(place: Path, seed: int, heads: int = 16) -> Path:
    """A random Llama with a chat template. heads: their size; vLLM knows few."""
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    plain.train_from_iterator(["Which of the texts is the best? because therefore explains reason the of"] * 4, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<u>", "</u>", "<a>"]})
    tokenizer.chat_template = CHAT
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=2 * heads,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=1024,
        head_dim=heads,
        initializer_range=0.4,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("judges")
    for seed, name in enumerate("ab"):
        judge_folder(place / name, seed)
    return place


@pytest.fixture
def sample(workspace: Workspace, pool: Pool) -> Sample:
    return make_sample(web(workspace, domains=8, per_domain=5), SAMPLE, pool)


def settings(folder: Path, *names: str, **changes: object) -> JudgeSettings:
    judges = [{"name": n, "engine": "transformers", "model": str(folder / n)} for n in names or ("a",)]
    values = {"rubric": "Explains.", "judges": judges, "group": 3, "rounds": 2, "excerpt": 24, "batch": 8} | changes
    return JudgeSettings.model_validate({"insist": True, **values})


def test_every_document_gets_a_quality_and_teaches_a_classifier(
    sample: Sample, folder: Path, pool: Pool, workspace: Workspace
) -> None:
    stage = make_labels(sample, settings(folder), pool)
    table = read_strength(sample, stage.folder)
    assert table.column("id").to_pylist() == [
        i for s in sample.shards for i in sample.table(s, ["id"])["id"].to_pylist()
    ]
    assert table.column("judge").null_count == 0
    assert min(table.column("prompts").to_pylist()) >= 2
    arguments = ["preselect", "train", "--strength", "judge", "--corpus", "web", "-w", workspace.url]
    arguments += ["--labels", "by=judge", "--labels", "rule=quantile", "--set", "dim=4", "--set", "epoch=1"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--set", "bucket=1000"])
    assert not ended.value.code


def test_a_run_that_lost_a_batch_asks_it_again_and_gives_the_same_bytes(
    sample: Sample, folder: Path, pool: Pool, workspace: Workspace
) -> None:
    chosen = settings(folder)
    stage = make_labels(sample, chosen, pool)
    store = workspace.store
    [answers] = workspace.stages(f"answers/{sample.corpus}")
    names = sorted(store.sizes(answers))
    batches = [name for name in names if name.endswith(".parquet")]
    assert len(batches) > 2
    before = {name: store.read_bytes(f"{answers}/{name}") for name in batches}
    labels = store.read_bytes(f"{stage.folder}/{sample.shards[0]}.parquet")
    store.remove(f"{answers}/{batches[1]}")
    store.remove(stage.folder)
    make_labels(sample, chosen, pool)
    assert {name: store.read_bytes(f"{answers}/{name}") for name in batches} == before
    assert store.read_bytes(f"{stage.folder}/{sample.shards[0]}.parquet") == labels


def test_answers_are_the_models_own_log_probabilities_of_the_letters(
    sample: Sample, folder: Path, pool: Pool, workspace: Workspace
) -> None:
    from pipeline.label.ask import ask_stage, prompt_text, read_excerpts

    chosen = settings(folder)
    make_labels(sample, chosen, pool)
    [judge] = chosen.judges
    voice = voice_of(judge, chosen)
    excerpts = read_excerpts(sample, voice, chosen)
    groups = first_groups(len(excerpts), chosen)
    answers = read_answers(sample, ask_stage(sample, judge, voice, chosen), groups, chosen)
    network = transformers.AutoModelForCausalLM.from_pretrained(folder / "a", dtype=torch.float32)
    for row in (0, len(groups) - 1):
        texts = [excerpts.texts[int(d)].as_py() for d in groups.members[row]]
        ids = voice.asker.ids(prompt_text(chosen, texts, int(groups.rounds[row])))
        with torch.inference_mode():
            expected = torch.log_softmax(network(torch.from_numpy(ids.astype(np.int64))[None]).logits[0, -1], -1)
        np.testing.assert_allclose(answers.logprobs[row], expected[list(voice.asker.answers)].numpy(), atol=1e-4)


def test_a_judge_that_answers_at_random_stops_the_run_with_its_evidence(
    sample: Sample, folder: Path, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = settings(folder, insist=False, least_reliability=0.9).model_dump(mode="json", exclude_none=True)
    file = tmp_path / "judge.yaml"
    file.write_text(yaml.safe_dump(judge))
    arguments = ["label", "--corpus", "web", "--judge", str(file), "-w", workspace.url]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--sample", "domains=8", "--sample", "per_domain=5"])
    assert ended.value.code == 2
    assert "tamis: judge 'a': the judge" in capsys.readouterr().err
    [answers] = workspace.stages("answers/web")
    found = orjson.loads(workspace.store.read_bytes(f"{answers}/{EVIDENCE}"))
    assert found["prompts"] > 0
    assert not workspace.store.exists("strengths")


def test_documents_on_which_two_judges_disagree_have_no_label(sample: Sample, folder: Path, pool: Pool) -> None:
    stage = make_labels(sample, settings(folder, "a", "b", agree=0.2), pool, "both")
    table = read_strength(sample, stage.folder)
    split = [reason == "judges_disagree" for reason in table.column("reason").to_pylist()]
    assert 0 < sum(split) < len(split)
    assert [value is None for value in table.column("judge").to_pylist()] == split
    ranks = [np.argsort(np.argsort(table.column(n).to_numpy())) / (len(split) - 1) for n in "ab"]
    assert (np.abs(ranks[0] - ranks[1]) > 0.2).tolist() == split


def test_refinement_asks_about_documents_next_to_the_cut_only(
    sample: Sample, folder: Path, pool: Pool, workspace: Workspace
) -> None:
    refined = settings(folder, refine={"cut": 0.2, "share": 0.2, "rounds": 3}, anchors=0)
    first = read_strength(sample, make_labels(sample, settings(folder, anchors=0), pool).folder)
    both = read_strength(sample, make_labels(sample, refined, pool, "refined").folder)
    quality = first.column("judge").to_numpy()
    more = both.column("prompts").to_numpy() - first.column("prompts").to_numpy()
    near = np.argsort(np.abs(quality - np.quantile(quality, 0.8)), kind="stable")[: int(0.2 * len(quality))]
    assert (more[near] >= 3).all()
    assert more.sum() <= 3 * (len(near) + 2)
    assert len(workspace.stages("answers/web")) == 2


def test_pointwise_grades_are_expectations_over_both_directions(sample: Sample, folder: Path, pool: Pool) -> None:
    stage = make_labels(sample, settings(folder, way="pointwise", grades=4), pool)
    values = read_strength(sample, stage.folder).column("judge").to_numpy()
    assert ((values >= 0) & (values <= 3)).all()
    assert len(set(values.tolist())) > 10


def test_cost_is_told_before_and_bounds_the_run(sample: Sample, folder: Path, pool: Pool, workspace: Workspace) -> None:
    chosen = settings(folder)
    with pytest.raises(UserError, match=r"max_tokens is 1,000: about .* documents fit"):
        make_labels(sample, chosen.model_copy(update={"max_tokens": 1000}), pool)
    assert not workspace.store.exists("answers")
    expected, rate = expected_cost(workspace, "web", SAMPLE, chosen)
    assert rate is None
    make_labels(sample, chosen, pool)
    [answers] = workspace.stages("answers/web")
    read = orjson.loads(workspace.store.read_bytes(f"{answers}/{EVIDENCE}"))
    assert expected.prompts == read["prompts"]
    assert expected_cost(workspace, "web", SAMPLE, chosen)[1] is not None


def test_a_prompt_that_does_not_fit_says_what_to_make_smaller(sample: Sample, folder: Path, pool: Pool) -> None:
    from pipeline.errors import ShardsFailed

    judges = [{"name": "a", "engine": "transformers", "model": str(folder / "a"), "context": 64}]
    with pytest.raises(ShardsFailed) as failed:
        make_labels(sample, settings(folder, judges=judges), pool)
    assert "set a smaller `excerpt` or `group`" in next(iter(failed.value.failed.values()))


def test_a_config_goes_from_a_judge_to_scores(workspace: Workspace, pool: Pool, folder: Path, tmp_path: Path) -> None:
    web(workspace, domains=8, per_domain=5)
    (tmp_path / "judge.yaml").write_text(
        yaml.safe_dump(settings(folder, refine={"share": 0.3, "rounds": 1}).model_dump(mode="json", exclude_none=True))
    )
    rows = orjson.dumps({"text": "one because two", "source": "s"}) + b"\n"
    (tmp_path / "in.jsonl").write_bytes(b"".join(rows.replace(b"one", b"word %d" % n) for n in range(30)))
    config = {
        "corpora": {"own": {"sources": ["in.jsonl"]}},
        "labels": {
            "taught": {
                "corpus": "own",
                "judge": "judge.yaml",
                "labels": {"held_out": 0},
                "train": {"dim": 4, "epoch": 1, "bucket": 1000},
            }
        },
        "scores": [{"scorer": "preselect", "model": "taught"}],
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    checked = load(str(tmp_path / "c.yaml"))
    run(checked, workspace, pool)
    steps = plan(checked, workspace)
    assert {step.state for step in steps} == {"done"}
    assert [step.kind for step in steps] == [
        *("ingest", "sample", "answers", "answers"),  # the first rounds, and those next to the cut
        *("strength", "preselect-train", "score"),
    ]
    changed = yaml.safe_load((tmp_path / "judge.yaml").read_text()) | {"rubric": "Is short."}
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump(changed))
    states = {step.kind: step for step in plan(checked, workspace)}
    assert states["answers"].state == "stale"
    assert any("settings.rubric" in why for why in states["answers"].why)
    assert any("tokens/s" in why for step in plan(checked, workspace) for why in step.why)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"group": 2, "anchors": 2}, "2 anchors leave no room"),
        ({"way": "pointwise", "rounds": 3}, "two wordings"),
        ({"roundz": 3}, "unknown key"),
        ({"judges": []}, "judges"),
    ],
)
def test_wrong_judge_files_get_one_clear_line(folder: Path, tmp_path: Path, change: dict, said: str) -> None:
    values = settings(folder).model_dump(mode="json", exclude_none=True) | change
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=said):
        read_judge(str(tmp_path / "judge.yaml"))
