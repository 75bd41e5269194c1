"""The process that runs vLLM, and the frames it speaks. Run by path: python -P worker.py REQUESTS ANSWERS LEASH.

Its interpreter may be another environment's: this file needs the standard library and numpy, and vLLM when it opens a
model. REQUESTS and ANSWERS are file descriptors of pipes, so whatever a library prints does no harm. LEASH is a pipe
that nobody writes to: when it ends, the process that started
this one is gone, and so is this one, whatever it is doing.

A frame is the length of a header (4 bytes, little endian), the header as JSON, and the bytes of its arrays one after
the other; header["arrays"] has (dtype, length) of each. One answer follows one request. An answer with "error" in it
says what was wrong; the process goes on.

    {"op": "open", "model": folder, ...}                          -> {"versions": ..., "device": ..., "context": 512}
    {"op": "logprobs"}, ids, offsets                              -> {}, values
    {"op": "choices", "allowed": [...]}, ids, offsets             -> {}, values
    {"op": "generate", "method": ..., ...}, ids, offsets          -> {"replies": [[[id, ...], ...], ...]}
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import threading
from typing import Any, BinaryIO

import numpy as np

DEFAULTS = {
    # The engine in this process: it is one of its own already, and starts in two seconds instead of twenty.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Environment of the process, where the user has not set it."""
MAX_LOGPROBS = 128
"""The most log-probabilities of one position that are asked for: beams need twice their number."""
IDS_AT_ONCE = 128
"""vLLM's own bound on the tokens of one `logprob_token_ids`."""

Frame = tuple[dict[str, Any], list[np.ndarray]]


def write_frame(file: BinaryIO, header: dict[str, Any], arrays: list[np.ndarray]) -> None:
    """Send one frame."""
    described = header | {"arrays": [[array.dtype.str, len(array)] for array in arrays]}
    data = json.dumps(described).encode()
    file.write(struct.pack("<I", len(data)))
    file.write(data)
    for array in arrays:
        file.write(array.tobytes())
    file.flush()


def read_frame(file: BinaryIO) -> Frame:
    """The next frame. Raises EOFError where the other side is gone."""
    header = json.loads(_exactly(file, struct.unpack("<I", _exactly(file, 4))[0]))
    arrays = []
    for kind, length in header.pop("arrays"):
        dtype = np.dtype(kind)
        arrays.append(np.frombuffer(_exactly(file, dtype.itemsize * length), dtype))
    return header, arrays


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError(f"the pipe ended after {len(data)} of {size} bytes")
    return data


def split(ids: np.ndarray, offsets: np.ndarray) -> list[list[int]]:
    """Token ids laid end to end, as one list each."""
    flat = ids.tolist()
    return [flat[first:last] for first, last in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]


class Served:
    """An open vLLM engine."""

    def __init__(self, request: dict[str, Any]):
        import torch
        import vllm
        from vllm.platforms import current_platform

        self._vllm = vllm
        device = str(current_platform.device_type)
        options: dict[str, Any] = {
            "dtype": request["dtype"],
            "seed": 0,
            "enable_prefix_caching": False,  # with it, values have depended on the order of requests
            "enforce_eager": True,
            "max_logprobs": MAX_LOGPROBS,
            "max_num_batched_tokens": request["batch_tokens"],
            "trust_remote_code": request["trust_remote_code"],
            "max_model_len": request["context"],
        }
        if device != "cpu":  # log-probabilities of a prompt need memory that vLLM's own estimate leaves out
            options["gpu_memory_utilization"] = request["gpu_memory"]
        self.llm = vllm.LLM(request["model"], **{key: value for key, value in options.items() if value is not None})
        self.context = int(self.llm.llm_engine.model_config.max_model_len)
        self.facts = {
            "versions": {"vllm": vllm.__version__, "torch": torch.__version__},
            "device": device,
            "context": self.context,
        }

    def logprobs(self, request: dict[str, Any], ids: np.ndarray, offsets: np.ndarray) -> Frame:
        """float32, one value per id; NaN for the first of each prompt."""
        prompts = split(ids, offsets)
        params = self._params(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False, flat_logprobs=True)
        values = np.full(len(ids), np.nan, np.float32)
        for prompt, begin, output in zip(prompts, offsets[:-1].tolist(), self._run(prompts, params), strict=True):
            found = output.prompt_logprobs
            whole = len(found) == len(prompt) and list(output.prompt_token_ids) == prompt
            if not whole or found.token_ids != prompt[1:] or len(found.logprobs) != len(prompt) - 1:
                raise AssertionError(
                    f"vLLM returned {len(found)} log-probabilities of other tokens than the {len(prompt)} asked"
                )
            values[begin + 1 : begin + len(prompt)] = found.logprobs
        if np.isnan(np.delete(values, offsets[:-1])).any():
            raise AssertionError("vLLM returned a log-probability that is not a number")
        return {}, [values]

    def choices(self, request: dict[str, Any], ids: np.ndarray, offsets: np.ndarray) -> Frame:
        """float32 (prompts x allowed): log-probability of each allowed id as the next token."""
        prompts, allowed = split(ids, offsets), request["allowed"]
        values = np.empty((len(prompts), len(allowed)), np.float32)
        for first in range(0, len(allowed), IDS_AT_ONCE):
            some = allowed[first : first + IDS_AT_ONCE]
            params = self._params(max_tokens=1, temperature=0.0, logprob_token_ids=some, detokenize=False)
            for row, output in enumerate(self._run(prompts, params)):
                [found] = output.outputs[0].logprobs
                values[row, first : first + len(some)] = [found[one].logprob for one in some]
        return {}, [values.reshape(-1)]

    def generate(self, request: dict[str, Any], ids: np.ndarray, offsets: np.ndarray) -> Frame:
        """The replies to each prompt, as ids."""
        prompts, count, tokens = split(ids, offsets), request["n"], request["max_tokens"]
        if request["method"] == "beam":
            from vllm.sampling_params import BeamSearchParams

            beams = BeamSearchParams(beam_width=count, max_tokens=tokens)
            found = self.llm.beam_search([{"prompt_token_ids": prompt} for prompt in prompts], beams)
            replies = [
                [list(one.tokens[len(prompt) :]) for one in output.sequences]
                for prompt, output in zip(prompts, found, strict=True)
            ]
            return {"replies": replies}, []
        sampled = request["method"] == "sampled"
        params = [
            self._params(
                max_tokens=tokens,
                n=count if sampled else 1,
                temperature=request["temperature"] if sampled else 0.0,
                seed=(request["seed"] + number) % 2**31 if sampled else None,
                detokenize=False,
            )
            for number in range(len(prompts))
        ]
        return {"replies": [[list(one.token_ids) for one in out.outputs] for out in self._run(prompts, params)]}, []

    def _params(self, **values: Any) -> Any:
        return self._vllm.SamplingParams(**values)

    def _run(self, prompts: list[list[int]], params: Any) -> list[Any]:
        return self.llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], params, use_tqdm=False)


def main(requests: int, answers: int, leash: int) -> None:
    """Serve until the pipe of requests ends."""
    for descriptor in (requests, answers, leash):
        os.set_inheritable(descriptor, False)
    threading.Thread(target=_follow, args=(leash,), daemon=True).start()
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    served: Served | None = None
    with os.fdopen(requests, "rb") as coming, os.fdopen(answers, "wb") as going:
        while True:
            try:
                header, arrays = read_frame(coming)
            except EOFError:
                break
            try:
                if header["op"] == "open":
                    served = Served(header)
                    answer: Frame = (served.facts, [])
                else:
                    assert served is not None, "no model is open"
                    answer = getattr(served, header["op"])(header, *arrays)
            except Exception as error:
                import traceback

                traceback.print_exc()  # to the log
                answer = ({"error": str(error) or type(error).__name__, "kind": type(error).__name__}, [])
            write_frame(going, *answer)
    os._exit(0)  # nothing here needs a last word, and vLLM's threads have aborted on their way out


def _follow(leash: int) -> None:
    os.read(leash, 1)
    with_children = os.getpgrp() == os.getpid()
    os.killpg(os.getpgrp(), signal.SIGKILL) if with_children else os._exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
