"""How many replicas does a load need, and what do they cost? `accel plan`, from a finished study."""
