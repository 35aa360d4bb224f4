"""accel beside other tools, each at its documented defaults, run by the same runtime."""
