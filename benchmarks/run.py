"""Measure: `python -m benchmarks.run [NAME...] [--mb 100] [--parts 12] [--missing]`; all that need no torch
when no name is given.

Prints what it does to stderr and a Markdown table per comparison to stdout. What covers less than 100 MB is a trial:
it is kept under benchmarks/.data/trials and never reaches the README.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

from benchmarks import common, report
from benchmarks.common import FULL_MB, NotReady, commit, keep, now, result_file, say


def _fasttext(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import compare

    return compare.fasttext(options.mb, options.parts)


def _repetition(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import compare

    return compare.repetition(options.mb, options.parts)


def _minhash(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import compare

    return compare.minhash(options.mb, options.parts)


def _near(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import near

    return near.measure()


def _near_scale(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import near_scale

    return near_scale.measure(options.mb >= FULL_MB)


def _ingest(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import ingest

    return ingest.measure(options.mb, options.repeats)


def _pass(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import scoring

    # 2 GB where the others take 100 MB.
    return scoring.measure(options.mb * 20, options.repeats)


def _plan(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import planning

    return planning.measure(10_000 if options.mb >= FULL_MB else 500, options.repeats)


def _page(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import page

    # 1 GB where the others take 100 MB.
    return page.measure(options.mb * 10, options.repeats)


def _repeats(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import repeats

    # Up to 2 GB where the others take 100 MB.
    return repeats.measure(options.mb * 20, options.repeats)


def _linear(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import linear

    return linear.measure(options.mb, options.repeats)


def _losses(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import losses

    return losses.measure(options.mb >= FULL_MB, options.repeats)


def _loader(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import loader

    return loader.measure(options.mb, options.repeats)


def _training(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import training

    return training.measure(options.mb, options.repeats)


def _methods(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import methods

    return methods.measure(options.repeats)


def _membership(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import membership

    return membership.measure(options.repeats)


def _tokens(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import tokens

    return tokens.measure(options.mb >= FULL_MB, options.repeats)


def _strength(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import strength

    return strength.measure(options.mb >= FULL_MB, options.repeats)


def _ghosts(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import ghosts

    return ghosts.measure(options.mb, options.repeats)


def _ghost_recurring(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import ghost_recurring

    return ghost_recurring.measure(options.mb)


def _ghost_kinds(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import ghosts

    return ghosts.kinds(options.mb)


def _demo(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import demo

    return demo.measure()


COMPARISONS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "fasttext": _fasttext,
    "repetition": _repetition,
    "minhash": _minhash,
    "near": _near,
    "near_scale": _near_scale,
    "ingest": _ingest,
    "pass": _pass,
    "plan": _plan,
    "page": _page,
    "linear": _linear,
    "repeats": _repeats,
    "strength": _strength,
    "ghosts": _ghosts,
    "ghost_kinds": _ghost_kinds,
    "ghost_recurring": _ghost_recurring,
    "demo": _demo,
    "loader": _loader,
    "losses": _losses,
    "tokens": _tokens,
    "training": _training,
    "methods": _methods,
    "membership": _membership,
}
NEEDS_TORCH = ("losses", "training", "methods", "membership", "tokens")
"""What runs in the environment with torch alone, when it is named: `make bench-lm`, and with
vLLM beside it `make bench-vllm`."""


def main(words: list[str] | None = None) -> int:
    """Run the comparisons asked for; one that fails leaves the others. 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(COMPARISONS))
    parser.add_argument("--mb", type=float, default=FULL_MB, help="MB of text, 10^6 bytes [%(default)s]")
    parser.add_argument("--parts", type=int, default=12, help="parts that the text is cut into [%(default)s]")
    parser.add_argument("--repeats", type=int, default=5, help="of what is not measured in parts [%(default)s]")
    parser.add_argument("--missing", action="store_true", help="only what has no result of this commit")
    options = parser.parse_args(words)
    if unknown := set(options.names) - set(COMPARISONS):
        parser.error(f"unknown {', '.join(sorted(unknown))}; known: {', '.join(COMPARISONS)}")
    failed = []
    for name in options.names or [name for name in COMPARISONS if name not in NEEDS_TORCH]:
        path = result_file(name, options.mb)
        if options.missing and path.exists() and json.loads(path.read_text())["commit"] == commit():
            say(f"{name}: {common.shown(path)} is of this commit")
            continue
        begun = now()
        say(f"{name}: begins {begun['time']}, load {begun['load']}")
        try:
            keep(path, name, begun, COMPARISONS[name](options))
        except NotReady as error:
            failed.append(name)
            say(f"{name}: {error}")
            continue
        except Exception:
            failed.append(name)
            traceback.print_exc()
            continue
        print(report.section(name, json.loads(path.read_text())), flush=True)
    if failed:
        say(f"not measured: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
