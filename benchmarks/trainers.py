"""Trainers that read token exports, each in an environment of its own: `python -m benchmarks.trainers [NAME...]`.

Beside benchmarks/peers.py and below the same folder; tests/pipeline/tokens/test_readers.py loads the exports with them.
The libraries are there without most of what they depend on: what reads data needs little of it, and some of it has no
build without CUDA. Versions are pinned.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from benchmarks.common import VENVS, say, shown
from benchmarks.peers import fresh, is_made, sign

TORCH = "torch==2.13.0"
STEPS: dict[str, list[list[str]]] = {
    # What its dataset module imports; the trainer itself needs its pins of some forty packages, CUDA ones among them.
    "axolotl": [
        [TORCH, "transformers==5.16.1", "datasets==4.8.4", "accelerate==1.13.0", "peft==0.20.0", "trl==1.9.0"],
        ["addict", "fire", "pyyaml", "colorama", "numba", "pydantic==2.12.5", "scipy", "einops", "sentencepiece"],
        ["posthog==6.7.11", "python-dotenv"],
        ["--no-deps", "axolotl==0.19.0"],
    ],
    "llamafactory": [
        [TORCH, "transformers==5.6.0", "datasets==4.0.0", "accelerate==1.11.0", "peft==0.18.1", "trl==0.24.0"],
        ["omegaconf", "pyyaml", "tyro<0.9", "torchdata==0.11.0", "sentencepiece", "tiktoken", "av==16.0.0", "pillow"],
        ["--no-deps", "torchaudio==2.11.1", "llamafactory==0.9.5"],
    ],
    # Its last release imports a module that newer torchao has no more.
    "torchtune": [[TORCH, "torchtune==0.6.1", "torchao==0.9.0", "pyarrow"]],
    "olmo-core": [[TORCH, "ai2-olmo-core==3.0.0"]],
    # It asks for Python 3.12, and so do its collators; what reads ready tokens runs on 3.11.
    "skyrl": [
        [TORCH, "transformers==5.16.1", "datasets==5.2.0", "loguru"],
        ["--no-deps", "--python-version", "3.12", "skyrl==0.4.0"],
    ],
}
"""What is installed, step after step."""
WITHOUT = {"llamafactory": "torchaudio/lib"}
"""Removed where torch is without CUDA: a compiled part that is built for it alone, and that torchaudio does without."""


def installed(name: str) -> bool:
    """Whether the environment is there and of the list above."""
    return is_made(name, _words(name))


def install(name: str) -> None:
    """Make the environment unless it is there. Raises CalledProcessError after uv has said why."""
    if installed(name):
        return
    folder = VENVS / name
    say(f"making {shown(folder)}: {' '.join(_words(name))}")
    # A build of torch for CPUs, where there is one on disk.
    links = ["--find-links", os.environ["PIP_FIND_LINKS"]] if "PIP_FIND_LINKS" in os.environ else []
    # They are run once or twice: bytecode is not worth its minutes.
    pip = [word for word in fresh(name, sys.executable) if word != "--compile-bytecode"]
    for step in STEPS[name]:
        subprocess.run([*pip, *links, *step], check=True)
    if name in WITHOUT and not shutil.which("nvidia-smi"):
        for found in folder.glob(f"lib/python*/site-packages/{WITHOUT[name]}"):
            shutil.rmtree(found)
    sign(name, _words(name))


def _words(name: str) -> list[str]:
    return [word for step in STEPS[name] for word in step]


def main(names: list[str]) -> int:
    """Make the named environments, or all; the others are still made when one fails."""
    failed = []
    for name in names or list(STEPS):
        try:
            install(name)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            failed.append(name)
            say(f"{name}: not installed ({error}); its test will be skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
