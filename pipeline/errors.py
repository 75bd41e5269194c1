"""What can go wrong, as the user sees it.

    TamisError
      UserError     the input is wrong: one line that says what, where, what was expected and how to mend it (exit 2)
      WorkspaceBusy another run holds the workspace (exit 2)
      Gone          what the run needs went away; the same command goes on when it is back (exit 1)
        StoreDown   the object store does not answer
        ClusterLost the Dask scheduler does not answer
      Alarm         the work is done, but what came out is past a limit that the user has set (exit 1)
      ShardsFailed  some shards failed, the others are done (exit 1)

Scorers raise plain ValueError for wrong settings or damaged model files; the command line shows it like a UserError.
"""

from __future__ import annotations

from pipeline.causes import causes

CAUSES = 5
"""Causes that a message names."""


class TamisError(Exception):
    """Base of the errors that Tamis raises on purpose."""


class UserError(TamisError, ValueError):
    """The user's input is wrong."""


class WorkspaceBusy(UserError):
    """Another run holds the workspace."""


class Gone(TamisError):
    """What the run needs went away; what is done stays done."""


class StoreDown(Gone, OSError):
    """The object store has been in trouble for longer than TAMIS_PATIENCE."""

    def __str__(self) -> str:
        return str(self.args[0])


class ClusterLost(Gone):
    """The scheduler of a Dask cluster went away during a run."""


class Alarm(TamisError):
    """What a finished step found is past a limit: somebody should look before it is used."""


class ShardsFailed(TamisError):
    """Some shards of a stage failed; the ledger holds their errors."""

    def __init__(self, stage: str, failed: dict[str, str], total: int):
        self.stage, self.failed, self.total = stage, failed, total
        found = causes(failed)
        more = f"; and {len(found) - CAUSES} more causes" if len(found) > CAUSES else ""
        shown = "; ".join(cause.shown() for cause in found[:CAUSES])
        super().__init__(f"{stage}: {len(failed)} of {total} shards failed: {shown}{more}")
