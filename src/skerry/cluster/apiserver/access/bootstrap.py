"""Keeps the default roles and bindings: made at the first start, mended at every later one.

What is missing from a default role or binding is put back, because whoever took it away by mistake may not be able to
do so himself. What was added stays. An object that is annotated `rbac.authorization.kubernetes.io/autoupdate: "false"`
is left alone. Facts: k8s.io/component-helpers `auth/rbac/reconciliation`.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import httpx2
import msgspec

from skerry.api.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, GROUP
from skerry.api.rbac_rules import compacted, missing, rules_of
from skerry.cluster.apiserver.access.defaults import AUTOUPDATE, cluster_role_bindings, cluster_roles
from skerry.kit.log import logger

log = logger(__name__)

_BASE: Final = f"/apis/{GROUP}/v1"

Item = Mapping[str, Any]


def mended(wanted: Item, present: Item) -> dict[str, Any] | None:
    """Return the role or binding with what it lacks, None when it lacks nothing or is to be left alone."""
    meta = present["metadata"]
    if (meta.get("annotations") or {}).get(AUTOUPDATE) == "false":
        return None
    new = {**present, "metadata": {**meta, **_marks(wanted, meta)}}
    if wanted["kind"] == "ClusterRoleBinding":
        subjects = list(present.get("subjects") or [])
        new["subjects"] = subjects + [subject for subject in wanted["subjects"] if subject not in subjects]
    elif "aggregationRule" in wanted:
        # Its rules are the controller's business.
        selectors = list((present.get("aggregationRule") or {}).get("clusterRoleSelectors") or [])
        lacking = [one for one in wanted["aggregationRule"]["clusterRoleSelectors"] if one not in selectors]
        new["aggregationRule"] = {"clusterRoleSelectors": selectors + lacking}
    else:
        lacking = compacted(missing(rules_of(present), rules_of(wanted)))
        new["rules"] = list(present.get("rules") or []) + [rule.written() for rule in lacking]
    unchanged = all(new.get(field) == present.get(field) for field in ("subjects", "aggregationRule", "metadata"))
    return None if unchanged and (new.get("rules") or []) == (present.get("rules") or []) else new


async def ensure(http: httpx2.AsyncClient) -> None:
    """Make and mend all of them, as an administrator; they are written together, so that one flush is enough.

    What fails is logged and tried again at the next start: the administrator needs none of them.
    """
    try:
        await _ensure(http)
    except httpx2.HTTPError as error:
        log.error("default roles are not complete", error=str(error))


async def _ensure(http: httpx2.AsyncClient) -> None:
    wanted = [(CLUSTER_ROLE.plural, item) for item in cluster_roles()]
    wanted += [(CLUSTER_ROLE_BINDING.plural, item) for item in cluster_role_bindings()]
    present = {plural: await _present(http, plural) for plural in (CLUSTER_ROLE.plural, CLUSTER_ROLE_BINDING.plural)}
    await asyncio.gather(*(_one(http, plural, item, present[plural]) for plural, item in wanted))


async def _present(http: httpx2.AsyncClient, plural: str) -> dict[str, Item]:
    items = msgspec.json.decode((await http.get(f"{_BASE}/{plural}")).raise_for_status().content)["items"]
    return {item["metadata"]["name"]: item for item in items}


async def _one(http: httpx2.AsyncClient, plural: str, wanted: Item, present: Mapping[str, Item]) -> None:
    name = wanted["metadata"]["name"]
    old = present.get(name)
    if old is not None and old.get("roleRef") != wanted.get("roleRef"):
        # A binding of the name to another role: nobody can change it, so it is made anew.
        (await http.delete(f"{_BASE}/{plural}/{name}")).raise_for_status()
        old = None
    if old is None:
        (await http.post(f"{_BASE}/{plural}", json=wanted)).raise_for_status()
    elif (new := mended(wanted, old)) is not None:
        log.info("default role mended", kind=wanted["kind"], name=name)
        (await http.put(f"{_BASE}/{plural}/{name}", json=new)).raise_for_status()


def _marks(wanted: Item, meta: Item) -> dict[str, Any]:
    return {field: {**wanted["metadata"][field], **(meta.get(field) or {})} for field in ("labels", "annotations")}
