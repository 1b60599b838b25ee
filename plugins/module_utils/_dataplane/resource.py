# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The Dataplane resource: built from what a host offers and calls, compared with what a control plane holds.

Dataplanes are dictionaries as the REST API has them. Pure functions.
"""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import go_seconds
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import schema

Dataplane = t.Dict[str, t.Any]

SERVICE_TAG = "kuma.io/service"
PROTOCOL_TAG = "kuma.io/protocol"
ZONE_TAG = "kuma.io/zone"
WORKLOAD_LABEL = "kuma.io/workload"
DISPLAY_NAME_LABEL = "kuma.io/display-name"
OWNER_LABEL = "meshfleet.kuma/owner"

# Labels that the control plane computes and adds by itself (they differ by version).
COMPUTED_LABELS = frozenset(
    "kuma.io/" + name
    for name in (
        "mesh",
        "zone",
        "env",
        "origin",
        "proxy-type",
        "display-name",
        "listener-zoneingress",
        "listener-zoneegress",
    )
)
_ANSWER_ONLY = ("creationTime", "modificationTime", "kri")


def build(intent: t.Mapping[str, t.Any], model: str, labels_survive: bool = True) -> Dataplane:
    """The Dataplane of one proxy.

    ``intent``: ``name``, ``mesh``, ``address``, ``services`` ``[{name, port, service_port, service_address, address, protocol,
    tags, inbound_name, probe: {interval, timeout, healthy_threshold, unhealthy_threshold}}]``, ``outbounds``
    ``[{service, address, port, tags, backend_ref: {kind, name, port, labels}}]``, ``gateway`` ``{name, tags}`` of a delegated gateway (None:
    it is none), ``labels``, ``workload``, ``admin_port``, ``transparent_proxy`` (options of the role kuma_transparent_proxy; empty without
    it).
    ``model`` is ``v2`` (tags) or ``v3`` (labels, ``protocol``, ``backendRef``). ``labels_survive`` is false for control planes
    that lose user labels (below 2.13): none are sent to them.

    Neither ``state`` nor ``health`` is set: who registers decides that.
    """
    networking: t.Dict[str, t.Any] = {"address": intent["address"]}
    services = list(intent.get("services") or [])
    if model == "v3":
        # All VMs of a workload have to show the same ports in the same order (trap 42).
        services.sort(key=lambda service: int(service["port"]))
    inbounds = [_inbound(service, model) for service in services]
    if inbounds:
        networking["inbound"] = inbounds
    if intent.get("gateway"):
        networking["gateway"] = _gateway(intent["gateway"])
    outbounds = [_outbound(outbound, model) for outbound in intent.get("outbounds") or []]
    if outbounds:
        networking["outbound"] = outbounds
    if intent.get("transparent_proxy"):
        networking["transparentProxying"] = transparent_proxying(intent["transparent_proxy"])
    if intent.get("admin_port"):
        networking["admin"] = {"port": int(intent["admin_port"])}
    labels = dict(intent.get("labels") or {})
    if intent.get("workload"):
        labels.setdefault(WORKLOAD_LABEL, intent["workload"])
    if model == "v3":
        for holder in [*(intent.get("services") or []), intent.get("gateway") or {}]:
            for key, value in (holder.get("tags") or {}).items():
                labels.setdefault(key, str(value))
    dataplane: Dataplane = {"type": "Dataplane", "mesh": intent["mesh"], "name": intent["name"]}
    if labels and labels_survive:
        dataplane["labels"] = dict(sorted(labels.items()))
    dataplane["networking"] = networking
    return dataplane


def claims(dataplane: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """What its proxy claims to be, ``{services, workload}``: the services of its tags, which 3.0 has none of, and its workload."""
    networking = dataplane.get("networking") or {}
    holders = [networking["gateway"]] if networking.get("gateway") else networking.get("inbound") or []
    services = {str((holder.get("tags") or {}).get(SERVICE_TAG) or "") for holder in holders} - {""}
    return {"services": sorted(services), "workload": str((dataplane.get("labels") or {}).get(WORKLOAD_LABEL) or "")}


def excess(found: t.Mapping[str, t.Any], allowed: t.Optional[t.Mapping[str, t.Any]]) -> t.List[str]:
    """Why a Dataplane with the :func:`claims` ``found`` is not what the inventory allows; None allows nothing.

    Whoever may write Dataplanes, which is everybody by default, could have it claim the service of somebody else.
    """
    if allowed is None:
        return ["nobody says what it may claim to be (claims)"]
    reasons = []
    foreign = sorted({*(found.get("services") or [])} - {*(allowed.get("services") or [])})
    if foreign:
        reasons.append("its Dataplane claims %s %s, which the inventory does not give it" % (SERVICE_TAG, ", ".join(foreign)))
    if found.get("workload") and allowed.get("workload") and found["workload"] != allowed["workload"]:
        reasons.append("its Dataplane has the workload %s, expected %s" % (found["workload"], allowed["workload"]))
    return reasons


def _inbound(service: t.Mapping[str, t.Any], model: str) -> t.Dict[str, t.Any]:
    protocol = service.get("protocol") or "tcp"
    inbound: t.Dict[str, t.Any] = {
        "port": int(service["port"]),
        "servicePort": int(service.get("service_port") or service["port"]),
        # Without it Envoy dials the Dataplane's own address, that is itself (trap 37).
        "serviceAddress": service.get("service_address") or "127.0.0.1",
    }
    if service.get("address"):
        inbound["address"] = service["address"]
    if model == "v3":
        inbound["name"] = service.get("inbound_name") or service["name"]
        inbound["protocol"] = protocol
    else:
        if service.get("inbound_name"):
            inbound["name"] = service["inbound_name"]
        tags = {str(key): str(value) for key, value in (service.get("tags") or {}).items()}
        tags[SERVICE_TAG] = service["name"]
        tags.setdefault(PROTOCOL_TAG, protocol)
        inbound["tags"] = dict(sorted(tags.items()))
    if service.get("probe"):
        inbound["serviceProbe"] = _service_probe(service["probe"])
    return inbound


def _gateway(gateway: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    # The tag is sent to 3.0 as well: without any, the zone tag that it adds makes every later write fail (trap 39).
    tags = {str(key): str(value) for key, value in (gateway.get("tags") or {}).items()}
    tags[SERVICE_TAG] = str(gateway["name"])
    return {"type": "DELEGATED", "tags": dict(sorted(tags.items()))}


def transparent_proxying(wanted: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """``networking.transparentProxying`` of the Dataplane that goes with these options."""
    # A port of 0 says that inbound connections are not redirected, as for a gateway.
    block: t.Dict[str, t.Any] = {
        "redirectPortInbound": int(wanted["redirect_inbound_port"]) if wanted.get("redirect_inbound", True) else 0,
        "redirectPortOutbound": int(wanted["redirect_outbound_port"]),
    }
    if wanted.get("ip_family_mode") == "ipv4":
        block["ipFamilyMode"] = "IPv4"
    return block


def _service_probe(probe: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    # Interval and timeout go together: up to 2.13 one without the other is misread.
    result: t.Dict[str, t.Any] = {
        "interval": str(probe.get("interval") or "10s"),
        "timeout": str(probe.get("timeout") or "2s"),
        "tcp": {},
    }
    for ours, theirs in (("healthy_threshold", "healthyThreshold"), ("unhealthy_threshold", "unhealthyThreshold")):
        if probe.get(ours) is not None:
            result[theirs] = int(probe[ours])
    return result


def _outbound(outbound: t.Mapping[str, t.Any], model: str) -> t.Dict[str, t.Any]:
    result: t.Dict[str, t.Any] = {"address": outbound.get("address") or "127.0.0.1", "port": int(outbound["port"])}
    if outbound.get("backend_ref") or model == "v3":
        reference = dict(outbound.get("backend_ref") or {})
        reference.setdefault("kind", "MeshService")
        if not reference.get("labels"):
            reference.setdefault("name", outbound["service"])
        result["backendRef"] = reference
    else:
        tags = {str(key): str(value) for key, value in (outbound.get("tags") or {}).items()}
        tags[SERVICE_TAG] = outbound["service"]
        result["tags"] = dict(sorted(tags.items()))
    return result


def reference_name(reference: t.Mapping[str, t.Any]) -> str:
    """What a ``backendRef`` refers to; one by labels to the service of that display name."""
    return str(reference.get("name") or (reference.get("labels") or {}).get(DISPLAY_NAME_LABEL) or "")


def outbound_service(outbound: t.Mapping[str, t.Any], aliases: t.Optional[t.Mapping[t.Tuple[str, int], str]] = None) -> t.Optional[str]:
    """The service that an outbound leads to, by tag or by backendRef; ``aliases`` are services by name and port of a backendRef."""
    tags = outbound.get("tags") or {}
    if tags.get(SERVICE_TAG):
        return str(tags[SERVICE_TAG])
    reference = outbound.get("backendRef") or {}
    name = reference_name(reference)
    return (aliases or {}).get((name, int(reference.get("port") or 0)), name) or None


def outbound_ports(dataplane: t.Mapping[str, t.Any], aliases: t.Optional[t.Mapping[t.Tuple[str, int], str]] = None) -> t.Dict[str, int]:
    """``{service: local port}`` of a Dataplane's outbounds."""
    ports = {}
    for outbound in (dataplane.get("networking") or {}).get("outbound") or []:
        service = outbound_service(outbound, aliases)
        if service and outbound.get("port"):
            ports[service] = int(outbound["port"])
    return ports


def inbound_key(inbound: t.Mapping[str, t.Any]) -> t.Tuple[str, int]:
    """What makes an inbound the same one in two versions of a Dataplane: where it listens."""
    return str(inbound.get("address") or ""), int(inbound.get("port") or 0)


def normalise(dataplane: t.Mapping[str, t.Any], release: Numbers) -> Dataplane:
    """A copy in which two Dataplanes that mean the same are equal.

    Dropped: what only answers have (times, ``kri``), ``state`` and ``health`` (the control plane's), labels it computes, the
    zone tag it injects, and defaults, which it leaves out.
    """
    tree = schema.known_fields(release)
    result = t.cast(Dataplane, schema.canonical(dict(dataplane), tree))
    for key in _ANSWER_ONLY:
        result.pop(key, None)
    result["labels"] = {
        key: value for key, value in (result.get("labels") or {}).items() if key not in COMPUTED_LABELS and value is not None
    }
    networking = result.get("networking") or {}
    for inbound in networking.get("inbound") or []:
        inbound.pop("state", None)
        inbound.pop("health", None)
        _drop_zone_tag(inbound)
        for key in ("interval", "timeout"):
            probe = inbound.get("serviceProbe") or {}
            if key in probe:
                probe[key] = go_seconds(probe[key])
    for listener in networking.get("listeners") or []:
        listener.pop("state", None)
    for outbound in networking.get("outbound") or []:
        if outbound.get("address") == "127.0.0.1":
            del outbound["address"]
    gateway = networking.get("gateway")
    if gateway is not None:
        _drop_zone_tag(gateway)
        if gateway.get("type") == "DELEGATED":
            del gateway["type"]
    return t.cast(Dataplane, _compact(result))


def _drop_zone_tag(holder: t.Dict[str, t.Any]) -> None:
    if holder.get("tags"):
        holder["tags"] = {key: value for key, value in holder["tags"].items() if key != ZONE_TAG}


def _compact(value: t.Any) -> t.Any:
    """Without empty values and zeros, and with numbers that arrive as text as numbers: the API leaves defaults out."""
    if isinstance(value, dict):
        compacted = {key: _compact(item) for key, item in value.items()}
        return {key: item for key, item in sorted(compacted.items()) if item not in (None, "", 0, False, {}, [])}
    if isinstance(value, list):
        return [_compact(item) for item in value]
    return value


def difference(desired: t.Mapping[str, t.Any], live: t.Mapping[str, t.Any], release: Numbers, labels: bool = True) -> t.List[str]:
    """The fields in which ``live`` is not what ``desired`` asks for, as paths; empty when there is nothing to write.

    Labels that ``desired`` does not name are somebody else's and never differ; a label with the value None is asked to be
    absent. ``labels`` is false where user labels do not survive.
    """
    wanted, held = normalise(desired, release), normalise(live, release)
    wanted_labels, held_labels = wanted.pop("labels", {}), held.pop("labels", {})
    fields = _differing(wanted, held, "")
    if labels:
        unwanted = {key for key, value in (desired.get("labels") or {}).items() if value is None}
        for key in sorted(set(wanted_labels) | unwanted):
            if wanted_labels.get(key) != held_labels.get(key):
                fields.append('labels["%s"]' % key)
    return fields


def _differing(wanted: t.Any, held: t.Any, path: str) -> t.List[str]:
    if wanted == held:
        return []
    if isinstance(wanted, dict) and isinstance(held, dict):
        fields = []
        for key in sorted(set(wanted) | set(held)):
            inner = "%s.%s" % (path, key) if path else key
            fields.extend(_differing(wanted.get(key), held.get(key), inner))
        return fields
    if isinstance(wanted, list) and isinstance(held, list) and len(wanted) == len(held):
        return [
            field for index, (left, right) in enumerate(zip(wanted, held)) for field in _differing(left, right, "%s[%d]" % (path, index))
        ]
    return [path]


def labels_lost(desired: t.Mapping[str, t.Any], live: t.Mapping[str, t.Any]) -> bool:
    """Whether ``live`` has none of the labels that ``desired`` asks for: a control plane before 2.13 never got, or lost them (trap 16)."""
    wanted = {key for key, value in (desired.get("labels") or {}).items() if value is not None}
    return bool(wanted) and not wanted.intersection(live.get("labels") or {})


def body_for_create(desired: t.Mapping[str, t.Any], initial_state: str, labels: bool = True) -> Dataplane:
    """What to PUT when the control plane has no such Dataplane.

    With ``initial_state`` ``NotReady`` no inbound gets traffic until the control plane has seen its proxy healthy (trap 8).
    """
    body = _without_labels_to_remove(desired, labels)
    for inbound in (body.get("networking") or {}).get("inbound") or []:
        _preset(inbound, initial_state)
    return body


def body_for_update(desired: t.Mapping[str, t.Any], live: t.Mapping[str, t.Any], initial_state: str, labels: bool = True) -> Dataplane:
    """What to PUT over ``live``: ``desired`` with the live ``state`` and ``health`` and with everybody else's labels.

    A PUT replaces the whole resource, so leaving the two out would bring a fenced or dead proxy back into traffic (trap 10).
    An inbound that ``live`` does not have starts as in a creation.
    """
    body = _without_labels_to_remove(desired, labels)
    if labels:
        asked = desired.get("labels") or {}
        foreign = {key: value for key, value in (live.get("labels") or {}).items() if key not in asked and key not in COMPUTED_LABELS}
        merged = {**foreign, **(body.get("labels") or {})}
        if merged:
            body["labels"] = dict(sorted(merged.items()))
    held = {inbound_key(inbound): inbound for inbound in (live.get("networking") or {}).get("inbound") or []}
    for inbound in (body.get("networking") or {}).get("inbound") or []:
        before = held.get(inbound_key(inbound))
        if before is None:
            _preset(inbound, initial_state)
            continue
        for key in ("state", "health"):
            inbound.pop(key, None)
            if key in before:
                inbound[key] = copy.deepcopy(before[key])
    states = {listener.get("name"): listener.get("state") for listener in _listeners(live)}
    for listener in _listeners(body):
        listener.pop("state", None)
        if states.get(listener.get("name")):
            listener["state"] = states[listener.get("name")]
    return body


def _listeners(dataplane: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
    return (dataplane.get("networking") or {}).get("listeners") or []


def _preset(inbound: t.Dict[str, t.Any], initial_state: str) -> None:
    if "state" not in inbound and "health" not in inbound and initial_state == "NotReady":
        inbound["state"] = "NotReady"
        inbound["health"] = {"ready": False}


def _without_labels_to_remove(desired: t.Mapping[str, t.Any], labels: bool) -> Dataplane:
    body = copy.deepcopy(dict(desired))
    for key in _ANSWER_ONLY:
        body.pop(key, None)
    kept = {key: value for key, value in (body.pop("labels", None) or {}).items() if value is not None}
    if kept and labels:
        body["labels"] = kept
    return body
