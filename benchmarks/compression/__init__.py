"""Which compression pays on which backend, and at what cost: the experiments behind reports/COMPRESSION.md."""
