"""Faults of an object store: a real S3 server (moto) behind a proxy that throttles, fails, stops answering, hangs up.

Half of the faults are storms, in which a share of all requests is disturbed and the run is to come through by itself;
half are outages longer than the run is patient, after which the same command goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from pipeline.execute import Compute, Pool
from pipeline.workspace import Workspace
from tests.end_to_end.conftest import outputs, served
from tests.faults.lab import BUG, Lab
from tests.faults.outcomes import LOST, MENDED, SAME
from tests.faults.proxy import Between, proxy
from tests.faults.recover import Trial

PATIENCE = 4
"""Seconds that runs here wait trouble out."""
REQUESTS = 250
"""About as many as a run makes until it is done."""
STORM = {"hang": 0.02}
"""Share of the requests of a storm; 0.15 of other ways, which cost no waiting."""
OPTIONS = {"config_kwargs": {"connect_timeout": 1, "read_timeout": 1, "retries": {"max_attempts": 2}}}
"""Of s3fs: shorter than its own, so that a request that gets no answer costs seconds."""
RUNS = 4


@dataclass(frozen=True)
class Bucket:
    """The proxy, workers that talk through it, and the server's own address."""

    between: Between
    pool: Pool
    direct: Any
    """s3fs without the proxy"""


@contextlib.contextmanager
def bucket() -> Iterator[Bucket]:
    """A server with a bucket, for the rest of the campaign."""
    before = dict(os.environ), dict(fsspec.config.conf)
    with served() as environment, proxy(environment["AWS_ENDPOINT_URL"]) as between:
        direct = fsspec.filesystem(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            key=environment["AWS_ACCESS_KEY_ID"],
            secret=environment["AWS_SECRET_ACCESS_KEY"],
        )
        # Workers take it from their environment; fsspec of this process has read its own already.
        os.environ |= environment | {"TAMIS_PATIENCE": str(PATIENCE)}
        fsspec.config.conf["s3"] = OPTIONS | {"endpoint_url": between.url}
        os.environ |= {"FSSPEC_S3": json.dumps(OPTIONS), "FSSPEC_S3_ENDPOINT_URL": between.url}
        os.environ["AWS_ENDPOINT_URL"] = between.url
        try:
            with Pool(Compute(workers=2), Workspace("s3://tamis/any")) as pool:
                pool.client  # noqa: B018
                yield Bucket(between, pool, direct)
        finally:
            os.environ.clear()
            os.environ.update(before[0])
            fsspec.config.conf.clear()
            fsspec.config.conf.update(before[1])


def troubled(*ways: str) -> Trial:
    """A run on a store in trouble."""

    def trial(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
        one = lab.once("bucket", bucket)
        assert isinstance(one, Bucket)
        url = f"s3://tamis/{secrets.token_hex(4)}"
        way, storm = rng.choice(ways), rng.random() < 0.5
        after = 0 if storm else rng.randrange(REQUESTS)
        for name in ("models", "ledger/models"):
            one.direct.put(str(lab.pristine / name), f"{url.removeprefix('s3://')}/{name}", recursive=True)
        one.between.disturb(way, STORM.get(way, 0.15) if storm else 1.0, rng, after)
        first = lab.attempt(lab.given / "run.yaml", url, one.pool)
        count = one.between.heal()
        what = f"{'a share' if storm else 'all'} of the requests after {after}: {count} disturbed"
        said = first or ""
        for _ in range(RUNS):
            if first is None:
                break
            if first.startswith(BUG) or "s3://" not in first:
                return what, LOST, first
            first = lab.attempt(lab.given / "run.yaml", url, one.pool)
        found = _fetched(one, url, folder)
        if first is not None or found != lab.expected or (damaged := lab.whole(folder / "workspace")):
            return what, LOST, first or said or damaged or "other bytes, and nothing was said"
        return what, (MENDED if said else SAME), said

    return trial


def _fetched(one: Bucket, url: str, folder: Path) -> dict[str, str]:
    """What lies in the bucket, read past the proxy; then it is removed."""
    place = url.removeprefix("s3://")
    shutil.rmtree(folder / "workspace", ignore_errors=True)
    one.direct.invalidate_cache()
    one.direct.get(place, str(folder / "workspace"), recursive=True)
    one.direct.rm(place, recursive=True)
    return outputs(folder / "workspace")


KINDS: dict[str, Trial] = {
    "S3 throttles (503)": troubled("throttle"),
    "S3 fails (500)": troubled("fail"),
    "S3 stops answering": troubled("hang"),
    "S3 hangs up before or after": troubled("hang up", "lose"),
    "S3 answers cut short": troubled("cut"),
}
