"""HOW scoring is run: workspace, shards, ledger, stages on Dask, DuckDB, selection, export."""
