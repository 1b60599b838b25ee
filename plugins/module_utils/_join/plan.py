# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The plan of a join: what every host of the fleet gets, and everything that speaks against it. Pure functions.

Nothing is written before this plan is free of problems, so all of them are found here and reported together.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers, Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import claims as token_claims
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import generation, resource, status
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import (
    claims,
    gates,
    health,
    inventory,
    lifecycle,
    outbound_ports,
    proxy_ports,
)

Proxy = t.Dict[str, t.Any]


class Fleet:
    """The hosts of an inventory group as they should be, beside what the control plane holds.

    ``hosts``: ``[{host, in_play, variables, observed, templates}]``, where ``variables`` are the role's without prefix, ``observed``
    is what proxy_info found (None where nothing is known) and ``templates`` the texts of Dataplane templates by path. ``overviews`` are the
    mesh's DataplaneOverviews. Hosts that are not in
    the play count for uniqueness and for the outbound map only. One with ``dropped_out`` was in the play until its variables
    failed the role's own check, or until it was unreachable: what is wrong with its variables stops the others, too.
    """

    def __init__(
        self,
        hosts: t.Sequence[t.Mapping[str, t.Any]],
        overviews: t.Sequence[t.Mapping[str, t.Any]],
        model: str,
        release: Numbers,
        labels: bool = True,
        exclusive: bool = False,
        initial_state: str = "NotReady",
    ) -> None:
        self.initial_state = initial_state
        self.model, self.release, self.labels = model, Release(*release), labels
        self.rules = generation.Rules(model, exclusive)
        self.overviews = {str(overview["name"]): overview for overview in overviews}
        self.live = {name: status.dataplane(overview) for name, overview in self.overviews.items()}
        self.problems: t.List[str] = []
        # What stops one host, and nobody else.
        self.refused: t.Dict[str, t.List[str]] = {}
        self.hosts = [dict(host) for host in hosts]
        self.proxies: t.List[Proxy] = []
        for host in self.hosts:
            proxies, problems = inventory.read(host["host"], host.get("variables") or {}, model)
            host["proxies"] = proxies
            if host["in_play"] or host.get("dropped_out"):
                self.problems.extend(problems)
            self.proxies.extend(proxies)
        self.targets = generation.targets(self.proxies, self.live.values(), self.rules)
        self.aliases = generation.aliases(self.proxies, self.rules)

    def plan(self) -> t.Dict[str, t.Dict[str, t.Any]]:
        """``{host: {proxies: [<plan of one proxy>]}}`` for the hosts in play; ``problems`` is complete afterwards."""
        self._check_meshes()
        self._check_unique()
        in_play = {host["host"] for host in self.hosts if host["in_play"]}
        self.problems.extend(generation.conflicts(self.proxies, in_play, self.rules))
        fleet_ports = self._fleet_ports()
        plans = {}
        for host in self.hosts:
            if host["in_play"]:
                self._plan_host(host, fleet_ports)
                plans[host["host"]] = {"proxies": [self._proxy_plan(proxy, host) for proxy in host["proxies"]]}
        self.problems = sorted(set(self.problems))
        return plans

    def _check_meshes(self) -> None:
        meshes: t.Dict[str, str] = {}
        for host in self.hosts:
            if host["in_play"]:
                for proxy in host["proxies"]:
                    meshes.setdefault(proxy["mesh"], host["host"])
        if len(meshes) > 1:
            self.problems.append(
                "the hosts of one play belong to one mesh, found kuma_dp_mesh %s: run the play once per mesh with --limit"
                % ", ".join("%s (%s)" % item for item in sorted(meshes.items()))
            )

    def _check_unique(self) -> None:
        names: t.Dict[str, t.List[Proxy]] = {}
        addresses: t.Dict[str, t.Dict[str, Proxy]] = {}
        for proxy in self.proxies:
            names.setdefault(proxy["name"], []).append(proxy)
            addresses.setdefault(proxy["address"], {}).setdefault(proxy["host"], proxy)
        in_play = {host["host"] for host in self.hosts if host["in_play"]}
        for name, holders in sorted(names.items()):
            hosts = [proxy["host"] for proxy in holders]
            if name and len(holders) > 1 and in_play.intersection(hosts):
                self.problems.append(
                    "%s: kuma_dp_name %s is used %d times (%s), expected a name of its own for every proxy"
                    % (hosts[0], name, len(hosts), ", ".join(hosts))
                )
        for address, by_host in sorted(addresses.items()):
            if address and len(by_host) > 1 and in_play.intersection(by_host):
                hosts = sorted(by_host)
                self.problems.append(
                    "%s: kuma_dp_address %s is the address of %s as well, expected an address of its own for every VM"
                    % (hosts[0], address, ", ".join(hosts[1:]))
                )

    def _fleet_ports(self) -> t.Dict[str, int]:
        """One map for the whole fleet: a service has the same local port on every VM, unless that VM uses another already."""
        port_range = self._range()
        services: t.Set[str] = set()
        pins: t.Dict[str, int] = {}
        reserved: t.Set[int] = set()
        for proxy in self.proxies:
            services.update(upstream["service"] for upstream in proxy["upstreams"])
            reserved.update(claim.port for claim in claims.of_applications(proxy))
            reserved.update(service["port"] for service in proxy["services"])
            reserved.update(proxy["reserved_ports"])
        for proxy in self.proxies:
            for service, port in sorted(_proxy_pins(proxy).items()):
                pins.setdefault(service, port)
        existing = outbound_ports.majority(resource.outbound_ports(dataplane, self.aliases) for dataplane in self.live.values())
        try:
            return outbound_ports.allocate(services, port_range, [existing], _without_conflicts(pins), reserved - set(pins.values()))
        except outbound_ports.OutboundError as error:
            named = sorted(host["host"] for host in self.hosts if host["in_play"])
            self.problems.extend(
                "%s: kuma_dp_outbound_range or kuma_dp_outbound_pins: %s" % (some(named, 3), problem) for problem in error.problems
            )
            return {}

    def _range(self) -> str:
        ranges: t.Dict[str, t.List[str]] = {}
        for host in self.hosts:
            if host["in_play"]:
                value = (host.get("variables") or {}).get("outbound_range")
                ranges.setdefault(str(value or "10001-19999"), []).append(host["host"])
        if len(ranges) > 1:
            self.problems.append(
                "kuma_dp_outbound_range differs within the fleet (%s), expected one range: set it for the whole group"
                % ", ".join("%s on %s" % (value, some(hosts, 3)) for value, hosts in sorted(ranges.items()))
            )
        return min(ranges) if ranges else "10001-19999"

    def _plan_host(self, host: t.Dict[str, t.Any], fleet_ports: t.Mapping[str, int]) -> None:
        observed = host.get("observed") or {}
        for proxy in host["proxies"]:
            proxy["outbounds"] = self._outbounds(proxy, fleet_ports, observed if len(host["proxies"]) == 1 else {})
            self.problems.extend(generation.lost(proxy, self.rules, self.release))
        wanted = [claim for proxy in host["proxies"] for claim in claims.of_proxy(proxy)]
        # The control plane opens <address>:<admin port>/ready as well, so these ports are kept free on every address.
        taken = {claim.port for claim in wanted}
        internal = proxy_ports.allocate(
            [
                {
                    "name": proxy["name"],
                    "pins": proxy["port_pins"],
                    "current": self._current_ports(proxy["name"], observed),
                }
                for proxy in host["proxies"]
            ],
            taken,
        )
        for proxy in host["proxies"]:
            proxy["ports"] = internal[proxy["name"]]
            wanted.extend(
                claims.Claim(checks.ANY_ADDRESS, port, "%s%s_port of %s" % (proxy["field"], kind, proxy["name"]))
                for kind, port in sorted(proxy["port_pins"].items())
            )
        self.problems.extend(claims.collisions(host["host"], wanted))
        self.problems.extend(claims.taken(host["host"], [proxy["name"] for proxy in host["proxies"]], wanted, observed))

    def _outbounds(self, proxy: Proxy, fleet_ports: t.Mapping[str, int], observed: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
        """This proxy's outbounds: pinned, else as it has them now, else as the fleet has them."""
        own = resource.outbound_ports(self.live.get(proxy["name"]) or {}, self.aliases)
        pins = _proxy_pins(proxy)
        variables = {upstream["service"]: upstream for upstream in proxy["upstreams"]}
        if proxy["lifecycle"] == lifecycle.DIRECT:
            own = {**lifecycle.laid_ports(variables, observed), **own}
        wanted = {service: port for service, port in fleet_ports.items() if service in variables}
        if any(own.get(service, port) != port or pins.get(service, port) != port for service, port in wanted.items()):
            low, high = min(fleet_ports.values()), max(fleet_ports.values())
            span = [min([low, *own.values(), *pins.values()]), max([high, *own.values(), *pins.values()])]
            held = {service: port for service, port in own.items() if service in variables}
            try:
                wanted = outbound_ports.allocate(variables, span, [held, wanted], pins)
            except outbound_ports.OutboundError as error:
                self.problems.extend("%s: %s" % (proxy["host"], problem) for problem in error.problems)
        result = []
        for service, port in sorted(wanted.items()):
            outbound: t.Dict[str, t.Any] = {"service": service, "address": outbound_ports.LOOPBACK, "port": port}
            upstream = variables[service]
            if upstream.get("tags"):
                outbound["tags"] = upstream["tags"]
            reference, problem = generation.reference(upstream, self.targets.get(service, ()), self.rules)
            if problem:
                self.problems.append("%s: %supstreams: %s" % (proxy["host"], proxy["field"], problem))
            if reference:
                outbound["backend_ref"] = reference
            result.append(outbound)
        return result

    def _current_ports(self, name: str, observed: t.Mapping[str, t.Any]) -> t.Dict[str, int]:
        environment = ((observed.get("proxies") or {}).get(name) or {}).get("environment") or {}
        current: t.Dict[str, t.Any] = {
            kind: environment.get(variable)
            for kind, variable in (
                ("readiness", "KUMA_READINESS_PORT"),
                ("coredns", "KUMA_DNS_CORE_DNS_PORT"),
                ("envoy_dns", "KUMA_DNS_ENVOY_DNS_PORT"),
                ("dns_prometheus", "KUMA_DNS_PROMETHEUS_PORT"),
            )
        }
        live = (self.live.get(name) or {}).get("networking") or {}
        if name in self.live:
            current["admin"] = (live.get("admin") or {}).get("port") or proxy_ports.DEFAULT_PORTS["admin"]
        return {kind: int(port) for kind, port in current.items() if str(port or "").isdigit()}

    def _check_live(self, proxy: Proxy, desired: resource.Dataplane, live: resource.Dataplane) -> None:
        """Somebody else's Dataplane is not written over, and a fenced proxy gets no inbound that is outside its fence."""
        owners = [str((item.get("labels") or {}).get(resource.OWNER_LABEL) or "") for item in (desired, live)]
        if owners[1] and owners[0] != owners[1]:
            self.refused.setdefault(proxy["host"], []).append(
                "Dataplane %s has the owner %s, expected %s: choose another kuma_dp_name, or set kuma_dp_owner if it is yours"
                % (proxy["name"], owners[1], owners[0] or "none")
            )
        held = {resource.inbound_key(inbound) for inbound in live["networking"].get("inbound") or []}
        fenced = status.fenced(self.overviews[proxy["name"]])
        for inbound in (desired["networking"].get("inbound") or []) if fenced else []:
            if resource.inbound_key(inbound) not in held:
                self.problems.append(
                    "%s: %s is fenced, and port %d would be in traffic nevertheless: lift the fence first, or leave "
                    "kuma_dp_services as it is until then" % (proxy["host"], proxy["name"], inbound["port"])
                )

    def _proxy_plan(self, proxy: Proxy, host: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
        admin = proxy["ports"]["admin"]
        intent = {
            **{key: proxy[key] for key in ("name", "mesh", "address", "services", "gateway", "outbounds", "labels", "workload")},
            "transparent_proxy": proxy["transparent_proxy"],
            "admin_port": admin if admin != proxy_ports.DEFAULT_PORTS["admin"] else None,
        }
        desired = resource.build(intent, self.model, self.labels)
        owner = (host.get("variables") or {}).get("owner")
        if owner and self.labels:
            desired["labels"] = {**desired.get("labels", {}), resource.OWNER_LABEL: str(owner)}
        live = self.live.get(proxy["name"])
        overview = self.overviews.get(proxy["name"])
        direct = self._direct(proxy, desired, host) if proxy["lifecycle"] == lifecycle.DIRECT else {}
        desired = direct.get("dataplane", desired)
        if live is not None:
            self._check_live(proxy, desired, live)
        ready, reasons = status.ready(overview) if overview else (False, ["not registered"])
        observed = ((host.get("observed") or {}).get("proxies") or {}).get(proxy["name"]) or {}
        held = observed.get("token") or {}
        token = {
            "name": proxy["name"],
            "mesh": proxy["mesh"],
            "host": proxy["host"],
            "current": held.get("claims"),
            "current_kid": held.get("kid"),
            **token_claims.of_dataplane(desired, self.release, proxy["token_bind"]),
        }
        connected = health.connected(overview, observed)
        refused = health.refused_token(connected, observed)
        if refused:
            token["refused"] = refused
        fenced = overview is not None and status.fenced(overview)
        return {
            "name": proxy["name"],
            "mesh": proxy["mesh"],
            "address": proxy["address"],
            "dataplane": desired,
            "lifecycle": proxy["lifecycle"],
            "file": direct.get("file", desired),
            "template": direct.get("template", ""),
            "arguments": direct.get("arguments", ""),
            "hold": lifecycle.hold(proxy, overview, fenced),
            "outbounds": proxy["outbounds"],
            "ports": proxy["ports"],
            "workload": proxy["workload"],
            "claims": _claims(proxy, desired),
            "token": token,
            "registered": live is not None,
            "differs": live is None or bool(resource.difference(desired, live, self.release, self.labels)),
            "connected": connected,
            "ready": ready,
            "not_ready_reasons": reasons,
            "labels_lost": live is not None and resource.labels_lost(desired, live),
            "gates": gates.of_proxy(proxy["name"], proxy["services"]),
            "fenced": fenced,
            "privileged_ports": any(service["port"] < 1024 for service in proxy["services"]),
        }

    def _direct(self, proxy: Proxy, desired: resource.Dataplane, host: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
        text = (host.get("templates") or {}).get(proxy["template"])
        planned, problems = lifecycle.plan(proxy, desired, text, self.release, self.labels)
        self.problems.extend(problems)
        return {**planned._asdict(), "file": lifecycle.preset(desired, self.initial_state)}


def _claims(proxy: Proxy, desired: resource.Dataplane) -> t.Dict[str, t.Any]:
    """What the inventory lets a proxy claim, ``{services, workload}``. A Direct one may still run with tags, where 3.0 is to have none."""
    found = token_claims.identity(desired)
    services = {*found["services"], *(str(service["name"]) for service in proxy["services"])}
    return {"services": sorted(services), "workload": found["workload"] or str(proxy["workload"] or "")}


def _proxy_pins(proxy: Proxy) -> t.Dict[str, int]:
    pins = dict(proxy["pins"])
    for upstream in proxy["upstreams"]:
        if upstream.get("port") is not None:
            pins[upstream["service"]] = int(upstream["port"])
    return pins


def _without_conflicts(pins: t.Mapping[str, int]) -> t.Dict[str, int]:
    """Pins for the fleet map: two hosts may pin different services to one port, which only matters on one VM."""
    ports: t.Dict[int, str] = {}
    for service in sorted(pins):
        ports.setdefault(pins[service], service)
    return {service: port for port, service in ports.items()}
