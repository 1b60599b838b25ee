# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What is seen of the two sides of a restart, the main proxy and its cover, and what follows from that. Pure functions.

Facts decide which side serves: listening sockets by process, and whether its listeners were stopped. Never ``/ready`` alone.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.envoy import Address, Certificates, Endpoints, Work

# A cover needs as much memory as the main proxy has, and some to breathe.
MEMORY_FACTOR = 1.5
STOPPED_STATES = ("inactive", "failed")


NOTHING: Endpoints = {}


class Side(t.NamedTuple):
    """One proxy as it is. ``bound`` is where its configuration listens (its own listeners aside), ``owned`` where its Envoy does.

    ``admin`` is the port of its admin interface, if it has one. ``connected``: to the control plane; None where Envoy does not tell.
    """

    state: str = "inactive"
    pid: int = 0
    started: float = 0.0
    live: bool = False
    stopped: bool = False
    bound: t.FrozenSet[Address] = frozenset()
    owned: t.FrozenSet[Address] = frozenset()
    admin: t.FrozenSet[Address] = frozenset()
    connected: t.Optional[bool] = None
    reuse_port: bool = True
    endpoints: Endpoints = NOTHING
    certificates: Certificates = Certificates(frozenset(), 0)
    work: t.Optional[Work] = None
    resident: int = 0
    direct: bool = False
    same_user: bool = True
    dns: bool = False
    version: str = ""
    problem: str = ""

    @property
    def gone(self) -> bool:
        """Nothing runs and systemd is not about to start anything."""
        return self.state in STOPPED_STATES and not self.pid

    @property
    def serves(self) -> bool:
        """It has its configuration and accepts on every address of it."""
        return bool(self.pid) and self.live and not self.stopped and self.bound <= self.owned

    @property
    def serves_nobody(self) -> bool:
        """It runs and certainly accepts nothing: it has no Envoy, or one that never had a configuration.

        Sockets tell, as an Envoy that does not answer may serve. One whose listeners were stopped may have connections.
        """
        return bool(self.pid) and not self.live and not self.stopped and not self.owned - self.admin

    @property
    def accepts(self) -> bool:
        """It may accept connections, whether its admin interface answers or not."""
        return bool(self.pid) and not self.stopped and bool(self.owned)

    @property
    def idle(self) -> bool:
        return self.work is not None and self.work.idle

    @property
    def cut(self) -> int:
        """How many connections end with it."""
        return self.work.cut if self.work else 0

    @property
    def identity(self) -> t.List[t.Any]:
        """The process, as it can be kept in a file."""
        return [self.pid, self.started]


class Facts(t.NamedTuple):
    """Both sides and the VM. ``material`` is why the cover has no Dataplane or token, empty when it has.

    ``reshaped``: the proxy comes back with another Dataplane than it has now, which only a Direct proxy does.
    """

    main: Side
    cover: Side
    memory_available: t.Optional[int] = None
    material: str = ""
    good: bool = False
    reshaped: bool = False


def holds(side: Side, bound: t.AbstractSet[Address]) -> bool:
    """Whether a side still accepts on these addresses. Asks the kernel alone, so that a busy admin interface does not count."""
    return bool(side.pid) and not side.stopped and bound <= side.owned


def lacks(side: Side, other: t.Optional[Side] = None, reshaped: bool = False) -> t.List[str]:
    """What a side still lacks to take over from ``other``, or to serve at all; empty when nothing.

    With ``reshaped`` it has another Dataplane, so that only what both have is compared. What the other one knows of the mesh counts only
    while it is connected: one that the control plane refuses keeps what it had.
    """
    if not side.pid:
        return ["its unit is %s" % side.state]
    if side.problem:
        return [side.problem]
    if not side.live:
        return ["it has no configuration yet"]
    if side.stopped:
        return ["its listeners were stopped"]
    missing = ["it does not listen on %s" % _shown(side.bound - side.owned)] if side.bound - side.owned else []
    if other is None:
        return missing
    if other.bound - side.owned and not reshaped:
        missing.append("it does not listen on %s" % _shown(other.bound - side.owned))
    known = other.endpoints if other.connected is not False else NOTHING
    for cluster, wanted in sorted(known.items()):
        if reshaped and cluster not in side.endpoints:
            continue
        if side.endpoints.get(cluster) != wanted:
            found = side.endpoints.get(cluster)
            text = "no such cluster" if found is None else ", ".join(sorted(found)) or "none"
            missing.append("its endpoints of %s are %s, expected %s" % (cluster, text, ", ".join(sorted(wanted)) or "none"))
    if side.certificates.expired:
        missing.append("%d of its certificates are expired" % side.certificates.expired)
    if reshaped and other.certificates.identities and not side.certificates.identities:
        missing.append("it has no certificate")
    if other.certificates.identities - side.certificates.identities and not reshaped and other.connected is not False:
        missing.append("it has no certificate for %s" % ", ".join(sorted(other.certificates.identities - side.certificates.identities)))
    return missing


def _shown(addresses: t.AbstractSet[Address]) -> str:
    return ", ".join(("[%s]:%d" if ":" in address else "%s:%d") % (address, port) for address, port in sorted(addresses))


def why_no_cover(facts: Facts, material: bool = True) -> t.List[str]:
    """Why a restart under cover is impossible; empty when it is possible. ``material``: whether the cover's Dataplane and token count."""
    main = facts.main
    reasons = []
    if not main.serves:
        reasons.append("the proxy does not serve: %s" % "; ".join(lacks(main)))
    if not main.reuse_port:
        reasons.append(
            "its listeners are without reuse_port, so that no second proxy can listen beside it (Kuma 2.13.7 and later have it; "
            "a proxy gets it when it is started after its control plane was upgraded)"
        )
    if main.dns:
        reasons.append("its embedded DNS is enabled, whose ports cannot be shared")
    if not main.same_user:
        reasons.append("it runs as another user than the cover would")
    needed = int(main.resident * MEMORY_FACTOR)
    if facts.memory_available is not None and main.resident and facts.memory_available < needed:
        reasons.append("not enough memory: %d MiB are available, expected %d" % (facts.memory_available >> 20, needed >> 20))
    if material and facts.material:
        reasons.append(facts.material)
    return reasons


def choose(wanted: str, given: t.Sequence[str], facts: Facts) -> t.Tuple[str, t.List[str], str]:
    """``(strategy, reasons why not covered, problem)``; a problem means that nothing must be done."""
    if wanted == "drained":
        return "drained", list(given), ""
    reasons = why_no_cover(facts)
    if not reasons:
        return "cover", [], ""
    if wanted == "cover":
        return "cover", reasons, "a restart under cover was asked for and is impossible: %s" % "; ".join(reasons)
    return "drained", [*given, *reasons], ""
