import pytest

from skerry.machinery import fielderrors, status
from skerry.machinery.status import StatusError

REPLICAS = fielderrors.invalid("spec.replicas", -1, "must be greater than or equal to 0")


def test_field_errors_read_like_kubernetes() -> None:
    assert str(REPLICAS) == "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    assert str(fielderrors.invalid("a", 1.5, "x")) == "a: Invalid value: 1.5: x"
    assert str(fielderrors.required("a")) == "a: Required value"
    assert str(fielderrors.required("a", "why")) == "a: Required value: why"
    assert str(fielderrors.duplicate("a", "x")) == 'a: Duplicate value: "x"'
    assert str(fielderrors.forbidden("a", "no")) == "a: Forbidden: no"
    assert str(fielderrors.not_supported("a", "z", ["y", "x"])) == (
        'a: Unsupported value: "z": supported values: "x", "y"'
    )


def test_the_body_of_an_invalid_object() -> None:
    error = status.invalid("Deployment", "apps", "web", [REPLICAS])
    assert error.body() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": (
            'Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
        ),
        "reason": "Invalid",
        "details": {
            "name": "web",
            "group": "apps",
            "kind": "Deployment",
            "causes": [
                {
                    "reason": "FieldValueInvalid",
                    "message": "Invalid value: -1: must be greater than or equal to 0",
                    "field": "spec.replicas",
                }
            ],
        },
        "code": 422,
    }
    both = status.invalid("Pod", "", "a", [REPLICAS, fielderrors.required("x")])
    assert both.message == f'Pod "a" is invalid: [{REPLICAS}, x: Required value]'


@pytest.mark.parametrize(
    ("error", "code", "reason", "message"),
    [
        (status.not_found("pods", "nope"), 404, "NotFound", 'pods "nope" not found'),
        (status.no_such_path(), 404, "NotFound", "the server could not find the requested resource"),
        (
            status.already_exists("servingruntimes.serving.kserve.io", "kserve-ovms"),
            409,
            "AlreadyExists",
            'servingruntimes.serving.kserve.io "kserve-ovms" already exists',
        ),
        (
            status.conflict("pods", "a"),
            409,
            "Conflict",
            (
                'Operation cannot be fulfilled on pods "a": the object has been modified; please apply your changes to '
                "the latest version and try again"
            ),
        ),
        (status.bad_request("x"), 400, "BadRequest", "x"),
        (status.unauthorized(), 401, "Unauthorized", "Unauthorized"),
        (status.forbidden("pods", "a", "no"), 403, "Forbidden", 'pods "a" is forbidden: no'),
        (status.forbidden("pods", "", "no"), 403, "Forbidden", "pods is forbidden: no"),
        (
            status.method_not_supported("pods", "put"),
            405,
            "MethodNotAllowed",
            'put is not supported on resources of kind "pods"',
        ),
        (
            status.not_acceptable(["application/json"]),
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json",
        ),
        (
            status.unsupported_media_type(["a", "b"]),
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: a, b",
        ),
        (status.gone("old"), 410, "Expired", "old"),
        (status.too_large(7), 413, "RequestEntityTooLarge", "Request entity too large: limit is 7"),
        (status.internal("x"), 500, "InternalError", "Internal error occurred: x"),
        (status.unavailable("x"), 503, "ServiceUnavailable", "x"),
        (status.timeout("x"), 504, "Timeout", "x"),
    ],
)
def test_errors_of_the_api(error: StatusError, code: int, reason: str, message: str) -> None:
    body = error.body()
    assert (error.code, body["code"], body["reason"], body["message"]) == (code, code, reason, message)
    assert str(error) == message


def test_details_name_the_object() -> None:
    assert status.not_found("routes.route.openshift.io", "r").body()["details"] == {
        "name": "r",
        "group": "route.openshift.io",
        "kind": "routes",
    }
    assert "details" not in status.bad_request("x").body()


def test_quoting() -> None:
    assert status.json_quote('a"b\\c') == '"a\\"b\\\\c"'


def test_a_path_that_is_not_served_has_details_that_are_empty() -> None:
    """`kubectl debug` reads them for a sub-resource that a cluster lacks, and crashes where there are none."""
    assert status.no_such_path().body()["details"] == {}
