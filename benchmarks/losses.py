"""The loss stage of PreSelect beside a bare `model(**batch)` loop over the same batches: make bench-lm.

Both run on one core with one thread, in float32, over the same documents: the stage as `tamis preselect losses` runs
it, in a Dask worker, and the loop in a process that has the model open and the batches in memory and throws the logits
away. They take turns: a round is the loop over all shards, then the stage, and the next round the other way round.

A panel holds the model twice (a panel has at least two), so that a round measures every shard twice. *Within the
tasks*: ledger seconds of a shard (reading, tokenizing, model, losses, writing) against the loop's of that shard,
without the first shard of each model, whose task opens it. *The whole stage*: the call of make_losses with all
there is to it, opening the models included; starting the cluster is named apart. The stage's losses are checked
against the loop's logits, 1e-4 relative, before anything is timed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import corpus, lm_models
from benchmarks.common import DATA, DOCUMENTS, TRIALS, NotReady, commit, line, measured_cores, needed, pinned, say

SHARDS = 4
PER_SHARD = {"4M-4k": 12, "28M-16k": 6, "7M-49k": 8}
"""documents of a shard, so many that the loop takes seconds; of models not named here OTHERS"""
OTHERS = 2
SAMPLE = 2000
"""documents on which tokens run, scored and padded are counted; that costs no model"""
CONTEXTS = (512, 2048)


def measure(full: bool, repeats: int) -> dict[str, Any]:
    """Every model: rounds of both sides, and what the batches cost. full: False for a trial of the smallest model."""
    needed(DOCUMENTS, "bench-data")
    try:
        import torch
        import transformers
    except ImportError:
        raise NotReady("it needs torch and transformers; `make bench-lm` runs it where they are") from None
    lines, runs = [], []
    for place in lm_models.make():
        name = place.name
        if not full and name != "4M-4k":
            continue
        run = _measured(place, repeats if name in PER_SHARD else 2)
        runs.append({"model": name, **run})
        lines += [
            line(f"{name}: within the tasks, against the loop", "times", run["tasks"]),
            line(f"{name}: the whole stage, against the loop", "times", run["stage"]),
            line(f"{name}: the loop", "tokens/s", run["loop_rates"]),
            line(f"{name}: opening the model", "s", [run["open_seconds"]]),
            line(f"{name}: starting the cluster", "s", [run["cluster_seconds"]]),
        ]
        for context, work in run["work"].items():
            lines.append(line(f"{name}: tokens run / scored, context {context}", "times", [work["overhead"]]))
            lines.append(line(f"{name}: padding, context {context}", "%", [100 * work["padding"]]))
        say(f"{name}: {lines[-9]['value']:.3f} within the tasks, {lines[-8]['value']:.3f} the whole stage")
    about = (
        f"Rates of the stage / rates of the loop, {SHARDS} shards; tokens scored by a model in a round: "
        + ", ".join(f"{run['tokens']} by {run['model']}" for run in runs)
        + f". Run / scored and padding over {SAMPLE} documents. torch {torch.__version__}, transformers "
        f"{transformers.__version__}.\n"
    )
    return {"lines": lines, "runs": runs, "about": about}


def _measured(place: Path, rounds: int) -> dict[str, Any]:
    """One model; taken from the last call if that was interrupted after it, with the same code and rounds."""
    kept = TRIALS / f"losses-{place.name}.json"
    now = [commit(), rounds]
    if kept.exists() and (known := json.loads(kept.read_text()))["of"] == now and not now[0].endswith("+"):
        say(f"{place.name}: measured before, at this commit")
        return known["run"]
    folder = DATA / f"losses-{os.getpid()}"
    documents = PER_SHARD.get(place.name, OTHERS)
    request = {"folder": str(folder), "model": str(place), "documents": documents, "rounds": rounds}
    try:
        run = pinned("benchmarks.losses", measured_cores(1), request)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"of": now, "run": run}))
    return run


def _child(request: dict[str, Any]) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM

    from pipeline.execute import Compute, Pool
    from pipeline.ingest import IngestSettings, ingest
    from pipeline.preselect.losses import make_losses
    from pipeline.preselect.sample import make_sample
    from pipeline.preselect.settings import PanelSettings, SampleSettings
    from pipeline.workspace import Workspace
    from scorers.lm.model import open_model

    torch.set_num_threads(1)
    folder = Path(request["folder"])
    folder.mkdir(parents=True)
    size = _write_input(folder / "documents.jsonl", request["documents"] * SHARDS)
    entries = [{"name": name, "model": request["model"], "scores": {"none": i}} for i, name in enumerate("ab")]
    panel = PanelSettings.model_validate({"models": entries, "context": lm_models.CONTEXT, "threads": 1})
    begun = time.perf_counter()
    with open_model(request["model"]) as model:
        open_seconds = time.perf_counter() - begun
        tokenizer, bos = model.tokenizer, model.bos
    network = AutoModelForCausalLM.from_pretrained(request["model"], dtype=torch.float32).eval()
    workspace = Workspace(str(folder / "workspace"))
    begun = time.perf_counter()
    with Pool(Compute(workers=1), workspace) as pool:
        pool.client.wait_for_workers(1)
        cluster_seconds = time.perf_counter() - begun
        source = [str(folder / "documents.jsonl")]
        ingest(workspace, "web", IngestSettings(sources=source, id="id", shard_mb=size / SHARDS / 1e6 * 1.001), pool)
        drawn = SampleSettings(sql="SELECT id FROM documents", shard_rows=1)
        sample = make_sample(workspace.corpus("web"), drawn, pool)
        texts = {s: sample.table(s, ["text"]).column("text").to_pylist() for s in sample.shards}
        batches = {s: _batches(tokenizer, bos, own, panel.token_budget) for s, own in texts.items()}

        def loop() -> dict[str, float]:
            found = {}
            with torch.inference_mode():
                for shard, (own, _) in batches.items():
                    begun = time.perf_counter()
                    for batch in own:
                        network(**batch)
                    found[shard] = time.perf_counter() - begun
            return found

        def stage() -> tuple[float, dict[str, list[float]]]:
            for place in ("losses", "ledger/losses"):
                shutil.rmtree(folder / "workspace" / place, ignore_errors=True)
            begun = time.perf_counter()
            stages = make_losses(sample, panel, pool)
            wall = time.perf_counter() - begun
            rows = [workspace.rows(one.folder) for one in stages.values()]
            return wall, {shard: [own[shard].seconds for own in rows] for shard in sample.shards}

        stage()
        _check(sample, workspace, batches, network)
        loop()
        tasks, whole, rates, walls = [], [], [], []
        tokens = sum(count for _, count in batches.values())
        for number in range(request["rounds"]):
            if number % 2:
                (wall, seconds), bare = stage(), loop()
            else:
                bare, (wall, seconds) = loop(), stage()
            tasks += [bare[shard] / own for shard in sample.shards[1:] for own in seconds[shard]]
            whole.append(2 * sum(bare.values()) / wall)
            rates.append(tokens / sum(bare.values()))
            walls.append({"stage": wall, "tasks": seconds, "loop": bare})
            print(f"round {number}: {whole[-1]:.3f}, within {np.median(tasks):.3f}", file=sys.stderr, flush=True)
    return {
        "tasks": tasks,
        "stage": whole,
        "loop_rates": rates,
        "tokens": tokens,
        "open_seconds": open_seconds,
        "cluster_seconds": cluster_seconds,
        "work": _work(tokenizer, bos),
        "rounds": walls,
    }


def _write_input(path: Path, documents: int) -> int:
    """The documents as JSONL; bytes written."""
    import orjson

    rows = corpus.first_megabytes(SAMPLE * corpus.LONGEST / 1e6).slice(0, documents).to_pylist()
    return path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _batches(tokenizer: Any, bos: int | None, texts: list[str], budget: int) -> tuple[list[dict[str, Any]], int]:
    """What the stage runs of one shard, as a loop would be given it, and the number of tokens scored."""
    import torch

    from scorers.lm.batching import cut_windows, default_overlap, make_batches
    from scorers.lm.losses import batch_arrays
    from scorers.lm.tokens import tokenize

    context = lm_models.CONTEXT
    tokens = tokenize(tokenizer, bos, texts)
    windows = cut_windows(np.diff(tokens.offsets), tokens.leads, context, default_overlap(context))
    found = []
    for batch in make_batches(windows.lengths, budget):
        ids, real, _, _ = batch_arrays(tokens, windows, batch)
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(real)}
        found.append({**inputs, "use_cache": False})
    return found, int((windows.stops - windows.fresh).sum())


def _check(sample: Any, workspace: Any, batches: dict[str, Any], network: Any) -> None:
    """The stage's losses of the first shard have the sum that the loop's logits give, if no document has windows."""
    import torch

    from pipeline.shards import read_narrow

    shard = sample.shards[0]
    total = count = 0.0
    with torch.inference_mode():
        for batch in batches[shard][0]:
            mask = batch["attention_mask"].bool()
            logits = network(**batch).logits.float()
            losses = torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1), batch["input_ids"][:, 1:].flatten(), reduction="none"
            ).view(len(mask), -1)
            total += float(losses[mask[:, 1:]].double().sum())
            count += int(mask[:, 1:].sum())
    (folder, *_) = workspace.stages("losses/web")
    table = read_narrow(workspace.store, f"{folder}/{shard}.parquet")
    values = table.column("values").to_pylist()
    # The last token of a document is never run, so the loop has no loss of it.
    own = sum(sum(row[:-1]) for row in values)
    assert sum(len(row) - 1 for row in values) == count, "a document is longer than the context"
    assert abs(own / total - 1) < 1e-4, f"the stage's losses are {own}, the loop's {total}"


def _work(tokenizer: Any, bos: int | None) -> dict[str, dict[str, float]]:
    """{context: tokens run / scored, share of padding} of SAMPLE documents as one shard."""
    from pipeline.preselect.settings import PanelSettings
    from scorers.lm.batching import cut_windows, default_overlap, make_batches, measure
    from scorers.lm.tokens import tokenize

    texts = corpus.first_megabytes(SAMPLE * corpus.LONGEST / 1e6).slice(0, SAMPLE).column("text").to_pylist()
    tokens = tokenize(tokenizer, bos, texts)
    budget = PanelSettings.model_fields["token_budget"].default
    found = {}
    for context in CONTEXTS:
        windows = cut_windows(np.diff(tokens.offsets), tokens.leads, context, default_overlap(context))
        work = measure(windows, make_batches(windows.lengths, budget))
        found[str(context)] = {"overhead": work.overhead, "padding": work.padded_share}
    return found


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]))))
