"""From a recipe to results: prepare, run, tune, compare, recommend."""
