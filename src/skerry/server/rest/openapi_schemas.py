"""What the bodies of the REST interface look like, as JSON Schema."""

from typing import Any, Final


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "properties": properties}
    return made | ({"required": required.split()} if required else {})


def _list(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def _one(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT: Final = {"type": "string"}
_TRUE: Final = {"const": True}
_SHAPE: Final = _list({"type": "integer", "minimum": 0, "maximum": 2**31 - 1})
_NESTED: Final = {"type": "array", "description": "flat or nested, row by row"}

SCHEMAS: Final[dict[str, Any]] = {
    "Any": {},
    "Text": _TEXT,
    "Error": _object("error", error={"type": "string", "minLength": 1}),
    "Parameters": {
        "type": "object",
        "additionalProperties": {"type": ["string", "boolean", "number"]},
    },
    "ServerMetadata": _object("name version extensions", name=_TEXT, version=_TEXT, extensions=_list(_TEXT)),
    "TensorMetadata": _object(
        "name datatype shape", name=_TEXT, datatype=_TEXT, shape=_list({"type": "integer", "minimum": -1})
    ),
    "ModelMetadata": _object(
        "name versions platform inputs outputs",
        name=_TEXT,
        versions=_list(_TEXT),
        platform=_TEXT,
        inputs=_list(_one("TensorMetadata")),
        outputs=_list(_one("TensorMetadata")),
        rt_info={"type": "object", "description": "what the model's author wrote into it"},
    ),
    "RequestInput": _object(
        "name shape datatype",
        name=_TEXT,
        shape=_SHAPE,
        datatype=_one("Datatype"),
        parameters=_one("Parameters"),
        data=_NESTED,
    ),
    "RequestOutput": _object("name", name=_TEXT, parameters=_one("Parameters")),
    "InferRequest": _object(
        "inputs",
        id=_TEXT,
        parameters=_one("Parameters"),
        inputs=_list(_one("RequestInput"), minItems=1),
        outputs=_list(_one("RequestOutput")),
    ),
    "ResponseOutput": _object(
        "name shape datatype",
        name=_TEXT,
        shape=_SHAPE,
        datatype=_one("Datatype"),
        parameters=_one("Parameters"),
        data={"type": "array", "description": "flat; null where a number is no number or infinite"},
    ),
    "InferResponse": _object(
        "model_name model_version outputs",
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=_one("Parameters"),
        outputs=_list(_one("ResponseOutput")),
    ),
    "IndexRequest": _object(ready={"type": "boolean"}),
    "RepositoryIndex": _list(
        _object(
            "name version state reason",
            name=_TEXT,
            version=_TEXT,
            state={"enum": ["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]},
            reason=_TEXT,
        )
    ),
    "Alive": _object("status", status={"const": "alive"}),
    "Live": _object("live", live=_TRUE),
    "Ready": _object("ready", ready=_TRUE),
    "Loaded": _object("name load", name=_TEXT, load=_TRUE),
    "Unloaded": _object("name unload", name=_TEXT, unload=_TRUE),
    "ConfigReport": {
        "type": "object",
        "additionalProperties": _object(
            "model_version_status",
            model_version_status=_list(
                _object(
                    "version state status",
                    version=_TEXT,
                    state={"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
                    status=_object("error_code error_message", error_code=_TEXT, error_message=_TEXT),
                )
            ),
            error=_TEXT,
        ),
    },
    "V1Models": _object("models", models=_list(_TEXT)),
    "V1Status": _object("name ready", name=_TEXT, ready=_TRUE),
    "V1Metadata": _object(
        "modelSpec metadata",
        modelSpec=_object("name version", name=_TEXT, version=_TEXT),
        metadata=_object("signature_def", signature_def=_object("signatureDef", signatureDef={"type": "object"})),
    ),
    "V1Request": {
        "oneOf": [
            _object("instances", instances=_list({}, minItems=1)),
            _object("inputs", inputs={}),
        ]
    },
    "V1Response": _object("predictions", predictions={}),
}

PARAMETERS: Final[dict[str, Any]] = {
    "model_name": {"name": "model_name", "in": "path", "required": True, "schema": _TEXT},
    "model_version": {
        "name": "model_version",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "inference_header_content_length": {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "required": False,
        "description": "How many bytes of the body are JSON; binary tensors follow.",
        "schema": {"type": "integer", "minimum": 0},
    },
}
