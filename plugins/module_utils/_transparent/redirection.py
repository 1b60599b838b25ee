# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Transparent proxying: what kumactl is told, which rules are its own, and what has to be done. Pure functions.

Standard library only: it also runs outside of modules.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks

Settings = t.Dict[str, t.Any]
Rules = t.Dict[str, t.List[str]]

# What kumactl names its chains, and how it marks the rules that it puts into the chains of others.
CHAIN = "KUMA_MESH"
COMMENT = "kuma/mesh/transparent/proxy"
# Where Envoy's connections to the application come from when it passes something through.
PASSTHROUGH = ("127.0.0.6", "::6")
# kumactl can take away its rules from this release on (trap 48).
FIRST_RELEASE = (2, 9)
# `kumactl uninstall` looks for one of these, whatever `install` was told (trap 48).
OWNER_NAME, OWNER_UID = "kuma-dp", 5678
FAMILY_MODES = ("dualstack", "ipv4")
FAMILIES = {"ipv4": "iptables", "ipv6": "ip6tables"}

_RANGE = re.compile(r"[0-9]+(-[0-9]+)?\Z")
_UIDS = re.compile(r"(?:(?:(tcp|udp|\*)?:)?([0-9*,-]*):)?([0-9]+(?:-[0-9]+)?)\Z")
_VNET = re.compile(r"[^\s:,]+:\S+\Z")


def problems(wanted: t.Mapping[str, t.Any]) -> t.List[str]:
    """Everything that is wrong with the options, as sentences that name the option, what was found and what was expected.

    ``wanted``: ``version``, ``redirect_inbound_port``, ``redirect_outbound_port``, ``redirect_dns_port``, ``redirect_dns``,
    ``redirect_all_dns_traffic``, ``exclude_inbound_ports``, ``exclude_outbound_ports``, ``exclude_outbound_ports_for_uids``,
    ``exclude_inbound_ips``, ``exclude_outbound_ips``, ``ip_family_mode``, ``vnet``, ``ssh_ports``, ``dns_enabled``.
    """
    found: t.List[str] = []
    release = tuple(int(number) for number in re.findall(r"[0-9]+", str(wanted.get("version") or ""))[:2])
    if release and release < FIRST_RELEASE:
        found.append(
            "version is %s, expected 2.9 or later: kumactl before it cannot take its rules away, and adds them a second time when it is "
            "run again" % wanted["version"]
        )
    if wanted.get("ip_family_mode") not in FAMILY_MODES:
        found.append("ip_family_mode is %s, expected %s" % (_shown(wanted.get("ip_family_mode")), " or ".join(FAMILY_MODES)))
    ports = {}
    for option in ("redirect_inbound_port", "redirect_outbound_port", "redirect_dns_port"):
        if not checks.is_port(wanted.get(option)):
            found.append("%s is %s, expected a port from 1 to 65535" % (option, _shown(wanted.get(option))))
        elif option != "redirect_dns_port":
            ports[option] = int(wanted[option])
    if len(ports) == 2 and len(set(ports.values())) == 1:
        found.append("redirect_inbound_port and redirect_outbound_port are both %d, expected different ports" % min(ports.values()))
    for option in ("exclude_inbound_ports", "exclude_outbound_ports", "ssh_ports"):
        found.extend(
            "%s has %s, expected a port from 1 to 65535" % (option, _shown(item))
            for item in wanted.get(option) or []
            if not checks.is_port(item)
        )
    for option in ("exclude_inbound_ips", "exclude_outbound_ips"):
        found.extend(
            "%s has %s, expected an IP address or a network such as 10.0.0.0/8" % (option, _shown(item))
            for item in wanted.get(option) or []
            if not _is_network(str(item))
        )
    found.extend(
        "exclude_outbound_ports_for_uids has %s, expected [[protocol:]ports:]uids such as tcp:5432:1000 or 1000-1010" % _shown(item)
        for item in wanted.get("exclude_outbound_ports_for_uids") or []
        if not _is_uid_rule(str(item))
    )
    found.extend(
        "vnet has %s, expected an interface and its network such as docker0:172.17.0.0/16" % _shown(item)
        for item in wanted.get("vnet") or []
        if not (_VNET.match(str(item)) and _is_network(str(item).partition(":")[2]))
    )
    if wanted.get("redirect_dns") and wanted.get("redirect_all_dns_traffic"):
        found.append("redirect_dns and redirect_all_dns_traffic are both set, expected one of them")
    elif (wanted.get("redirect_dns") or wanted.get("redirect_all_dns_traffic")) and wanted.get("dns_enabled") is False:
        found.append("redirect_dns or redirect_all_dns_traffic is set, expected kuma_dp_dns_enabled: true, or nobody answers there")
    return found


def _is_port_range(value: t.Any) -> bool:
    text = str(value)
    if isinstance(value, bool) or not _RANGE.match(text):
        return False
    ends = [int(end) for end in text.split("-")]
    return all(1 <= end <= 65535 for end in ends) and ends == sorted(ends)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _is_uid_rule(text: str) -> bool:
    match = _UIDS.match(text)
    if not match:
        return False
    ports = (match.group(2) or "*").split(",")
    return ports == ["*"] or all(_is_port_range(port) for port in ports)


def _shown(value: t.Any) -> str:
    return "not set" if value in (None, "") else repr(value)


def settings(wanted: t.Mapping[str, t.Any], ssh_ports: t.Iterable[int], controllers: t.Iterable[str]) -> Settings:
    """What the boot unit is to apply: ``{kumactl, arguments, controllers}``.

    ``ssh_ports`` are those of the connection that Ansible came by, always excluded on inbound (trap 48). ``controllers`` are
    addresses that nothing is redirected to, so that not even an answer that the kernel takes for a new connection goes astray.
    """
    arguments = ["--kuma-dp-user", str(wanted["user"]), "--ip-family-mode", str(wanted["ip_family_mode"])]
    arguments += ["--redirect-outbound-port", str(wanted["redirect_outbound_port"])]
    arguments += ["--redirect-inbound-port", str(wanted["redirect_inbound_port"])]
    if not wanted.get("redirect_inbound", True):
        arguments.append("--redirect-inbound=false")
    inbound = [*map(str, ssh_ports), *map(str, wanted.get("ssh_ports") or []), *map(str, wanted.get("exclude_inbound_ports") or [])]
    arguments += _listed("--exclude-inbound-ports", _ordered(inbound))
    arguments += _listed("--exclude-outbound-ports", _ordered(map(str, wanted.get("exclude_outbound_ports") or [])))
    for option in ("redirect_dns", "redirect_all_dns_traffic"):
        if wanted.get(option):
            arguments += [_flag(option), _flag("redirect_dns_port"), str(wanted["redirect_dns_port"])]
    for option in ("exclude_outbound_ports_for_uids", "exclude_inbound_ips", "exclude_outbound_ips", "vnet"):
        for item in sorted({str(item) for item in wanted.get(option) or []}):
            arguments += [_flag(option), item]
    for option in ("drop_invalid_packets", "skip_dns_conntrack_zone_split"):
        if wanted.get(option):
            arguments.append(_flag(option))
    return {"kumactl": str(wanted["kumactl"]), "arguments": arguments, "controllers": sorted(set(controllers))}


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")


def _listed(flag: str, items: t.Sequence[str]) -> t.List[str]:
    return [flag, ",".join(items)] if items else []


def _ordered(ports: t.Iterable[str]) -> t.List[str]:
    return sorted(set(ports), key=int)


def install_command(held: t.Mapping[str, t.Any], dry_run: bool = False) -> t.List[str]:
    controllers = [word for address in held["controllers"] for word in ("--exclude-outbound-ips", address)]
    return [held["kumactl"], "install", "transparent-proxy", *(["--dry-run"] if dry_run else []), *held["arguments"], *controllers]


def uninstall_command(held: t.Mapping[str, t.Any]) -> t.List[str]:
    return [held["kumactl"], "uninstall", "transparent-proxy"]


def same(held: t.Optional[t.Mapping[str, t.Any]], wanted: t.Mapping[str, t.Any], exclude_controller: bool) -> bool:
    """Whether what was applied is what is wanted. Another controller than the one that is excluded is no difference."""
    if not held or any(held.get(key) != wanted[key] for key in ("kumactl", "arguments")):
        return False
    return exclude_controller or not held.get("controllers")


def rules_of(saved: str) -> t.List[str]:
    """kumactl's own lines in the output of iptables-save, each with its table in front; counters and other people's left out."""
    table = ""
    found: t.List[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":" + CHAIN):
            found.append("%s -N %s" % (table, line[1:].split()[0]))
        elif line.startswith("-A") and (CHAIN in line or COMMENT in line):
            found.append("%s %s" % (table, line.strip()))
    return found


def vanished(expected: t.Mapping[str, t.Sequence[str]], present: t.Mapping[str, t.Sequence[str]]) -> t.List[str]:
    """Rules that were applied and are gone, and rules that are there instead; empty when all is as it was."""
    found: t.List[str] = []
    for family in sorted(set(expected) | set(present)):
        before, after = list(expected.get(family) or []), list(present.get(family) or [])
        if before != after:
            found.extend("%s: gone: %s" % (family, line) for line in before if line not in after)
            found.extend("%s: not applied by the boot unit: %s" % (family, line) for line in after if line not in before)
            if sorted(before) == sorted(after):
                found.append("%s: the rules are in another order" % family)
    return found


def removals(rules: t.Mapping[str, t.Sequence[str]]) -> t.List[t.List[str]]:
    """The commands that take away these rules one by one: references first, then the chains."""
    commands: t.List[t.List[str]] = []
    for family, lines in sorted(rules.items()):
        tool = FAMILIES[family]
        chains = []
        for line in lines:
            table, verb, rest = line.split(" ", 2)
            if verb == "-N":
                chains.append((table, rest))
            else:
                commands.append([tool, "-w", "-t", table, "-D", *shlex.split(rest)])
        for action in ("-F", "-X"):
            commands.extend([tool, "-w", "-t", table, action, chain] for table, chain in chains)
    return commands


def ssh_connection(environments: t.Iterable[t.Mapping[str, str]]) -> t.Optional[t.Dict[str, t.Any]]:
    """The SSH connection that a process runs in: ``{client, client_port, server, port}``; None when it is no SSH.

    ``environments`` are those of the process and its ancestors, nearest first: sudo drops the variable on its way.
    """
    for environment in environments:
        fields = environment.get("SSH_CONNECTION", "").split()
        if len(fields) == 4 and checks.is_port(fields[1]) and checks.is_port(fields[3]):
            client = fields[0].partition("%")[0]
            return {"client": client, "client_port": int(fields[1]), "server": fields[2].partition("%")[0], "port": int(fields[3])}
    return None


def objection(armed: t.Optional[t.Mapping[str, t.Any]], now: t.Optional[t.Mapping[str, t.Any]]) -> str:
    """Why a connection does not prove that the VM can still be reached; empty when it does.

    ``armed`` is the connection in which the rules were ordered, ``now`` the one that is to confirm them.
    """
    if now is None:
        return "" if armed is None else "this is not an SSH connection, and the rules were ordered in one"
    if now["client"] in PASSTHROUGH:
        return (
            "this connection comes from %s, that is through the proxy: port %d is not excluded, and the VM could not be reached "
            "while the proxy is down" % (now["client"], now["port"])
        )
    if armed and (armed["client"], armed["client_port"]) == (now["client"], now["client_port"]):
        return "this is the connection in which the rules were ordered, which proves nothing about new ones"
    return ""
