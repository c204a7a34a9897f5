"""Speed and memory, each measured by one command: `python -m benchmarks.NAME`."""
