"""Backend x knobs over the recipes: what threads, streams, graph level, spinning and precision give on which model."""
