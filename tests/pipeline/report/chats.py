"""A real token selection, small enough to be kept: made by models that were trained, read where there is no torch.

    python -m tests.pipeline.report.chats        # in the environment with torch: makes data/chats.tar.gz anew

A Llama of 3 layers is trained on the demo's manuals (`earlier`), then on the conversations below (`later`); `tamis
ingest`, `tamis tokens score` and `tamis tokens select` do the rest. What they left in the workspace is the archive:
documents, token table, selection, ledger. The tokenizer is the demo's with two special tokens, so it is made again
where the archive is opened.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tokenizers import Tokenizer

from pipeline.integrity import sealed
from pipeline.stage import STAGE_FILE, saved
from pipeline.workspace import Workspace

DEMO = Path(__file__).parents[3] / "configs" / "demo" / "data"
ARCHIVE = Path(__file__).with_name("data") / "chats.tar.gz"
CORPUS, SELECTION = "chat", "sstoken"
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TALKS = {
    "vacuum": (
        "Why does a table stay large after I delete half of its rows?",
        "A delete only marks rows as dead. VACUUM makes their space free for new rows of the same table; "
        "VACUUM FULL writes the table anew and gives the space back to the system, but locks it meanwhile.",
    ),
    "mutable-default": (
        "My function appends to a list argument with a default, and the list keeps growing. Why?",
        "The default is made once, when the function is defined, and shared by all calls.\n\n"
        "    def f(item, items=None):\n        items = [] if items is None else items\n\nmakes a new list each time.",
    ),
    "isolation": (
        "What does the isolation level serializable promise?",
        "That the result of transactions that run at the same time is that of some order in which they run one after "
        "the other. A transaction that would break this fails with a serialization error and has to be tried again.",
    ),
    "generator": (
        "When is a generator better than a list?",
        "When the values are used once and in order: a generator makes each one when it is asked for, so that memory "
        "holds a single value however many there are.",
    ),
    "markup": (
        "Escape <script>window.harmed = 1</script> for me, please.",
        "&lt;script&gt;window.harmed = 1&lt;/script&gt; or, in Python, html.escape(text). "
        "<img src=x onerror='window.harmed = 1'> needs the same.",
    ),
    "scripts": (
        "Say hello in Arabic and in Greek.",
        "مرحبا and γειά σου. The first is written from right to left, the second from left to right.",
    ),
    "index": (
        "Which index does a query for the newest rows of one user need?",
        "One on both columns, the user first: CREATE INDEX ON rows (user_id, created DESC). It finds the user and has "
        "the rows in order already.",
    ),
}


def tokenizer_folder(place: Path) -> Path:
    """The demo's tokenizer with a chat template, the same bytes every time."""
    place.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.save(str(place / "tokenizer.json"))
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "chat_template": TEMPLATE}
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    return place


def add_chats(workspace: Workspace, tokenizer: Path) -> None:
    """Put the corpus `chat` with its token table and selection into a workspace. tokenizer: where its folder goes."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(workspace.url, filter="data")
    tokenizer_folder(tokenizer)
    for folder in workspace.stages(f"tokens/{CORPUS}"):
        record = saved(workspace.store, folder)
        assert record is not None
        record["info"]["tokenizer"] = str(tokenizer)  # where it was when the archive was made is not where it is now
        workspace.store.write_bytes(f"{folder}/{STAGE_FILE}", sealed(record))


def _models(place: Path) -> None:
    """Train `earlier` and `later`."""
    import pyarrow.json as arrow_json
    import torch
    import zstandard
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(place / "tokenizer" / "tokenizer.json"))
    raw = zstandard.ZstdDecompressor().stream_reader((DEMO / "postgresql-docs.jsonl.zst").open("rb")).read()
    manuals = arrow_json.read_json(io.BytesIO(raw)).column("text").to_pylist()
    talks = [f"<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n{a}<|im_end|>\n" for q, a in TALKS.values()]
    size = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=512, **size)
    model = LlamaForCausalLM(config)
    for name, texts, steps, rate in (("earlier", manuals, 600, 3e-3), ("later", talks, 40, 1e-3)):
        ids = torch.tensor([i for text in texts for i in tokenizer.encode(text).ids])
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
        for _ in range(steps):
            starts = torch.randint(0, len(ids) - 256, (4,))
            rows = torch.stack([ids[start : start + 256] for start in starts])
            loss = model(input_ids=rows, labels=rows).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"{name}: loss {loss.item():.2f}", file=sys.stderr)
        model.save_pretrained(place / name)
        tokenizer_folder(place / name)


def main() -> None:
    """Make the archive."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tokenizer_folder(place / "tokenizer")
        _models(place)
        rows = [
            {"id": name, "messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
            for name, (q, a) in TALKS.items()
        ]
        (place / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        for words in (
            ("ingest", "chats.jsonl", "--corpus", CORPUS, "--id", "id", "--workers", "1"),
            ("tokens", "score", "--corpus", CORPUS, "--earlier", "earlier", "--later", "later"),
            ("tokens", "select", "--corpus", CORPUS, "--method", SELECTION, "--rho", "0.6", "--workers", "1"),
        ):
            command = [sys.executable, "-m", "cli.main", *words, "-w", "workspace"]
            subprocess.run(command, cwd=place, check=True)
        ARCHIVE.parent.mkdir(exist_ok=True)
        with tarfile.open(ARCHIVE, "w:gz") as archive:
            for path in sorted((place / "workspace").rglob("*")):
                kept = path.relative_to(place / "workspace").as_posix()
                if path.is_file() and "token-passes" not in kept:
                    archive.add(path, kept)


if __name__ == "__main__":
    main()
