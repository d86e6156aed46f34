"""Deployments for the tests of what is served beside them."""

from typing import Any

WEB = "/apis/apps/v1/namespaces/a/deployments/web"


def deployment(name: str, replicas: int = 1, image: str = "example.com/web:1") -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    }
