"""Factories as a user would write them: a file given as `file.py:factory`."""

from __future__ import annotations

import os

import numpy as np
import sibling

NUMBER = 3


def module():
    return sibling.Affine()


def module_with_example():
    import torch

    return sibling.Affine(), (torch.ones(1, 4),)


def random_module():
    return sibling.Affine()


random_module.random_weights = True


def onnx_file():
    return os.environ["ACCEL_TEST_ONNX"]


def function():
    return lambda x: x * 2.0


def number():
    return NUMBER


def broken():
    raise RuntimeError("no weights here")


def samples():
    return {"x": np.ones((6, 4), np.float32), "labels": np.arange(6)}


class Stateful:
    random_weights = True

    def __call__(self, x):
        return {"sum": x.sum(axis=1)}


def stateful():
    return Stateful()
