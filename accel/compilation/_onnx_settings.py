"""What a session of ONNX Runtime is told, and what it says of it afterwards.

Unknown configuration keys are accepted in silence, so every key stands here once, beside the field it belongs to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accel.measurement import denormals

if TYPE_CHECKING:
    from accel.compilation.onnxruntime import OnnxRuntime

LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "layout": "ORT_ENABLE_LAYOUT",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
LEAVE_FLOAT = ("optimization.disable_specified_optimizers", "WeightBiasQuantization")
_SPINNING = ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning")
# Field -> key and value where the field isn't at its default.
_SWITCHES = {
    "stop_spinning": ("session.force_spinning_stop", "1"),
    "prepacking": ("session.disable_prepacking", "1"),
}
# Off unless it is given, whatever the thread that opens the session does.
_ZERO = ("session.set_denormal_as_zero", "1")
_BLOCK = "session.dynamic_block_base"
_ATTRIBUTES = {"arena": "enable_cpu_mem_arena", "memory_pattern": "enable_mem_pattern"}


def entries(backend: OnnxRuntime, *, leave_float: bool) -> dict[str, str]:
    """The configuration entries that a variant's fields stand for; none where they are at their defaults."""
    told: dict[str, str] = {}
    if leave_float:
        told[LEAVE_FLOAT[0]] = LEAVE_FLOAT[1]
    if backend.spinning is not None:
        told |= dict.fromkeys(_SPINNING, str(int(backend.spinning)))
    default = type(backend)()
    for field, (key, value) in _SWITCHES.items():
        if getattr(backend, field) != getattr(default, field):
            told[key] = value
    if denormals.flushes() if backend.flush_denormals is None else backend.flush_denormals:
        told[_ZERO[0]] = _ZERO[1]
    if backend.dynamic_block_base:
        told[_BLOCK] = str(backend.dynamic_block_base)
    return told


def attributes(backend: OnnxRuntime, level: str) -> dict[str, Any]:
    """The attributes of SessionOptions; the graph level and execution mode by the names of their enum members."""
    told: dict[str, Any] = {
        "graph_optimization_level": LEVELS[level],
        "intra_op_num_threads": backend.thread_count,
        "inter_op_num_threads": backend.inter_threads,
    }
    if backend.inter_threads > 1:
        told["execution_mode"] = "ORT_PARALLEL"
    default = type(backend)()
    for field, name in _ATTRIBUTES.items():
        if getattr(backend, field) != getattr(default, field):
            told[name] = getattr(backend, field)
    return told


def session_options(ort: Any, backend: OnnxRuntime, level: str, *, leave_float: bool) -> Any:
    """A SessionOptions of these fields."""
    options = ort.SessionOptions()
    for name, value in attributes(backend, level).items():
        enum = {"graph_optimization_level": ort.GraphOptimizationLevel, "execution_mode": ort.ExecutionMode}.get(name)
        setattr(options, name, getattr(enum, value) if enum else value)
    for key, value in entries(backend, leave_float=leave_float).items():
        options.add_session_config_entry(key, value)
    options.log_severity_level = 3
    return options


def script_lines(backend: OnnxRuntime, level: str, *, leave_float: bool) -> str:
    """The same as lines of Python."""
    enums = {"graph_optimization_level": "GraphOptimizationLevel", "execution_mode": "ExecutionMode"}
    lines = ["options = ort.SessionOptions()"]
    for name, value in attributes(backend, level).items():
        lines.append(f"options.{name} = {f'ort.{enums[name]}.{value}' if name in enums else repr(value)}")
    zero = dict([_ZERO]) if backend.flush_denormals is not False else {}
    for key, value in (entries(backend, leave_float=leave_float) | zero).items():
        lines.append(f'options.add_session_config_entry("{key}", "{value}")')
    return "\n".join(lines) + "\n"


def read_back(session: Any) -> dict[str, str]:
    """What a session says of its own settings; what isn't at the runtime's default is named."""
    options = session.get_session_options()
    level = options.graph_optimization_level.name
    detail = {
        "optimization": next((word for word, name in LEVELS.items() if name == level), level),
        "spinning": {None: "default (on)", "0": "false", "1": "true"}[_entry(options, _SPINNING[0])],
        "inter_threads": str(options.inter_op_num_threads),
    }
    if options.execution_mode.name == "ORT_PARALLEL":
        detail["operators"] = "side by side"
    for field, (key, value) in _SWITCHES.items():
        if _entry(options, key) == value:
            detail[field.replace("_", " ")] = "off" if field == "prepacking" else "on"
    if _entry(options, _ZERO[0]) == _ZERO[1]:
        detail["flush denormals"] = "on"
    if _entry(options, _BLOCK):
        detail["dynamic block base"] = str(_entry(options, _BLOCK))
    for field, name in _ATTRIBUTES.items():
        if not getattr(options, name):
            detail[field.replace("_", " ")] = "off"
    return detail


def _entry(options: Any, key: str) -> str | None:
    try:
        value: str = options.get_session_config_entry(key)
    except Exception as error:
        # The binding's only way to say that an entry isn't set.
        if "does not have configuration" not in str(error):
            raise
        return None
    return value
