"""OpenVINO on the CPU. Its own default precision is bfloat16 where the chip has it; here float32 unless asked."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Effective, Refusal, threads_or
from accel.compilation._artefact import Artefact, check_inputs, place, script_head
from accel.compilation._reasons import explain
from accel.errors import VariantError
from accel.measurement.cgroup import usable_cores

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model

_RUNTIME = "OpenVINO"
_CACHE = "cache"
_SHORT = {"float32": "float32", "f32": "float32", "bfloat16": "bf16", "bf16": "bf16", "float16": "f16", "f16": "f16"}
_HEAVY = frozenset(
    {"Convolution", "GroupConvolution", "FullyConnected", "MatMul", "Deconvolution", "RNNSeq", "LSTMSequence"}
)
# Of ai.onnx.ml, which scikit-learn's models are written in; OpenVINO 2026.4 reads its Normalizer only.
_NO_OPERATOR = frozenset(
    {"TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble", "LinearClassifier", "LinearRegressor"}
    | {"SVMClassifier", "SVMRegressor", "Scaler", "Binarizer", "Imputer", "OneHotEncoder", "LabelEncoder"}
    | {"ArrayFeatureExtractor", "CategoryMapper", "DictVectorizer", "FeatureVectorizer", "ZipMap"}
)
_INT8 = frozenset({"i8", "u8"})
_FEW_BITS = frozenset({"i8", "u8", "i4", "u4"})


class OpenVino(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The CPU plug-in of OpenVINO.

    threads: of all streams together; 0 means every core this process may use.
    streams: how many requests run side by side; 0 follows `hint` (latency: one). requests: with the throughput hint,
        for so many requests at once; 0 leaves it open.
    precision: of what isn't quantized; "auto" takes what OpenVINO takes by itself. A model whose compression asked
        for a precision (`lower_precision`) overrides "f32".
    execution_mode: whether OpenVINO, where `precision` is "auto", may compute below the model's own precision.
    cache: keep the compiled model in the artefact folder, so that opening again is faster.
    pinning, hyper_threading: keep threads on their cores; use both threads of a core. None leaves it to OpenVINO.
    flush_denormals: numbers below the smallest normal one count as zero; None: if they do in the thread that opens it,
        as they do wherever accel measures.
    dynamic_quantization: quantize activations to 8 bits in groups of so many before matrices whose weights are in few
        bits; 0 is off, None leaves it to OpenVINO.
    """

    threads: int = 0
    streams: Annotated[int, msgspec.Meta(ge=0)] = 0
    requests: Annotated[int, msgspec.Meta(ge=0)] = 0
    precision: Literal["f32", "bf16", "f16", "auto"] = "f32"
    execution_mode: Literal["performance", "accuracy"] = "performance"
    hint: Literal["latency", "throughput"] = "latency"
    cache: bool = False
    pinning: bool | None = None
    hyper_threading: bool | None = None
    flush_denormals: bool | None = None
    dynamic_quantization: Annotated[int, msgspec.Meta(ge=0)] | None = None

    runs: ClassVar[tuple[str, ...]] = ("openvino",)
    runtime: ClassVar[str] = "openvino"
    extra: ClassVar[str | None] = "openvino"
    build_fields: ClassVar[tuple[str, ...]] = ("precision", "execution_mode", "cache", "dynamic_quantization")
    plain: ClassVar[bool] = True

    def env(self) -> dict[str, str]:
        return {"OPENVINO_TELEMETRY_DISABLE": "1"}

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None:
        foreign = sorted(_NO_OPERATOR & set(facts.operators))
        if foreign:
            return Refusal(f"OpenVINO has no operator for {foreign[0]} (ai.onnx.ml).", "Use the backend `onnxruntime`.")
        if self.precision == "bf16" and not machine.has_bf16:
            return Refusal(
                "bf16 would be emulated: this processor has no bfloat16 instructions.", "Use precision `f32`."
            )
        if self.requests and self.hint == "latency":
            return Refusal(
                "`requests` is for the throughput hint; the latency hint takes one request at a time.",
                'Set hint = "throughput", or leave `requests` out.',
            )
        return None

    def build(self, model: Model, folder: Path) -> None:
        """Copy the IR pair (.xml, .bin)."""
        source = Path(model.as_form("openvino"))
        place(source, folder / "model.xml")
        weights = source.with_suffix(".bin")
        if weights.is_file():
            place(weights, folder / "model.bin")
        Artefact.of(model, "model.xml").save(folder)
        if self.cache:
            self.open(folder).close()

    def open(self, folder: Path) -> OpenVinoEngine:
        """Compile the IR for this processor; raises VariantError if OpenVINO refuses it."""
        import openvino as ov

        artefact = Artefact.load(folder)
        try:
            core = ov.Core()
            network = core.read_model(str(folder / artefact.file))
            compiled = core.compile_model(network, "CPU", self.settings(artefact.precision, folder))
            return OpenVinoEngine(compiled, artefact, _weight_bits(network), cached=self.cache)
        except VariantError:
            raise
        except Exception as error:
            raise explain(error, _RUNTIME, "compiling the model") from error

    def settings(self, wanted: str, folder: Path | None = None) -> dict[str, str]:
        """What `compile_model` is told; `wanted` is the precision the model's compressions asked for.

        The thread count is always given: under a cgroup quota OpenVINO counts too many cores.
        """
        told = {
            "INFERENCE_NUM_THREADS": str(threads_or(usable_cores(), self.threads)),
            "PERFORMANCE_HINT": self.hint.upper(),
        }
        if self.streams or self.hint == "latency":
            told["NUM_STREAMS"] = str(self.streams or 1)
        precision = wanted if wanted != "float32" and self.precision == "f32" else self.precision
        if precision != "auto":
            told["INFERENCE_PRECISION_HINT"] = precision
        told |= self._opted()
        if self.cache and folder is not None:
            told["CACHE_DIR"] = str(folder / _CACHE)
        return told

    def _opted(self) -> dict[str, str]:
        """Settings that are given only where somebody asked for something else than OpenVINO's own choice."""
        asked: dict[str, int | bool | str | None] = {
            "PERFORMANCE_HINT_NUM_REQUESTS": self.requests or None,
            "EXECUTION_MODE_HINT": "ACCURACY" if self.execution_mode == "accuracy" else None,
            "ENABLE_CPU_PINNING": self.pinning,
            "ENABLE_HYPER_THREADING": self.hyper_threading,
            "CPU_DENORMALS_OPTIMIZATION": self.flush_denormals,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": self.dynamic_quantization,
        }
        yes = {True: "YES", False: "NO"}
        return {k: yes[v] if isinstance(v, bool) else str(v) for k, v in asked.items() if v is not None}

    def script(self, folder: Path) -> str:
        artefact = Artefact.load(folder)
        settings = {"CPU_DENORMALS_OPTIMIZATION": "YES"} | self.settings(artefact.precision)
        return (
            f"import openvino as ov\n\n{script_head(artefact)}SETTINGS = {settings!r}\n"
            f"INPUTS = {list(artefact.input_names)!r}\ncore = ov.Core()\n"
            f'request = core.compile_model(core.read_model(str(here / "{artefact.file}")), "CPU", SETTINGS)'
            ".create_infer_request()\n\n\ndef predict(inputs):\n"
            "    result = request.infer([inputs[name] for name in INPUTS])\n"
            "    return {name: result[i].copy() for i, name in enumerate(OUTPUTS)}\n"
        )


class OpenVinoEngine:
    """One compiled model; each calling thread has a request of its own, so `run` may be called from several."""

    parallel_runs = True

    def __init__(
        self, compiled: Any, artefact: Artefact, weight_bits: int | None = None, *, cached: bool = False
    ) -> None:
        self.sizes = artefact.sizes
        self._compiled = compiled
        self._names = artefact.output_names
        self._dtypes = {t.name: np.dtype(t.dtype) for t in artefact.inputs}
        self._own = threading.local()
        if len(compiled.outputs) != len(self._names) or len(compiled.inputs) != len(self._dtypes):
            raise VariantError(
                f"The OpenVINO model has {len(compiled.inputs)} inputs and {len(compiled.outputs)} outputs, but the "
                f"original has {len(self._dtypes)} and {len(self._names)}.",
                "Try the backend `onnxruntime`.",
            )
        self.effective = _effective(compiled, weight_bits, cached=cached)
        self._own.request = compiled.create_infer_request()

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        check_inputs(inputs, self._dtypes)
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        try:
            # share_outputs=False copies: the request writes the same buffers in its next run.
            result = request.infer([inputs[n] for n in self._dtypes], share_inputs=True, share_outputs=False)
            return dict(zip(self._names, result.to_tuple(), strict=True))
        except Exception as error:
            n = len(next(iter(inputs.values())))
            raise explain(error, _RUNTIME, f"running a batch of {n}") from error

    def close(self) -> None:
        self._own = threading.local()
        self._compiled = None


def _weight_bits(network: Any) -> int | None:
    """The fewest bits a weight is stored in where activations stay in float; None if nothing is stored in few bits."""
    constants = [o.get_element_type() for o in network.get_ops() if o.get_type_name() == "Constant"]
    fakes = any(o.get_type_name() == "FakeQuantize" for o in network.get_ops())
    return None if fakes else min((t.bitwidth for t in constants if t.get_type_name() in _FEW_BITS), default=None)


def _effective(compiled: Any, weight_bits: int | None, *, cached: bool) -> Effective:
    """Asked of the runtime: the settings it took and the precision each heavy layer was compiled to.

    With weights alone in few bits a layer is named after them there, whatever it computes in.
    """
    layers = _heavy_precisions(compiled)
    hint = _SHORT.get(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(), "mixed")
    eight = sum(n for p, n in layers.items() if p in _INT8)
    listed = ", ".join(f"{p} {n}" for p, n in sorted(layers.items()))
    group = str(compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE"))
    of_weights = "int8 dynamic" if group != "0" else f"int{weight_bits} weights"
    few = of_weights if weight_bits else "int8" if eight else None
    detail = {"streams": str(compiled.get_property("NUM_STREAMS")), "precision hint": hint, "heavy layers": listed}
    detail |= _scheduling(compiled)
    if cached:
        detail["compiled model"] = "from the cache" if compiled.get_property("LOADED_FROM_CACHE") else "compiled anew"
    return Effective(
        precision=f"{few}, rest {hint}" if few else hint,
        threads=int(compiled.get_property("INFERENCE_NUM_THREADS")),
        provider="CPU",
        detail=detail | ({"dynamic quantization group": group} if weight_bits else {}),
    )


def _scheduling(compiled: Any) -> dict[str, str]:
    """How requests are placed, asked of the runtime."""
    on = {True: "on", False: "off"}
    detail = {
        "hint": str(compiled.get_property("PERFORMANCE_HINT")).lower(),
        "execution mode": compiled.get_property("EXECUTION_MODE_HINT").name.lower(),
        "pinning": on[compiled.get_property("ENABLE_CPU_PINNING")],
        "hyper-threading": on[compiled.get_property("ENABLE_HYPER_THREADING")],
        "requests at once": str(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")),
    }
    return detail | ({"flush denormals": "on"} if compiled.get_property("CPU_DENORMALS_OPTIMIZATION") else {})


def _heavy_precisions(compiled: Any) -> Counter[str]:
    counted: Counter[str] = Counter()
    for layer in compiled.get_runtime_model().get_ordered_ops():
        told = layer.get_rt_info()
        if "layerType" in told and told["layerType"].astype(str) in _HEAVY:
            counted[told["runtimePrecision"].astype(str)] += 1
    return counted
