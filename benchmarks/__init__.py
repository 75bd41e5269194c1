"""The same work side by side with the peers: `python -m benchmarks.run`. README.md says what is and is not timed."""
