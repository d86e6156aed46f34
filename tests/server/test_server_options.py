"""The command line: OVMS's options, texts and exit codes."""

from pathlib import Path

import pytest

from skerry.server.options import UsageError, VersionPolicy, parse, without_effect

MODEL = ["--model_name=m", "--model_path=/mnt/models"]
REST = [*MODEL, "--rest_port=8888"]
NAMED = "allow_credentials needs allowed_origins that are named one by one: browsers refuse it with *"


def test_what_the_shipped_runtime_and_the_walkthrough_pass() -> None:
    options = parse(
        [
            "--model_name=ovms-resnet50",
            "--port=8001",
            "--rest_port=8888",
            "--model_path=/mnt/models",
            "--file_system_poll_wait_seconds=0",
            "--grpc_bind_address=0.0.0.0",
            "--rest_bind_address=0.0.0.0",
            "--target_device=AUTO",
            "--metrics_enable",
            "--layout=NHWC:NCHW",
        ]
    )
    assert (options.model.name, options.model.path) == ("ovms-resnet50", Path("/mnt/models"))
    assert (options.rest_port, options.grpc_port, options.rest_addresses) == (8888, 8001, ("0.0.0.0",))
    assert (options.metrics, options.poll_seconds) == (True, 0)
    assert (options.model.layout, options.model.target_device) == ("NHWC:NCHW", "AUTO")


def test_values_may_follow_as_words_and_the_last_one_wins() -> None:
    options = parse([*REST, "--rest_port", "9000", "--rest_bind_address", "127.1.2.3", "--nireq", "4"])
    assert (options.rest_port, options.rest_addresses, options.model.nireq) == (9000, ("127.1.2.3",), 4)


def test_several_addresses_of_every_kind() -> None:
    options = parse([*REST, "--rest_bind_address=127.0.0.1,::1,localhost"])
    assert options.rest_addresses == ("127.0.0.1", "::1", "localhost")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([*REST, "--nonsense=1", "stray"], "error parsing options - unmatched arguments: --nonsense=1, stray, "),
        ([*REST, "--nireq"], "error parsing options: Option 'nireq' is missing an argument"),
        ([*REST, "--nireq=many"], "error parsing options: Argument 'many' failed to parse"),
        (MODEL, "port and rest_port cannot both be unset"),
        ([*REST, "--port=8888"], "port and rest_port cannot have the same values"),
        ([*MODEL, "--rest_port=70000"], "rest_port number out of range from 0 to 65535"),
        ([*MODEL, "--port=9", "--metrics_enable"], "rest_port setting is missing, metrics are enabled on rest port"),
        (["--rest_port=1"], "Use config_path or model_path with model_name"),
        (
            [*REST, "--config_path=x"],
            "Model parameters in CLI are exclusive with the config file: --model_name, --model_path",
        ),
        (
            [*REST, "--metrics_list=ovms_streams"],
            "metrics_enable setting is missing, required when metrics_list is provided",
        ),
        ([*REST, "--mean=1"], "error parsing options - --mean parameter requires --layout to be set"),
        (
            [*REST, "--rest_bind_address=127.0.0.999"],
            "rest_bind_address has invalid format: proper hostname or IP address expected.",
        ),
        ([*REST, "--log_level=LOUD"], "log_level should be one of: TRACE, DEBUG, INFO, WARNING, ERROR"),
        ([*REST, "--model_version_policy={}"], "model_version_policy has invalid format: {}"),
        ([*REST, "--max_queue=-1"], "max_queue cannot be negative"),
        ([*REST, "--allow_credentials"], NAMED),
        ([*REST, "--allow_credentials", "--allowed_origins=*"], NAMED),
        (
            [*REST, "--allowed_headers=a\r\nb"],
            "allowed_origins, allowed_methods and allowed_headers are the text of HTTP headers",
        ),
        ([*REST, "--compat=triton"], "compat should be one of: ovms"),
        ([*REST, "--model_control_mode=poll"], "model_control_mode should be one of: explicit, none"),
        ([*REST, "--drain_seconds=inf"], "drain_seconds cannot be negative"),
    ],
)
def test_what_is_wrong_is_said_as_ovms_says_it(words: list[str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ('{"latest": {"num_versions": 2}}', VersionPolicy(latest=2)),
        ('{"specific": {"versions": [1, 3]}}', VersionPolicy(latest=None, specific=(1, 3))),
        ('{"all": {}}', VersionPolicy(latest=None)),
        ("", VersionPolicy(latest=1)),
    ],
)
def test_version_policies(text: str, policy: VersionPolicy) -> None:
    assert parse([*REST, f"--model_version_policy={text}"]).model.version_policy == policy


def test_plugin_config_is_json() -> None:
    options = parse([*REST, '--plugin_config={"NUM_STREAMS": "2", "ENABLE_CPU_PINNING": false}'])
    assert options.model.plugin_config == {"NUM_STREAMS": "2", "ENABLE_CPU_PINNING": False}
    with pytest.raises(UsageError, match="plugin_config is not the JSON that is expected"):
        parse([*REST, "--plugin_config=[1]"])


def test_options_of_another_design_are_accepted_and_named() -> None:
    words = [*REST, "--rest_workers=4", "--grpc_workers", "2"]
    assert parse(words).rest_port == 8888
    assert without_effect(words) == ["rest_workers", "grpc_workers"]
