"""Pairs of near-duplicates that a peer finds: `python -m benchmarks.sides.pairs TOOL < request`, in its environment.

The request is {"texts": [...]}; the answer {"clusters": [[row, ...], ...], "seconds", "versions"}. Settings are those
that the tool recommends for a similarity of about 0.8.
"""

import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import Any

TOML = """
[input]
input_type = "local_hf_dataset"
read_arguments = {{dataset_path = "{folder}/in"}}
[algorithm]
algorithm_name = "minhash"
text_column = "text"
num_perm = 256
threshold = 0.8
ngram_size = 5
min_length = 0
check_false_positive = true
num_proc = 1
[output]
output_dir = "{folder}/out"
[debug]
"""


def _components(pairs: list[tuple[int, int]], count: int) -> list[list[int]]:
    parents = list(range(count))

    def root(node: int) -> int:
        while parents[node] != node:
            parents[node] = node = parents[parents[node]]
        return node

    for a, b in pairs:
        parents[root(a)] = root(b)
    found = defaultdict(list)
    for node in range(count):
        found[root(node)].append(node)
    return [members for members in found.values() if len(members) > 1]


def datatrove(texts: list[str]) -> list[list[int]]:
    """Signatures, buckets and clusters of its pipeline, with its defaults (14 x 8, 5-grams)."""
    import struct

    from datatrove.data import Document
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    config = MinhashConfig()
    with tempfile.TemporaryDirectory() as folder:
        documents = [Document(text=text, id=str(number)) for number, text in enumerate(texts)]
        MinhashDedupSignature(f"{folder}/signatures", config).run(iter(documents), rank=0, world_size=1)
        for bucket in range(config.num_buckets):
            block = MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)
            block.run(None, rank=bucket, world_size=config.num_buckets)
        pairs = []
        for file in Path(f"{folder}/buckets").rglob("*.dups"):
            for _, one, _, two in struct.iter_unpack("<4I", file.read_bytes()):
                pairs.append((one, two))
    return _components(pairs, len(texts))


def rensa(texts: list[str]) -> list[list[int]]:
    """R-MinHash of its README (128 values, 16 bands) over words, candidates by its LSH index, no verification."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16)
    pairs = []
    for number, text in enumerate(texts):
        sketch = RMinHash(num_perm=128, seed=42)
        sketch.update(text.split())
        pairs += [(number, other) for other in index.query(sketch)]
        index.insert(number, sketch)
    return _components(pairs, len(texts))


def text_dedup(texts: list[str]) -> list[list[int]]:
    """Its MinHash script with the settings of its example, candidates verified (check_false_positive)."""
    import datasets
    from text_dedup import minhash
    from text_dedup.config import Config

    with tempfile.TemporaryDirectory() as folder:
        datasets.Dataset.from_dict({"text": texts}).save_to_disk(f"{folder}/in")
        os.chdir(folder)  # its settings come from config.toml alone
        Path("config.toml").write_text(TOML.format(folder=folder))
        config = Config()
        data, _, _ = minhash.load_and_preprocess(config)
        embedded = minhash.fingerprint(config, data)
        parents = minhash.cluster(config, embedded)
        assigned = minhash.assign(config, data, parents)
        _, parents = minhash.check_false_positives(config, assigned)
    found = defaultdict(list)
    for row, cluster in parents.items():
        found[cluster].append(row)
    return [members for members in found.values() if len(members) > 1]


TOOLS: dict[str, Any] = {
    "datatrove": (datatrove, ["datatrove"]),
    "rensa": (rensa, ["rensa"]),
    "text-dedup": (text_dedup, ["text-dedup"]),
}


def main() -> None:
    """Argument: the tool."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print
    find, packages = TOOLS[sys.argv[1]]
    texts = json.load(sys.stdin)["texts"]
    begun = time.perf_counter()
    clusters = find(texts)
    seconds = time.perf_counter() - begun
    versions = {name: metadata.version(name) for name in packages}
    answers.write(json.dumps({"clusters": clusters, "seconds": seconds, "versions": versions}) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
