# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Which generation of Dataplanes is written, what a service is called in it, and what would get lost. Pure functions.

``v2``: services are tags of inbounds. ``v3``: services are workloads, protocols are fields, outbounds refer to a MeshService.
In a mesh of 2.x whose mode is Exclusive inbounds have tags and outbounds refer to a MeshService all the same.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers, Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource

Proxy = t.Mapping[str, t.Any]
Target = t.Tuple[str, int]

CHOICES = ("auto", "v2", "v3")
EXCLUSIVE = "Exclusive"

_NO_TAGS_VARIABLE = "KUMA_EXPERIMENTAL_INBOUND_TAGS_DISABLED=true"


class Rules(t.NamedTuple):
    """How Dataplanes of a mesh are written. ``exclusive``: outbounds need a ``backendRef``, whatever the generation."""

    model: str = "v2"
    exclusive: bool = False

    @property
    def by_workload(self) -> bool:
        """Whether a MeshService is a workload; otherwise it is a value of the tag kuma.io/service."""
        return self.model == "v3"

    @property
    def by_reference(self) -> bool:
        return self.exclusive or self.model == "v3"


def mode_of(mesh: t.Mapping[str, t.Any]) -> str:
    """``meshServices.mode`` of a Mesh; ``Disabled`` is the default."""
    return str((mesh.get("meshServices") or {}).get("mode") or "Disabled")


def asked(hosts: t.Iterable[t.Mapping[str, t.Any]]) -> t.Tuple[str, t.List[str]]:
    """``kuma_dp_api`` of the hosts in play, and what is wrong with it. A fleet has one."""
    found: t.Dict[str, t.List[str]] = {}
    for host in hosts:
        if host["in_play"]:
            found.setdefault(str((host.get("variables") or {}).get("api") or "auto"), []).append(str(host["host"]))
    problems = [
        "%s: kuma_dp_api is %r, expected one of %s" % (names[0], value, ", ".join(CHOICES))
        for value, names in sorted(found.items())
        if value not in CHOICES
    ]
    if len(found) > 1:
        problems.append(
            "kuma_dp_api differs within the fleet (%s), expected one: set it for the whole group"
            % ", ".join("%s on %s" % (value, ", ".join(sorted(names)[:3])) for value, names in sorted(found.items()))
        )
    return (min(found) if len(found) == 1 and not problems else "auto"), problems


def choose(wish: str, release: Numbers, mode: str, tags_disabled: bool) -> t.Tuple[Rules, t.List[str]]:
    """The rules for a control plane, and why ``wish`` (one of CHOICES) cannot be had there.

    ``mode`` is ``meshServices.mode`` of the mesh, ``tags_disabled`` whether the control plane takes workloads for services although it is
    a 2.x. What it would refuse, or drop without a word, is refused here.
    """
    known = Release(*release)
    exclusive = mode == EXCLUSIVE and known.has_tags
    new_ways = known.has_protocols and tags_disabled and mode == EXCLUSIVE
    native = "v3" if new_ways else known.model
    rules = Rules(native if wish == "auto" else wish, exclusive)
    version = "%d.%d" % release[:2]
    if rules.model == native:
        return rules, []
    if wish == "v2":
        lost = (
            "drops tags and outbounds by kuma.io/service without a word"
            if not known.has_tags
            else "takes the protocol of a service from inbound.protocol alone (%s)" % _NO_TAGS_VARIABLE
        )
        return rules, ["kuma_dp_api is v2, but this control plane (%s) %s: expected auto or v3" % (version, lost)]
    if not known.has_protocols:
        lost = "drops inbound.protocol without a word and refuses inbounds without the tag kuma.io/service"
        return rules, ["kuma_dp_api is v3, but this control plane (%s) %s: expected auto or v2, or 2.14 or later" % (version, lost)]
    missing = []
    if mode != EXCLUSIVE:
        missing.append("meshServices.mode of the Mesh is %s, where inbounds without tags cannot be updated (expected Exclusive)" % mode)
    if not tags_disabled:
        missing.append("it makes MeshServices of the tag kuma.io/service (expected %s on it)" % _NO_TAGS_VARIABLE)
    return rules, ["kuma_dp_api is v3, but with this control plane (%s) nobody would be called: %s" % (version, "; ".join(missing))]


def targets(proxies: t.Iterable[Proxy], live: t.Iterable[t.Mapping[str, t.Any]], rules: Rules) -> t.Dict[str, t.List[Target]]:
    """``{service: [(name of its MeshService, port)]}``: as the inventory has it, else as Dataplanes of the mesh do."""
    found: t.Dict[str, t.List[Target]] = {}
    for proxy in proxies:
        seen: t.Set[str] = set()
        for service in proxy["services"]:
            name = proxy["workload"] if rules.by_workload else service["name"]
            if service["name"] not in seen and name:
                # Of a service with two ports on one proxy the first one counts.
                seen.add(service["name"])
                places = found.setdefault(service["name"], [])
                if (name, int(service["port"])) not in places:
                    places.append((name, int(service["port"])))
    for dataplane in live:
        for inbound in (dataplane.get("networking") or {}).get("inbound") or []:
            workload = (dataplane.get("labels") or {}).get(resource.WORKLOAD_LABEL)
            service = workload if rules.by_workload else (inbound.get("tags") or {}).get(resource.SERVICE_TAG)
            if service:
                found.setdefault(str(service), [(str(service), int(inbound.get("port") or 0))])
    return found


def reference(upstream: t.Mapping[str, t.Any], found: t.Sequence[Target], rules: Rules) -> t.Tuple[t.Optional[t.Dict[str, t.Any]], str]:
    """``(backendRef of an upstream or None, what is wrong)``; ``found`` are the :func:`targets` of its service."""
    result = dict(upstream.get("backend_ref") or {})
    if not result and not rules.by_reference:
        return None, ""
    result.setdefault("kind", "MeshService")
    whole = "name" in result or "labels" in result
    if result["kind"] == "MeshExternalService":
        return (result if whole else dict(result, name=upstream["service"])), ""
    if not found and "port" not in result:
        return None, "no host offers %s, so its port is not known, expected backend_ref: {port: <port>}" % upstream["service"]
    if len({name for name, _port in found}) > 1 and not whole:
        return None, "%s belongs to the workloads %s, and a MeshService is one of them, expected one kuma_dp_workload, or backend_ref" % (
            upstream["service"],
            " and ".join(sorted({name for name, _port in found})),
        )
    if not whole:
        result["name"] = found[0][0] if found else upstream["service"]
    result.setdefault("port", found[0][1] if found else 0)
    return result, ""


def aliases(proxies: t.Iterable[Proxy], rules: Rules) -> t.Dict[Target, str]:
    """``{(name in a backendRef, port): service}``, by which ports that outbounds have already are found again."""
    found: t.Dict[Target, str] = {}
    for proxy in proxies:
        for upstream in proxy["upstreams"]:
            given = upstream.get("backend_ref") or {}
            name = resource.reference_name(given)
            if name:
                found.setdefault((name, int(given.get("port") or 0)), upstream["service"])
        for service in proxy["services"] if rules.by_workload else []:
            if proxy["workload"]:
                found.setdefault((proxy["workload"], int(service["port"])), service["name"])
    return found


def lost(proxy: Proxy, rules: Rules, release: Numbers) -> t.List[str]:
    """What of a proxy of the inventory the generation has no place for: it would be refused, dropped without a word, or not work."""
    problems: t.List[str] = []
    where = "%s: %s" % (proxy["host"], proxy["field"])
    if not Release(*release).has_protocols and not proxy["services"] and not proxy["gateway"]:
        problems.append(
            "%sservices: there are none, and this control plane (%d.%d) refuses a proxy without inbounds, expected a service, if only one that "
            "nobody calls, a gateway, or 2.14 or later" % (where, release[0], release[1])
        )
    if rules.by_reference:
        kind = "3.0" if rules.by_workload else "a mesh with meshServices.mode Exclusive"
        problems.extend(
            "%supstreams: the tags of %s choose nothing in %s, expected no tags: make a service of its own, or a policy"
            % (where, upstream["service"], kind)
            for upstream in proxy["upstreams"]
            if upstream.get("tags")
        )
    if rules.exclusive and not rules.by_workload:
        problems.extend(
            "%sservices: name is %r, expected letters, digits and -, at most 63, starting with a letter: others get no MeshService in a mesh "
            "with meshServices.mode Exclusive" % (where, service["name"])
            for service in proxy["services"]
            if not checks.is_rfc1035(service["name"])
        )
    if rules.by_workload:
        problems.extend(_tags_as_labels(proxy, where))
    return problems


def _tags_as_labels(proxy: Proxy, where: str) -> t.List[str]:
    """A Dataplane has one value for each label, where each inbound had its own for a tag."""
    values: t.Dict[str, t.Set[str]] = {}
    for service in proxy["services"]:
        for key, value in (service.get("tags") or {}).items():
            values.setdefault(str(key), set()).add(str(value))
    problems = []
    for key, found in sorted(values.items()):
        if key in proxy["labels"]:
            found = found | {proxy["labels"][key]}
        if len(found) > 1:
            problems.append(
                "%sservices: the tag %s has the values %s, but becomes one label of the Dataplane, expected one value, or a proxy for each "
                "(kuma_dp_proxies)" % (where, key, " and ".join(sorted(found)))
            )
    return problems


def conflicts(proxies: t.Sequence[Proxy], in_play: t.Container[str], rules: Rules) -> t.List[str]:
    """Proxies whose ports differ from those of the others of their MeshService: the control plane leaves them out and only logs it."""
    problems = []
    first: t.Dict[str, t.Tuple[Proxy, t.List[t.Tuple[int, str, str]]]] = {}
    for proxy in proxies if rules.by_reference else []:
        for name, ports in _mesh_services(proxy, rules).items():
            other, expected = first.setdefault(name, (proxy, ports))
            if ports != expected and (proxy["host"] in in_play or other["host"] in in_play):
                problems.append(
                    "%s: %sservices: %s is one MeshService, and %s has the ports %s in it, expected those of %s (%s): the same on every VM, or %s"
                    % (
                        proxy["host"],
                        proxy["field"],
                        name,
                        proxy["name"],
                        _ports(ports),
                        other["name"],
                        _ports(expected),
                        "another kuma_dp_workload" if rules.by_workload else "another name",
                    )
                )
    return problems


def _mesh_services(proxy: Proxy, rules: Rules) -> t.Dict[str, t.List[t.Tuple[int, str, str]]]:
    found: t.Dict[str, t.List[t.Tuple[int, str, str]]] = {}
    for service in proxy["services"]:
        name = proxy["workload"] if rules.by_workload else service["name"]
        inbound = service.get("inbound_name") or (service["name"] if rules.by_workload else "")
        if name:
            found.setdefault(name, []).append((int(service["port"]), str(inbound), service["protocol"]))
    return {name: sorted(ports) for name, ports in found.items()}


def _ports(ports: t.Iterable[t.Tuple[int, str, str]]) -> str:
    return ", ".join(" ".join(filter(None, [str(port), name, protocol])) for port, name, protocol in ports)
