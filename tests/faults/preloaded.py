"""What the processes of tests.faults.processes need, imported once, in the server that they are forked from."""

import distributed  # noqa: F401
import duckdb  # noqa: F401

import pipeline.run  # noqa: F401
import scorers.fasttext.preselect
import scorers.lengths  # noqa: F401
import tests.faults.processes  # noqa: F401
