"""The names that clients use for the tensors of an OpenVINO model, and what the model says about itself.

They are OVMS's. A tensor without a name (PyTorch's exporters leave outputs so) is `in_0`, `out_0` and so on by its
place. `mapping_config.json` beside the model's file renames tensors; every option then means the new names:

    {"inputs": {"Parameter_12": "image"}, "outputs": {"Result_90": "classes"}}

`rt_info` is what its author wrote into the model: the labels of its classes, how its pictures are to be prepared.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from openvino import Model

from skerry.server import log
from skerry.server.errors import LoadError

_FILE: Final = "mapping_config.json"
_ABOUT: Final = "model_info"


class _Mapping(msgspec.Struct, frozen=True):
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}


def name_tensors(model: Model, path: Path) -> None:
    """Give every input and output of a model that was read from `path` its name; raises `LoadError`."""
    mapping = _mapping_beside(path)
    for kind, ports, names in (("in", model.inputs, mapping.inputs), ("out", model.outputs, mapping.outputs)):
        for index, port in enumerate(ports):
            if not port.names:
                port.tensor.set_names({f"{kind}_{index}"})
        _rename(ports, names)


def _rename(ports: Any, names: Mapping[str, str]) -> None:
    unknown = dict(names)
    for port in ports:
        for real in sorted(port.names & names.keys()):
            port.tensor.set_names({names[real]})
            del unknown[real]
    if unknown:
        log.warning("no tensor has the name that is to be replaced", file=_FILE, names=", ".join(unknown))


def _mapping_beside(path: Path) -> _Mapping:
    file = (path if path.is_dir() else path.parent) / _FILE
    try:
        mapping = msgspec.json.decode(file.read_bytes(), type=_Mapping)
    except FileNotFoundError:
        return _Mapping()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as why:
        raise LoadError(f"cannot read {_FILE}: {why}") from None
    for names in (mapping.inputs, mapping.outputs):
        if len(set(names.values())) < len(names):
            raise LoadError(f"cannot use {_FILE}: it gives one name to several tensors")
    return mapping


def about(model: Model) -> dict[str, Any]:
    """What the model says about itself, in OVMS's form: all values as texts. Empty where it says nothing."""
    if not model.has_rt_info(_ABOUT):
        return {}
    told = _texts(model.get_rt_info(_ABOUT))
    return {_ABOUT: told} if told else {}


def _texts(value: Any) -> Any:
    value = getattr(value, "value", value)
    if isinstance(value, Mapping):
        return {str(key): _texts(each) for key, each in value.items()}
    return str(value)
