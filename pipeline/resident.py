"""The language model of a worker process: opened once, kept from shard to shard, one at a time.

with resident("models/small", "float32", "cpu", "sdpa") as model:
    token_losses(model, texts)

pool.client.run(close_model)      # at the end of a stage: the workers of a cluster live on, and a model is memory
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.execute import Pool

_open: tuple[Any, Any] | None = None
"""(what it was opened with, the model) of this worker process."""
_turn = threading.Lock()
"""Held by the thread whose shard runs: workers of a cluster may have several threads, and one model is open."""


def on_gpu(device: str) -> bool:
    """Whether a device setting means a GPU."""
    return device.startswith("cuda")


def check_gpu(pool: Pool) -> None:
    """Raises UserError where no worker offers a GPU: Dask would wait for one without a word."""
    workers = pool.client.scheduler_info(n_workers=-1)["workers"].values()
    if not any(worker["resources"].get("GPU") for worker in workers):
        raise UserError(
            "device 'cuda': no worker offers the resource GPU; start those of a cluster with `dask worker --resources "
            "GPU=1`, each with a CUDA_VISIBLE_DEVICES of its own"
        )


@contextlib.contextmanager
def resident(
    place: str, dtype: Any, device: str, attention: Any, trust_remote_code: bool = False, threads: int | None = None
) -> Iterator[Any]:
    """The model of a folder for the block, opened if it is not yet; another one is closed first.

    threads: of torch on a CPU, for the calling thread.
    """
    with _turn:
        model = _model((place, dtype, device, attention, trust_remote_code))
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        yield model


def _model(key: tuple[str, Any, str, Any, bool]) -> Any:
    global _open
    from scorers.lm.model import open_model

    if _open is not None and _open[0] != key:
        close_model()
    if _open is None:
        from transformers.utils import logging

        logging.disable_progress_bar()
        _keep_memory()
        place, dtype, device, attention, trusted = key
        model = open_model(place, dtype=dtype, device=device, attention=attention, trust_remote_code=trusted)
        _open = (key, model)
    return _open[1]


def _keep_memory() -> None:
    """Let freed memory stay with the process, as it does where Dask has not set MALLOC_TRIM_THRESHOLD_.

    With that setting every tensor above 128 KB is fresh memory, cleared by the system page by page: a small model then
    takes half as long again. Only glibc has these options.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_TRIM_THRESHOLD, 1 << 30)
        mallopt(_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def close_model() -> None:
    """Let go of the model of this process, if it has one."""
    global _open
    if _open is not None:
        _open[1].close()
        _open = None
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)
