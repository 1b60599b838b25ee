# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for kumactl: `install transparent-proxy` and `uninstall transparent-proxy`, with the rules that the real one makes."""

from __future__ import annotations

import argparse
import ipaddress
import os
import pwd
import re
import subprocess
import sys

VERSION = "2.14.3"
MARK = "kuma/mesh/transparent/proxy"
PREFIX = "KUMA_MESH"
TOOLS = {4: "iptables", 6: "ip6tables"}
LOCALHOST = {4: "127.0.0.1/32", 6: "::1/128"}
PASSTHROUGH = {4: "127.0.0.6/32", 6: "::6/128"}
# Before this release rules could not be recognised, and so not be taken away.
UNINSTALL_SINCE = (2, 9)


class Fatal(Exception):
    """Ends the command with exit code 1 and this message."""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Fatal(message.replace("unrecognized arguments:", "unknown flag:"))


def switch(text):
    return text.lower() in ("true", "1", "t")


def ports(text):
    wrong = [port for port in text.split(",") if text and not (port.isdigit() and 1 <= int(port) <= 65535)]
    if wrong:
        raise Fatal("value '%s' is not a valid port (uint16 in the range [1, 65535])" % wrong[0])
    return text


def parser_of_install():
    parser = Parser(prog="kumactl install transparent-proxy", allow_abbrev=False)
    flags = ["dry-run", "redirect-dns", "redirect-all-dns-traffic", "drop-invalid-packets", "skip-dns-conntrack-zone-split"]
    for flag in flags:
        parser.add_argument("--" + flag, type=switch, nargs="?", const=True, default=False)
    parser.add_argument("--redirect-inbound", type=switch, nargs="?", const=True, default=True)
    for flag, port in (("inbound", 15006), ("outbound", 15001), ("dns", 15053)):
        parser.add_argument("--redirect-%s-port" % flag, type=int, default=port)
    for flag in ("exclude-inbound-ports", "exclude-outbound-ports"):
        parser.add_argument("--" + flag, type=ports, default="")
    parser.add_argument("--kuma-dp-user", default="")
    for flag in ("exclude-inbound-ips", "exclude-outbound-ips", "exclude-outbound-ports-for-uids", "vnet"):
        parser.add_argument("--" + flag, action="append", default=[])
    parser.add_argument("--ip-family-mode", choices=["dualstack", "ipv4"], default="dualstack")
    return parser


def uid_of(name):
    """The UID of a name or number; without one the defaults are looked for."""
    for wanted in [name] if name else ["5678", "kuma-dp"]:
        try:
            return (pwd.getpwuid(int(wanted)) if wanted.isdigit() else pwd.getpwnam(wanted)).pw_uid
        except KeyError:
            continue
    if name:
        raise Fatal("failed to initialize config: the specified UID or username ('%s') does not refer to a valid user on the host" % name)
    raise Fatal(
        "failed to initialize config: no UID or username provided, and user with the default UID ('5678') or username ('kuma-dp') "
        "could not be found"
    )


def name_servers(family):
    try:
        with open("/etc/resolv.conf") as handle:
            found = re.findall(r"^nameserver\s+(\S+)", handle.read(), re.MULTILINE)
    except OSError:
        return []
    return [address for address in found if ipaddress.ip_address(address).version == family]


class Rules:
    """The rules of one family, as iptables-restore reads them."""

    def __init__(self, options, uid, family):
        self.options, self.uid, self.family = options, str(uid), family
        self.raw, self.nat = [], []
        self.inserted = 0

    def text(self):
        options = self.options
        servers = name_servers(self.family) if options.redirect_dns else []
        if (servers or options.redirect_all_dns_traffic) and not options.skip_dns_conntrack_zone_split:
            self._zones([] if options.redirect_all_dns_traffic else servers)
        for name in ("INBOUND", "OUTBOUND", "INBOUND_REDIRECT", "OUTBOUND_REDIRECT"):
            self.nat.append("-N %s_%s" % (PREFIX, name))
        self._add("PREROUTING", "redirect inbound TCP traffic to our custom chain for processing", "-p tcp -j %s_INBOUND" % PREFIX)
        self._exclude()
        self._dns(servers)
        self._add("OUTPUT", "redirect outbound TCP traffic to our custom chain for processing", "-p tcp -j %s_OUTBOUND" % PREFIX)
        self._inbound()
        self._outbound()
        for direction, port in (("INBOUND", options.redirect_inbound_port), ("OUTBOUND", options.redirect_outbound_port)):
            what = "redirect TCP traffic to envoy (port %d)" % port
            self._add("%s_%s_REDIRECT" % (PREFIX, direction), what, "-p tcp -j REDIRECT --to-ports %d" % port)
        tables = [("raw", self.raw), ("nat", self.nat)]
        return "\n".join("* %s\n%s\nCOMMIT" % (table, "\n".join(lines)) for table, lines in tables if lines)

    def _add(self, chain, what, rule):
        self.nat.append('-A %s -m comment --comment "%s/%s" %s' % (chain, MARK, what, rule))

    def _insert(self, what, rule):
        self.inserted += 1
        self.nat.append('-I OUTPUT %d -m comment --comment "%s/%s" %s' % (self.inserted, MARK, what, rule))

    def _zones(self, servers):
        def add(chain, what, rule):
            self.raw.append('-A %s -m comment --comment "%s/assign connection tracking %s" %s' % (chain, MARK, what, rule))

        owner = "-m owner --uid-owner %s" % self.uid
        if not servers:
            add("PREROUTING", "zone 1 to all DNS responses", "-p udp --sport 53 -j CT --zone 1")
        for server in servers:
            add("PREROUTING", "zone 1 to DNS responses from %s" % server, "-s %s -p udp --sport 53 -j CT --zone 1" % server)
        who = "zone 1 to DNS traffic from the kuma-dp user (UID %s)" % self.uid
        add("OUTPUT", who, "-p udp --dport 53 %s -j CT --zone 1" % owner)
        port = self.options.redirect_dns_port
        add("OUTPUT", "zone 2 to DNS responses from the kuma-dp DNS proxy", "-p udp --sport %d %s -j CT --zone 2" % (port, owner))
        if not servers:
            add("OUTPUT", "zone 2 to all DNS requests", "-p udp --dport 53 -j CT --zone 2")
        for server in servers:
            add("OUTPUT", "zone 2 to DNS requests destined for %s" % server, "-d %s -p udp --dport 53 -j CT --zone 2" % server)

    def _mine(self, addresses):
        items = [item for value in addresses for item in value.split(",")]
        return [item for item in items if ipaddress.ip_network(item, strict=False).version == self.family]

    def _exclude(self):
        skip = "skip further processing for configured IP addresses, ports and UIDs"
        for rule in self.options.exclude_outbound_ports_for_uids:
            parts = rule.split(":")
            uids, ports = parts[-1], parts[-2] if len(parts) > 1 else "*"
            protocols = [parts[0]] if len(parts) > 2 and parts[0] != "*" else ["tcp", "udp"]
            for protocol in protocols:
                to = "1:65535" if ports in ("", "*") else ports.replace("-", ":")
                owner = "-m owner --uid-owner %s" % uids.replace("-", ":")
                self._insert(skip, "-m multiport -p %s --dport %s %s -j RETURN" % (protocol, to, owner))
        for address in self._mine(self.options.exclude_outbound_ips):
            self._insert(skip, "-d %s -j RETURN" % address)

    def _dns(self, servers):
        owner = "-m owner --uid-owner %s" % self.uid
        port = self.options.redirect_dns_port
        if not servers and not self.options.redirect_all_dns_traffic:
            return
        self._insert("return early for DNS traffic from kuma-dp", "-p udp --dport 53 %s -j RETURN" % owner)
        what = (
            "allow applications to perform DNS queries over TCP to port 53 without mesh redirection (only traffic not owned by UID %s "
            "(kuma-dp user))" % self.uid
        )
        self._add("OUTPUT", what, "-p tcp --dport 53 -m owner ! --uid-owner %s -j RETURN" % self.uid)
        if self.options.redirect_all_dns_traffic:
            what = "redirect all DNS requests to the kuma-dp DNS proxy (listening on port %d)" % port
            self._insert(what, "-p udp --dport 53 -j REDIRECT --to-ports %d" % port)
        for server in servers:
            what = "redirect DNS requests to %s to the kuma-dp DNS proxy (listening on port %d)" % (server, port)
            self._insert(what, "-d %s -p udp --dport 53 -j REDIRECT --to-ports %d" % (server, port))

    def _inbound(self):
        chain = PREFIX + "_INBOUND"
        if not self.options.redirect_inbound:
            self._add(chain, "inbound traffic redirection is disabled", "-p tcp -j RETURN")
            return
        for address in self._mine(self.options.exclude_inbound_ips):
            self._add(chain, "skip further processing for configured IP address", "-s %s -j RETURN" % address)
        for port in filter(None, self.options.exclude_inbound_ports.split(",")):
            what = "exclude inbound traffic from port %s from redirection" % port
            self._add(chain, what, "-p tcp --dport %s -j RETURN" % port.replace("-", ":"))
        self._add(chain, "redirect all inbound traffic to the custom chain for processing", "-p tcp -j %s_REDIRECT" % chain)

    def _outbound(self):
        chain, local, source = PREFIX + "_OUTBOUND", LOCALHOST[self.family], PASSTHROUGH[self.family]
        for port in filter(None, self.options.exclude_outbound_ports.split(",")):
            what = "exclude outbound traffic from port %s from redirection" % port
            self._add(chain, what, "-p tcp --dport %s -j RETURN" % port.replace("-", ":"))
        what = "prevent traffic loops by ensuring traffic from the sidecar proxy (using %s) to loopback interface is not redirected again"
        self._add(chain, what % source, "-s %s -o lo -j RETURN" % source)
        what = (
            "redirect outbound TCP traffic destined for loopback interface, but not targeting address %s, and owned by UID %s (kuma-dp "
            "user) to %s_INBOUND_REDIRECT chain for proper handling" % (local, self.uid, PREFIX)
        )
        rule = "-p tcp -o lo ! -d %s -m owner --uid-owner %s -j %s_INBOUND_REDIRECT" % (local, self.uid, PREFIX)
        self._add(chain, what, rule)
        what = "return outbound TCP traffic destined for loopback interface, owned by any UID other than %s (kuma-dp user)" % self.uid
        self._add(chain, what, "-p tcp -o lo -m owner ! --uid-owner %s -j RETURN" % self.uid)
        owner = "-m owner --uid-owner %s -j RETURN" % self.uid
        self._add(chain, "return outbound traffic owned by UID %s (kuma-dp user)" % self.uid, owner)
        self._add(chain, "return traffic destined for localhost (%s) to avoid redirection" % local, "-d %s -j RETURN" % local)
        what = "redirect all other outbound traffic to our custom chain for further processing"
        self._add(chain, what, "-j %s_REDIRECT" % chain)


def run(*command, stdin=None):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Fatal("%s: %s" % (" ".join(command), done.stderr.strip()))
    return done.stdout


def families(options):
    return [4] if options.ip_family_mode == "ipv4" else [4, 6]


def cleanup(tool):
    saved = run(tool + "-save")
    if PREFIX not in saved and MARK not in saved:
        return
    if MARK not in saved:
        raise Fatal("transparent proxy rules detected, but expected comments are missing. Please remove them manually")
    kept = [line for line in saved.splitlines() if not line.startswith("#") and MARK not in line and PREFIX not in line]
    run(tool + "-restore", stdin="\n".join(kept) + "\n")


def install(arguments):
    options = parser_of_install().parse_args(arguments)
    if options.redirect_dns and options.redirect_all_dns_traffic:
        raise Fatal("only one of '--redirect-dns' or '--redirect-all-dns-traffic' should be specified")
    uid = uid_of(options.kuma_dp_user)
    texts = {family: Rules(options, uid, family).text() for family in families(options)}
    if options.dry_run:
        print("\n\n".join("### IPv%d ###\n\n%s" % item for item in texts.items()))
        return
    if os.geteuid():
        raise Fatal("you need to have root privileges to run this command")
    for family, text in texts.items():
        cleanup(TOOLS[family])
        run(TOOLS[family] + "-restore", "--noflush", stdin=text + "\n")
    print("transparent proxy setup completed successfully. You can now run kuma-dp with the transparent-proxy feature enabled")


def uninstall(arguments):
    parser = Parser(prog="kumactl uninstall transparent-proxy", allow_abbrev=False)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args(arguments)
    uid_of("")
    if tuple(int(part) for part in VERSION.split(".")[:2]) < UNINSTALL_SINCE:
        raise Fatal("cleanup is not supported")
    for tool in TOOLS.values() if not options.dry_run else []:
        cleanup(tool)
    print("transparent proxy cleanup completed successfully")


def main(arguments):
    if arguments[:1] == ["version"]:
        print("Client: Kuma %s" % VERSION)
    elif arguments[:2] == ["install", "transparent-proxy"]:
        install(arguments[2:])
    elif arguments[:2] == ["uninstall", "transparent-proxy"]:
        uninstall(arguments[2:])
    else:
        raise Fatal('unknown command "%s" for "kumactl"' % " ".join(arguments[:2]))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Fatal as error:
        sys.stderr.write("Error: %s\n" % error)
        sys.exit(1)
