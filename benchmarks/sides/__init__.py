"""One module per side of a comparison. Each runs in its own process, with the interpreter and packages it needs.

A side imports nothing of benchmarks but `benchmarks.sides.serve`, which needs the standard library alone.
"""
