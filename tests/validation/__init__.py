"""The experiments that prove the harness right: one module an experiment, `quick()` for the suite, `full()` for
`make validate`.
"""
