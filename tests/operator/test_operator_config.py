"""The ConfigMap: MicroShift's values, defaults for what is missing, and clear words for what is broken."""

import msgspec
import pytest
from tests.operator.builders import condition, microshift_config, planned, status_after

from skerry.operator.config import Config, Ingress, parse
from skerry.operator.events import ConfigInvalid


def test_shipped_values() -> None:
    config = microshift_config()
    assert config.deploy.defaultDeploymentMode == "RawDeployment"
    assert config.service.serviceClusterIPNone is True
    assert config.security.autoMountServiceAccountToken is False
    assert config.ingress.disableIngressCreation is True
    assert (config.storage.memoryLimit, config.storage.enableModelcar, config.storage.uidModelcar) == (
        "24Gi",
        True,
        None,
    )
    assert "haproxy.router.openshift.io/timeout" in config.not_copied


def test_missing_config_map_means_the_same_but_for_images() -> None:
    assert parse("ns", None) == Config()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"deploy": "{"}, "key 'deploy'"),
        ({"deploy": "{}"}, "invalid deploy config, defaultDeploymentMode is required"),
        (
            {"deploy": '{"defaultDeploymentMode": "Fast"}'},
            "invalid deployment mode. Supported modes are Knative, Standard and ModelMesh",
        ),
        ({"storageInitializer": '{"enableModelcar": "yes"}'}, "key 'storageInitializer'"),
        ({"inferenceService": "[]"}, "key 'inferenceService'"),
        ({"security": "null"}, "key 'security'"),
    ],
)
def test_broken_values_are_named(data: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigInvalid) as invalid:
        parse("redhat-ods-applications", data)
    message = invalid.value.finding.message
    assert message.startswith("cannot read ConfigMap redhat-ods-applications/inferenceservice-config: ")
    assert text in message
    assert message.endswith("kubectl edit -n redhat-ods-applications configmap inferenceservice-config")


@pytest.mark.parametrize("mode", ["RawDeployment", "Standard"])
def test_both_spellings_of_the_mode(mode: str) -> None:
    config = parse("ns", {"deploy": f'{{"defaultDeploymentMode": "{mode}"}}', "unknown": "{"})
    assert config.deploy.defaultDeploymentMode == mode


def test_ingress_that_is_asked_for_and_not_made_is_told() -> None:
    config = msgspec.structs.replace(microshift_config(), ingress=Ingress(disableIngressCreation=False))
    said = condition(status_after(planned(config=config)), "IngressCreated")
    assert (said["status"], said["severity"], said["reason"]) == ("False", "Info", "NotServed")
