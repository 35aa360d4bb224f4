"""How numbers come about: the clock, the one loop, the trace, the child process, the machine and its noise."""
