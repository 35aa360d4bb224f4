"""Experiments about batching: each writes rows into `reports/batching/`, `page` makes `reports/BATCHING.md` of them."""
