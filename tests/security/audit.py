"""`make audit`: are there known vulnerabilities in what is installed, and does what is declared hold?

    python -m tests.security.audit            # exit code 1 if a dependency is vulnerable or not as declared

Two parts. Offline: every dependency in pyproject.toml has a lower bound, and what is installed satisfies it. Online:
pip-audit asks OSV's database about the installed versions of Tamis's own dependencies and theirs. Where the database
cannot be reached, that is said, in so many words, and is no failure: a machine without network must be able to run its
tests. AUDIT=strict makes it one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SERVICE = "https://api.osv.dev/v1/query"
"""Asks about one package, to see whether the database answers: pip-audit itself takes minutes to give up."""


def declared() -> dict[str, list[Requirement]]:
    """{extra or '': its requirements} of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(text) for text in texts] for extra, texts in lists.items()}


def problems() -> list[str]:
    """What is declared without a lower bound, and what is installed in another version than declared."""
    found = []
    for extra, requirements in declared().items():
        for one in requirements:
            where = f"{one.name}{f' (extra {extra})' if extra else ''}"
            if not re.search(r">=|==|~=", str(one.specifier)) and not one.name.startswith("types-"):
                found.append(f"{where}: no lower bound in pyproject.toml")
            try:
                version = metadata.version(one.name)
            except metadata.PackageNotFoundError:
                continue
            if not one.specifier.contains(version, prereleases=True):
                found.append(f"{where}: {version} is installed, {one.specifier} is declared")
    return found


def closure(extras: tuple[str, ...] = ("",)) -> dict[str, str]:
    """{name: version} of what is installed of Tamis's dependencies and theirs."""
    found: dict[str, str] = {}
    waiting = [one for extra in extras for one in declared()[extra]]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in found or (one.marker is not None and not one.marker.evaluate({"extra": ""})):
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = distribution.version
        waiting += [Requirement(text) for text in distribution.requires or ()]
    return dict(sorted(found.items()))


def reachable(seconds: float = 10.0) -> str | None:
    """None if the database of vulnerabilities answers, else why not."""
    query = json.dumps({"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "19.0"}).encode()
    try:
        with urllib.request.urlopen(SERVICE, query, timeout=seconds) as answer:
            return None if json.load(answer).get("vulns") else "its answer knows no vulnerability of pip 19.0"
    except (OSError, ValueError) as error:
        return " ".join(str(error).split())[:200]


def main() -> int:
    """Both parts; the exit code."""
    code = 0
    for line in problems():
        print(f"audit: {line}")
        code = 1
    versions = closure()
    print(f"audit: `pip install tamis` brings in {len(versions)} packages; bounds checked")
    why = reachable()
    if why is not None:
        print(f"audit: NOT REACHABLE: {SERVICE} ({why}); no vulnerability was looked up", flush=True)
        return max(code, int(os.environ.get("AUDIT") == "strict"))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write("".join(f"{name}=={version}\n" for name, version in versions.items()))
        pins.flush()
        # In an environment of its own: it brings thirty packages that are not Tamis's.
        uv = str(Path(sys.executable).with_name("uv"))
        command = [uv, "tool", "run", "pip-audit", "--vulnerability-service", "osv", "--no-deps", "--disable-pip"]
        done = subprocess.run([*command, "-r", pins.name], check=False)
    return max(code, done.returncode)


if __name__ == "__main__":
    sys.exit(main())
