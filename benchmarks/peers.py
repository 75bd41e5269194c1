"""The peers, each in an environment of its own below benchmarks/.venvs: `python -m benchmarks.peers [NAME...]`.

Versions of what is measured are pinned; what they pull in is recorded with every result. Each environment is made once
and made again when its list here changes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

from benchmarks.common import VENVS, say, shown

REQUIREMENTS: dict[str, list[str]] = {
    # Makes documents of HTML; nothing is measured in it.
    "text": ["resiliparse==2.0.1"],
    # The library as its authors last published it, compiled here for this very machine.
    "fasttext": ["fasttext==0.9.3"],
    # fasttext-numpy2: the build its fastText filter loads. spacy: its English word splitter.
    "datatrove": ["datatrove[processing,io,cli]==0.10.1", "spacy==3.8.18", "fasttext-numpy2==0.10.4"],
    "dolma": ["dolma==1.2.1"],
    "nemo": ["nemo-curator[text_cpu]==1.4.0"],
    "rensa": ["rensa==0.5.0"],
    "text-dedup": ["text-dedup==0.4.1"],
}
PYTHON = (3, 11)
"""dolma's and datatrove's compiled dependencies have wheels for this one."""
OTHER_PYTHON = {"text-dedup": "python3.12"}
"""Peers that install with another Python alone: one on the PATH, or any that uv knows."""


def python_of(name: str) -> Path:
    """The interpreter of a peer's environment, whether it is there or not."""
    return VENVS / name / "bin" / "python"


def installed(name: str) -> bool:
    """Whether the environment is there and of the list above."""
    return is_made(name, REQUIREMENTS[name])


def install(name: str) -> None:
    """Make the environment unless it is there. Raises CalledProcessError after pip has said why."""
    if installed(name):
        return
    folder = VENVS / name
    say(f"making {shown(folder)}: {' '.join(REQUIREMENTS[name])}")
    pip = fresh(name, OTHER_PYTHON.get(name, sys.executable))
    subprocess.run([*pip, "setuptools<81", "wheel"], check=True)
    subprocess.run([*pip, *REQUIREMENTS[name]], check=True)
    sign(name, REQUIREMENTS[name])


def is_made(name: str, words: list[str]) -> bool:
    """Whether the environment is there and was made of these words."""
    stamp = VENVS / name / "requirements"
    return python_of(name).exists() and stamp.exists() and stamp.read_text() == _digest(words)


def sign(name: str, words: list[str]) -> None:
    """Note what a finished environment was made of."""
    (VENVS / name / "requirements").write_text(_digest(words))


def fresh(name: str, python: str) -> list[str]:
    """Make an empty environment; the command that installs into it what follows."""
    folder, target = VENVS / name, ["--python", str(python_of(name))]
    # The Makefile puts uv into .venv; pip does the same but searches minutes for versions of dolma's that fit.
    if importlib.util.find_spec("uv"):
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "-q", "--clear", "--python", python, str(folder)], check=True)
        return [*uv, "pip", "install", "-q", "--compile-bytecode", *target]
    subprocess.run([python, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True)
    return [sys.executable, "-m", "pip", *target, "install", "-q"]


def versions(name: str) -> dict[str, str]:
    """{distribution: version} of everything in the environment."""
    code = "from importlib.metadata import distributions as d\nfor x in d(): print(x.metadata['Name'], x.version)"
    done = subprocess.run([str(python_of(name)), "-c", code], capture_output=True, text=True, check=True)
    return dict(sorted(line.split() for line in done.stdout.splitlines()))


def _digest(words: list[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def main(names: list[str]) -> int:
    """Make the named environments, or all; the others are still made when one fails."""
    if sys.version_info[:2] != PYTHON:
        say(f"Python {sys.version_info[0]}.{sys.version_info[1]}: the peers are known to install with {PYTHON}")
    failed = []
    for name in names or list(REQUIREMENTS):
        try:
            install(name)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            failed.append(name)
            say(f"{name}: not installed ({error}); its side will be left out")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
