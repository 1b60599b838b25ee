# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Envoy's admin interface on a unix socket or a port of loopback, and what its answers say. Standard library only."""

from __future__ import annotations

import calendar
import http.client
import ipaddress
import json
import re
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import asking

Address = t.Tuple[str, int]
Endpoints = t.Dict[str, t.FrozenSet[str]]

# The proxy's own listeners, clusters and connection managers: admin, readiness, metrics. Never the traffic of an application.
# A listener on a pipe is kuma-dp's own, which keeps a connection to it for as long as it runs.
_OWN_LISTENER = re.compile(r"_?kuma:|_kuma_|system_|/")
_OWN_CLUSTER = re.compile(r"_?kuma:|_kuma_|system_|(kuma_control_plane|ads_cluster|access_log_sink)\Z")
_OWN_MANAGER = re.compile(r"admin\Z|kuma_envoy_admin\Z|_?kuma[:_](metrics|readiness)|_kuma_|system_")
_STATISTIC = re.compile(r"(listener|http)\.(.+)\.(downstream_(?:rq|cx|pre_cx)_active): (\d{1,20})\Z")
_OF_A_WORKER = re.compile(r"\.(worker_\d+|main_thread)\Z")
# The user of the proxies wrote that file, so blanks must not be matched in more than one way: \s beside \s takes hours for a few thousand of them.
_ADMIN = re.compile(r"^[ \t]*(?:\{[ \t]*)?\"?admin\"?[ \t]*:|\"admin\"\s*:", re.MULTILINE)
# An answer may take as many timeouts as a whole.
_PATIENCE = 3
# More than any number of an Envoy has. Without a limit Python reads one of millions of digits for hours, and older ones have none.
_DIGITS = 40
WORK_FILTER = "downstream_(rq|cx|pre_cx)_active|listener_stopped|control_plane.connected_state"


class AdminError(Exception):
    """The admin interface did not answer, answered with an error, or belongs to another process."""


class Listener(t.NamedTuple):
    """A listener that accepts TCP connections. ``own`` is one of the proxy's own; ``statistics`` its names in statistics."""

    name: str
    addresses: t.FrozenSet[Address]
    reuse_port: bool
    own: bool
    statistics: t.FrozenSet[str]


class Work(t.NamedTuple):
    """What is going on in a proxy, its own listeners aside."""

    requests: int
    connections: int
    pending: int

    @property
    def idle(self) -> bool:
        return not any(self)

    @property
    def cut(self) -> int:
        """How many connections would be cut."""
        return max(self.requests, self.connections + self.pending)


class Certificates(t.NamedTuple):
    """The identities that a proxy has a certificate for, and how many of its certificates are expired."""

    identities: t.FrozenSet[str]
    expired: int


class Admin:
    """The admin interface of one process: a unix socket ``path``, checked to be that of ``pid``, or else a ``port`` of loopback.

    After ``timeout`` seconds of silence it does not answer, and after a few times as many an answer has to be complete.
    """

    def __init__(self, path: str = "", port: int = 0, pid: int = 0, timeout: float = 5.0) -> None:
        self.path, self.port, self.pid, self.timeout = path, port, pid, timeout

    def ask(self, path: str, method: str = "GET") -> t.Tuple[int, str]:
        """Status and text. Raises AdminError when there is no answer."""
        reached = asking.Way(silence=self.timeout, whole=_PATIENCE * self.timeout)
        reached = reached._replace(path=self.path, pid=self.pid) if self.path else reached._replace(host="127.0.0.1", port=self.port)
        try:
            answer = asking.ask(reached, path, method)
        except (OSError, http.client.HTTPException) as exc:
            raise AdminError("%s %s on %s: %s" % (method, path, self.path or "127.0.0.1:%d" % self.port, exc or repr(exc))) from exc
        return answer.status, answer.body.decode("utf-8", "replace")

    def get(self, path: str) -> str:
        """The text of a 200. Raises AdminError for everything else."""
        return self._good(path, "GET")

    def get_json(self, path: str) -> t.Any:
        text = self.get(path)
        try:
            return json.loads(text, parse_int=_number, parse_constant=_number)
        except (ValueError, RecursionError) as exc:
            raise AdminError("GET %s did not answer with JSON: %s" % (path, exc)) from exc

    def post(self, path: str) -> None:
        self._good(path, "POST")

    def live(self) -> bool:
        """Whether this very process has its configuration. A drained one says so as well."""
        return self.ask("/ready")[0] == 200

    def _good(self, path: str, method: str) -> str:
        status, text = self.ask(path, method)
        if status != 200:
            raise AdminError("%s %s answered with %d: %s" % (method, path, status, text.strip()[:200]))
        return text


def _number(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError("a number of %d digits" % len(digits))
    return int(digits)


def admin_of_bootstrap(text: str) -> t.Tuple[str, int]:
    """The admin's unix socket and port as a bootstrap file, YAML or JSON, has them; empty and 0 when it does not tell."""
    start = _ADMIN.search(text)
    if not start:
        return "", 0
    part = text[start.end() : start.end() + 1000]
    found = re.search(r"\"?pipe\"?\s*:[^}]*?\"?path\"?\s*:\s*\"?([^\"\s,}]+)|\"?port_?[vV]alue\"?\s*:\s*(\d{1,20})", part)
    if not found:
        return "", 0
    return found.group(1) or "", int(found.group(2) or 0)


def normal_address(address: str) -> str:
    """One spelling for each IP address."""
    try:
        parsed = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def listeners(dump: t.Mapping[str, t.Any]) -> t.List[Listener]:
    """The active TCP listeners of ``/config_dump?resource=dynamic_listeners``."""
    result = []
    for item in dump.get("configs") or []:
        listener = (item.get("active_state") or {}).get("listener") or {}
        if listener and listener.get("bind_to_port", True) is not False:
            addresses = [listener.get("address") or {}]
            addresses += [more.get("address") or {} for more in listener.get("additional_addresses") or []]
            found = [_socket(address) for address in addresses]
            bound = frozenset(address for address in found if address)
            if bound:
                name = str(listener.get("name") or item.get("name") or "")
                reuse = listener.get("enable_reuse_port", True) is not False
                prefixes = {str(listener["stat_prefix"])} if listener.get("stat_prefix") else {_statistic(*address) for address in bound}
                result.append(Listener(name, bound, reuse, bool(_OWN_LISTENER.match(name)), frozenset(prefixes)))
    return result


def _socket(address: t.Mapping[str, t.Any]) -> t.Optional[Address]:
    where = address.get("socket_address") or {}
    if not where or where.get("protocol") == "UDP":
        return None
    return normal_address(str(where.get("address") or "")), int(where.get("port_value") or 0)


def _statistic(address: str, port: int) -> str:
    """How Envoy spells an address in the names of statistics."""
    host = "[%s]" % address if ":" in address else address
    return ("%s:%d" % (host, port)).replace(":", "_")


def work(statistics: str, own: t.Iterable[str]) -> Work:
    """The work in ``/stats?filter=...``. ``own`` are the names in statistics of the proxy's own listeners."""
    aside = set(own) | {"admin"}
    sums = {"downstream_rq_active": 0, "downstream_cx_active": 0, "downstream_pre_cx_active": 0}
    for line in statistics.splitlines():
        match = _STATISTIC.match(line.strip())
        if not match:
            continue
        kind, prefix, what, value = match.groups()
        counted = what == "downstream_rq_active" if kind == "http" else what != "downstream_rq_active"
        if kind == "http":
            counted = counted and not _OWN_MANAGER.match(prefix)
        else:
            counted = counted and prefix not in aside and not _OF_A_WORKER.search(prefix) and not _OWN_LISTENER.match(prefix)
        if counted:
            sums[what] += int(value)
    return Work(sums["downstream_rq_active"], sums["downstream_cx_active"], sums["downstream_pre_cx_active"])


def stopped(statistics: str) -> bool:
    """Whether its listeners were stopped. Nothing but a restart opens them again, whatever ``/ready`` and ``/listeners`` say."""
    match = re.search(r"^listener_manager\.listener_stopped: (\d{1,20})", statistics, re.MULTILINE)
    return bool(match and int(match.group(1)))


def connected(statistics: str) -> t.Optional[bool]:
    """Whether the stream to the control plane is open; None where the statistics do not tell, as before its first attempt."""
    match = re.search(r"^control_plane\.connected_state: (\d{1,20})", statistics, re.MULTILINE)
    return None if match is None else match.group(1) != "0"


def endpoints(clusters: t.Mapping[str, t.Any]) -> Endpoints:
    """The endpoints by cluster in ``/clusters?format=json``; health and priority do not matter, nor do the proxy's own clusters."""
    result = {}
    for cluster in clusters.get("cluster_statuses") or []:
        name = str(cluster.get("name") or "")
        if not _OWN_CLUSTER.match(name):
            resolved = not cluster.get("eds_service_name")
            known = (_endpoint(host, resolved) for host in cluster.get("host_statuses") or [])
            result[name] = frozenset(endpoint for endpoint in known if endpoint)
    return result


def _endpoint(host: t.Mapping[str, t.Any], resolved: bool) -> str:
    """Two proxies may get different addresses of a name that they resolve themselves: there its name counts."""
    where = (host.get("address") or {}).get("socket_address") or {}
    if not where:
        return ""
    name = host.get("hostname") if resolved else None
    return "%s:%s" % (name or normal_address(str(where.get("address"))), where.get("port_value"))


def certificates(certs: t.Mapping[str, t.Any], now: float) -> Certificates:
    """What ``/certs`` has besides certificates of authorities. ``now`` is in seconds since 1970."""
    identities, expired = set(), 0
    for item in certs.get("certificates") or []:
        for certificate in item.get("cert_chain") or []:
            names = sorted(str(value) for name in certificate.get("subject_alt_names") or [] for value in name.values())
            identities.add(" ".join(names))
            end = str(certificate.get("expiration_time") or "")
            try:
                expired += calendar.timegm(time.strptime(end[:19], "%Y-%m-%dT%H:%M:%S")) <= now
            except ValueError:
                continue
    return Certificates(frozenset(identities), expired)
