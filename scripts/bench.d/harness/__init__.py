"""The parts of the benchmark harness; see ../main.py."""
