"""The cluster of a run: how wide it is, where its scheduler is, where Dask's dashboard is looked at; and its TLS.

3 workers on this machine; dashboard: http://127.0.0.1:40123/status
16 workers of tcp://host:8786; no dashboard (the scheduler has none, or no bokeh)
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pipeline import events
from pipeline.errors import UserError

if TYPE_CHECKING:
    from distributed import Client


def announce(client: Client, scheduler: str | None = None) -> None:
    """Say it once, on stderr and in the log."""
    threads = client.nthreads()
    count, link = len(threads), _link(client, scheduler)
    events.emit("cluster", workers=count, threads=sum(threads.values()), scheduler=scheduler, dashboard=link)
    if not events.is_json():
        where = f"of {scheduler}" if scheduler else "on this machine"
        missing = "the scheduler has none, or no bokeh" if scheduler else "bokeh is not installed"
        shown = f"dashboard: {link}" if link else f"no dashboard ({missing})"
        print(f"{count} worker{'s' * (count != 1)} {where}; {shown}", file=sys.stderr)


def _link(client: Client, scheduler: str | None) -> str | None:
    """The dashboard's address, None if there is none: without bokeh its page only says what is missing."""

    def has_bokeh() -> bool:  # local, so that it is sent by value: a scheduler need not have Tamis
        from importlib.util import find_spec

        return find_spec("bokeh") is not None

    try:
        there = has_bokeh() if scheduler is None else client.run_on_scheduler(has_bokeh)
        return client.dashboard_link if there else None
    except (KeyError, ValueError, OSError):  # a scheduler that was started with --no-dashboard
        return None


def check_tls(scheduler: str) -> None:
    """Raises UserError if a tls:// scheduler is to be reached without keys: Dask would only say that it cannot."""
    import dask

    if not scheduler.startswith("tls://"):
        return
    wanted = {"ca-file": "the authority's certificate", "client.cert": "a certificate", "client.key": "its key"}
    for name, what in wanted.items():
        value = dask.config.get(f"distributed.comm.tls.{name}", None)
        variable = f"DASK_DISTRIBUTED__COMM__TLS__{name.replace('.', '__').replace('-', '_').upper()}"
        if value is None:
            raise UserError(f"--scheduler {scheduler}: TLS needs {what}; set {variable} to its file (docs/cluster.md)")
        if not os.path.isfile(str(value)):
            raise UserError(f"--scheduler {scheduler}: {variable} names no file: {value}")
