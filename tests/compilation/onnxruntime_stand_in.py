"""What stands for the module `onnxruntime` built with CUDA: the real one, whose GPU is the processor and is told."""

from __future__ import annotations

from typing import Any

import numpy as np


class Value:
    """An OrtValue on the stand-in's device."""

    def __init__(self, array: Any) -> None:
        self.array = np.array(array)

    @staticmethod
    def ortvalue_from_numpy(array: Any, device: str, index: int) -> Value:
        assert (device, index) == ("cuda", 0)
        return Value(array)


class Binding:
    """Inputs and outputs by name. said: what was asked for, in order."""

    def __init__(self, session: Any) -> None:
        self.session, self.inputs, self.names, self.outputs = session, {}, [], None
        self.said: list[str] = []

    def bind_ortvalue_input(self, name: str, value: Value) -> None:
        self.inputs[name] = value.array

    def bind_output(self, name: str, device: str) -> None:
        assert device == "cuda"
        self.names.append(name)

    def synchronize_inputs(self) -> None:
        self.said.append("inputs")

    def synchronize_outputs(self) -> None:
        self.said.append("outputs")

    def copy_outputs_to_cpu(self) -> list[Any]:
        assert self.said[-1] == "outputs", "outputs are read once the device is done"
        return self.outputs


class Session:
    """A real session that believes in its providers. told: what each was given."""

    def __init__(self, real: Any, providers: Any, *, falls_back: bool) -> None:
        self._real, self.told = real, dict(providers)
        self._providers = ["CPUExecutionProvider"] if falls_back else list(self.told)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def get_providers(self) -> list[str]:
        return self._providers

    def io_binding(self) -> Binding:
        self.last = Binding(self)
        return self.last

    def run_with_iobinding(self, binding: Binding) -> None:
        binding.outputs = self._real.run(binding.names, binding.inputs)


class Ort:
    """`onnxruntime`. available: providers it was built with. falls_back: one of them can't be loaded."""

    OrtValue = Value

    def __init__(self, available: tuple[str, ...], *, falls_back: bool = False) -> None:
        import onnxruntime

        self._ort, self._available, self._falls_back = onnxruntime, available, falls_back
        self.preloaded = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ort, name)

    def preload_dlls(self) -> None:
        self.preloaded = True

    def get_available_providers(self) -> list[str]:
        return list(self._available)

    def InferenceSession(self, path: str, *, sess_options: Any, providers: Any) -> Session:
        real = self._ort.InferenceSession(path, sess_options=sess_options, providers=["CPUExecutionProvider"])
        return Session(real, providers, falls_back=self._falls_back)
