"""From a recipe to results: prepare, screen, tune, compare, confirm, recommend."""
