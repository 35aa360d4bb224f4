"""accel: the fastest honest way to run your model on this machine, for batch jobs and for online requests."""

__version__ = "0.1.0"
