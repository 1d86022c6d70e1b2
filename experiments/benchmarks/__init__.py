"""The sub-commands of `experiments/benchmark.py`, one file each, and what they share."""
