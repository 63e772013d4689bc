"""Strategies: each file one function `wishes`, found by the file's name (`broker.strategies.table`)."""
