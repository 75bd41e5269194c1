"""Bare vLLM: `LLM.generate` over token ids, log-probabilities of the prompts, nothing else. Run by vLLM's interpreter.

The first line on stdin is {"model", "context", "batch_tokens"}, the answer {"versions"}; every further line is a list
of prompts (token ids), the answer {"seconds", "cpu", "sum"}: of the call alone, ids made beforehand.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    import torch
    import vllm

    llm = vllm.LLM(
        request["model"],
        dtype="float32",
        seed=0,
        enable_prefix_caching=False,
        enforce_eager=True,
        max_model_len=request["context"],
        max_num_batched_tokens=request["batch_tokens"],
    )
    params = vllm.SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)

    def answer(values: dict[str, object]) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    answer({"versions": {"vllm": vllm.__version__, "torch": torch.__version__}})
    for line in sys.stdin:
        prompts = [{"prompt_token_ids": ids} for ids in json.loads(line)]
        begun, begun_cpu = time.perf_counter(), time.process_time()
        found = llm.generate(prompts, params, use_tqdm=False)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
        total = sum(
            position[token].logprob
            for output in found
            for token, position in zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True)
        )
        answer({"seconds": seconds, "cpu": cpu, "sum": total})
    os._exit(0)


if __name__ == "__main__":
    main()
