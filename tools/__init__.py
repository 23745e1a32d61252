"""Offline work: data, training, export, evaluation, benchmarks. Runs from the checkout as `python -m tools.X`; may use torch."""
