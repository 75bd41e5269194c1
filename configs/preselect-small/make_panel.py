"""Six small language models that differ in data and size, measured on a benchmark, and the pool that they will judge.

    python configs/preselect-small/make_panel.py OUT [--steps 100] [--documents 600]

Needs the extra `lm` (torch, transformers). Writes OUT/models/<name>/ (tiny Llamas, safetensors), OUT/panel.yaml with
the scores measured here, and OUT/pool.jsonl (id, text, source, domain, truth). The text is the demo's: labelled chunks
of manuals (explaining chapters and listings) are cut into training text, a benchmark that no model trains on, and a
part of the pool; the rest of the pool is chunks of other pages. The recipe varies how much of a model's training text
explains things, and its width; the order of the models is what the benchmark says, and nothing here assumes it.

The benchmark has two scores, both on the held-out explaining chunks: `bits`, bits per byte with a minus sign, and
`cloze`, how often the true continuation of half a chunk has a lower loss than three from other chunks.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
import yaml
import zstandard
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

DATA = Path(__file__).parents[1] / "demo" / "data"
RECIPE = {  # name: (share of explaining text, width, share of the steps)
    "listing-narrow": (0.0, 48, 1.0),
    "listing-wide": (0.0, 128, 1.0),
    "mixed-brief": (0.5, 96, 0.4),
    "mixed-narrow": (0.5, 64, 1.0),
    "mixed-wide": (0.5, 128, 1.0),
    "explaining-wide": (1.0, 128, 1.0),
}
SEQUENCE, BATCH = 128, 8
CONTEXT = 512
BENCHMARK, TRAINING = 60, 280
"""chunks of the benchmark, and chunks of each label to train on"""


def rows(name: str) -> list[dict[str, str]]:
    """One of the demo's files."""
    with zstandard.open(DATA / f"{name}.jsonl.zst", "rb") as file:
        return [json.loads(line) for line in io.TextIOWrapper(file, encoding="utf-8")]


def tokenizer_with_bos() -> PreTrainedTokenizerFast:
    """The demo's byte-level BPE of 4,096 tokens, and a BOS."""
    plain = Tokenizer.from_file(str(DATA / "tokenizer.json"))
    return PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>")


def train(texts: dict[str, list[str]], share: float, width: int, steps: int, seed: int, tokenizer) -> LlamaForCausalLM:
    """A tiny Llama on a mix: each sequence is explaining text with probability `share`, else listings."""
    torch.manual_seed(seed)
    drawn = random.Random(seed)
    streams = {}
    for label, chunks in texts.items():
        ids: list[int] = []
        for chunk in chunks:
            ids += [tokenizer.bos_token_id, *tokenizer.encode(chunk, add_special_tokens=False)]
        streams[label] = torch.tensor(ids)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 3,
        num_hidden_layers=2,
        num_attention_heads=width // 16,
        num_key_value_heads=width // 16,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        batch = []
        for _ in range(BATCH):
            stream = streams["1" if drawn.random() < share else "0"]
            start = drawn.randrange(len(stream) - SEQUENCE)
            batch.append(stream[start : start + SEQUENCE])
        ids = torch.stack(batch)
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def measure(model: LlamaForCausalLM, chunks: list[str], tokenizer) -> dict[str, float]:
    """Scores on the benchmark, higher is better."""

    def nats(begin: list[int], end: list[int]) -> float:
        ids = torch.tensor([[tokenizer.bos_token_id, *begin, *end]])[:, :CONTEXT]
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        return float(losses[len(begin) :].double().sum())

    encoded = [tokenizer.encode(chunk, add_special_tokens=False)[: CONTEXT - 1] for chunk in chunks]
    size = sum(len(tokenizer.decode(ids).encode()) for ids in encoded)
    bits = sum(nats([], ids) for ids in encoded) / size / np.log(2)
    drawn, right = random.Random(0), 0
    for i, ids in enumerate(encoded):
        begin, true = ids[:100], ids[100:130]
        others = drawn.sample([j for j in range(len(encoded)) if j != i], 3)
        wrong = [nats(begin, encoded[j][100:130]) for j in others]
        right += nats(begin, true) < min(wrong)
    return {"bits": -round(float(bits), 4), "cloze": round(100 * right / len(encoded), 2)}


def chunked(text: str, size: int = 1500) -> list[str]:
    """Whole lines of about `size` characters."""
    parts, part = [], ""
    for line in text.splitlines(keepends=True):
        part += line
        if len(part) >= size:
            parts.append(part)
            part = ""
    return parts


def pool(labelled: dict[str, list[str]], documents: int) -> list[dict[str, str | None]]:
    """Half labelled chunks (a domain is a dozen neighbours), half chunks of other pages (a domain is a page)."""
    found: list[dict[str, str | None]] = []
    for label, chunks in labelled.items():
        for i, text in enumerate(chunks[: documents // 4]):
            domain = f"labelled-{label}-{i // 12:02d}"
            row = {"id": f"{domain}/{i}", "text": text, "source": "labelled", "domain": domain, "truth": label}
            found.append(row)
    for source in ("python-docs", "postgresql-docs"):
        chunks = [(row["id"], i, part) for row in rows(source) for i, part in enumerate(chunked(row["text"])[:6])]
        for page, i, part in chunks[: documents // 4]:
            found.append({"id": f"{page}#{i}", "text": part, "source": source, "domain": page, "truth": None})
    return found


def main() -> None:
    """See the module."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--steps", type=int, default=100)
    arguments.add_argument("--documents", type=int, default=600)
    arguments.add_argument("--threads", type=int, default=1)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    by_label: dict[str, list[str]] = {"1": [], "0": []}
    for row in rows("labelled"):
        by_label[row["label"]].append(row["text"])
    order = random.Random(0)
    benchmark = by_label["1"][:BENCHMARK]  # neighbours of one page stay on one side, but for the one cut through
    texts = {"1": by_label["1"][BENCHMARK : BENCHMARK + TRAINING], "0": by_label["0"][:TRAINING]}
    rest = {"1": by_label["1"][BENCHMARK + TRAINING :], "0": by_label["0"][TRAINING:]}
    options.out.mkdir(parents=True, exist_ok=True)
    written = pool(rest, options.documents)
    order.shuffle(written)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in written)
    (options.out / "pool.jsonl").write_text(lines, encoding="utf-8")
    tokenizer = tokenizer_with_bos()
    entries = []
    for seed, (name, (share, width, part)) in enumerate(RECIPE.items()):
        begun = time.time()
        model = train(texts, share, width, max(int(options.steps * part), 2), seed, tokenizer)
        folder = options.out / "models" / name
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        scores = measure(model, benchmark, tokenizer)
        entries.append({"name": name, "model": f"models/{name}", "scores": scores})
        parameters = sum(p.numel() for p in model.parameters())
        print(f"{name}: {parameters:,} parameters, {scores}, {time.time() - begun:.0f} s", flush=True)
    settings = {"models": entries, "dtype": "float32", "device": "cpu", "context": CONTEXT, "threads": options.threads}
    (options.out / "panel.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main()
