"""datatrove's Gopher quality filter over a folder of JSONL files, what it drops kept too: IN OUT LOGS WORKERS.

Run again with the same LOGS it goes on where it was (`skip_completed`, its documented way of resuming).
"""

import sys


def main() -> None:
    """One task a file."""
    source, out, logs, workers = sys.argv[1:]
    from pathlib import Path

    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.filters import GopherQualityFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    steps = [
        JsonlReader(source),
        GopherQualityFilter(exclusion_writer=JsonlWriter(f"{out}/excluded")),
        JsonlWriter(f"{out}/kept"),
    ]
    tasks = len(list(Path(source).iterdir()))
    LocalPipelineExecutor(steps, tasks=tasks, workers=int(workers), logging_dir=logs).run()


if __name__ == "__main__":
    main()
