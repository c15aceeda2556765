"""The matrix of faults: Headwater under load, broken in every way on purpose, with a referee. `scripts/faults` runs it."""
