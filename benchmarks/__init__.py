"""Benchmarks: each part of Headwater against a peer or a limit, in the same run. Started by scripts/bench."""
