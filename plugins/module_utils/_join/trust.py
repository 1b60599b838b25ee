# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What speaks against the CA and the address that proxies get: by what VMs saw there, which host is refused and why. Pure functions.

A reason names no host, so that hosts with one reason are told together.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import certificates
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.certificates import Certificate
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import shown_url
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_day
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some, spoken, together

Json = t.Dict[str, t.Any]

URL, CA = "kuma_dp_control_plane_dp_url", "kuma_dp_control_plane_ca"
MISSING = "the CA that signed the certificate of the control plane, which https wants: PEM text, or a file on the controller"
_PORT = "correct its host or port (that of the dp-server is 5678 unless the control plane was told otherwise)"
_DAY = 86400.0
# Clocks that are less apart are alike: between two looks some time goes by.
_ALIKE = 60.0
# Outcomes that leave no doubt about the others of the same name: proxies of one certificate would fail at another.
_WRONG = ("foreign", "name", "expired", "not_yet", "untrusted", "api", "no_tls", "tls")
_FINE = ("trusted", "plain")


class Wish(t.NamedTuple):
    """What the options of a host say: ``problem`` is why that cannot be asked for, ``authorities`` are those of its CA."""

    url: str
    problem: str
    authorities: t.List[Json]
    warn_before: float

    @classmethod
    def of(cls, url: str, ca: str, warn_before: float) -> Wish:
        problem, authorities = _unfit(url, ca)
        return cls(url, problem, [certificate._asdict() for certificate in authorities], warn_before)


def _unfit(url: str, ca: str) -> t.Tuple[str, t.List[Certificate]]:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and parts.path in ("", "/")
    except ValueError:
        sound = False
    if not sound or parts.username is not None or parts.query or parts.fragment:
        return f"{URL} is {shown_url(url)!r}, expected something like https://control-plane.example.com:5678", []
    if parts.scheme == "http":
        return "", []
    if not ca.strip():
        return f"{CA} is not set, expected {MISSING}", []
    try:
        authorities = certificates.of_pem(ca)
    except ValueError as exc:
        return f"{CA}: {exc}, expected certificates in PEM form", []
    if not authorities:
        return f"{CA} holds no certificate in PEM form, expected the CA that signed the certificate of the control plane", []
    fault = misfit(ca)
    if fault:
        return f"{CA}: {fault}", authorities
    # The control plane looks at the first one alone, and refuses every proxy that brings another.
    if authorities[0].authority is False:
        fault = f"{CA}: its first certificate ({authorities[0].subject}) is no certificate authority, which a control plane refuses"
        return f"{fault}: set it to the CA that signed the certificate of the control plane", authorities
    return "", authorities


def misfit(ca: str) -> str:
    """Why a file with these certificates would be of no use, or would do harm, on a VM; empty where it would not."""
    if certificates.holds_key(ca):
        return (
            "a private key is among the certificates, and everybody on the VMs could read it: take it out, and take the key for a known one"
        )
    number = certificates.overlooked(ca.strip())
    if number:
        return (
            f"certificate {number} is in a form that kuma-dp does not read, expected -----BEGIN CERTIFICATE----- and -----END CERTIFICATE----- in lines "
            "of their own that begin at the margin: write it with | in YAML, not with >, or have openssl x509 write it"
        )
    return ""


@dataclass
class Verdict:
    """``refused`` are the reasons why a host must not go on, ``warnings`` what only deserves to be told.

    ``used`` are the digests of the authorities that make the control plane trusted, ``ends`` when its certificates do.
    """

    refused: t.List[str] = field(default_factory=list)
    warnings: t.List[str] = field(default_factory=list)
    used: t.Set[str] = field(default_factory=set)
    ends: t.List[Certificate] = field(default_factory=list)


def judge(wish: Wish, seen: t.Optional[Json], clocks: t.Tuple[float, float], release: Release, xds_host: str = "") -> Verdict:
    """What becomes of one host. ``seen`` is what its VM saw (None: it was not asked), ``clocks`` the time there and on the controller.

    ``release`` is that of the control plane. With ``xds_host`` it tells proxies another host, and does not look at the one they came by.
    """
    if wish.problem:
        return Verdict(refused=[wish.problem])
    if seen is None:
        return Verdict()
    return _Judge(wish, seen, clocks, release, xds_host).verdict()


class _Judge:
    def __init__(self, wish: Wish, seen: Json, clocks: t.Tuple[float, float], release: Release, xds_host: str) -> None:
        self.wish, self.seen, self.clocks, self.release, self.xds_host = wish, seen, clocks, release, xds_host
        self.authorities = [Certificate(**one) for one in wish.authorities]
        self.told = f"{URL} is {wish.url}"

    def verdict(self) -> Verdict:
        if self.seen["problem"] or not self.seen["servers"]:
            reason = self.seen["problem"] or "it has none"
            name = certificates.printable(self.seen["host"])
            return Verdict(
                refused=[f"{self.told}, and the VM finds no address of {name} ({reason}): correct the name, or the resolver of the VM"]
            )
        groups: t.Dict[t.Tuple[str, str], t.List[Json]] = {}
        for server in self.seen["servers"]:
            groups.setdefault((server["outcome"], str(server["certificate"])), []).append(server)
        found = Verdict()
        outcomes = {outcome for outcome, _certificate in groups}
        fine = bool(outcomes & set(_FINE))
        for (outcome, _certificate), servers in groups.items():
            if outcome in _FINE:
                self._fine(servers[0], found)
            elif outcome in _WRONG or not fine:
                found.refused.append(self._reason(outcome, servers))
            elif not all(":" in server["address"] for server in servers):
                # Many a VM has no way to addresses of version 6, and nobody misses it.
                found.warnings.append(self._reason(outcome, servers) + ". Proxies go to the other addresses of this name")
        return found

    def _fine(self, server: Json, found: Verdict) -> None:
        if server["certificate"] is None:
            return
        certificate = Certificate(**server["certificate"])
        found.used.update(server["trusted_by"])
        found.ends.append(certificate)
        host = host_of(self.wish.url)
        if not self.release.reads_wildcards and not self.xds_host and host not in certificate.names:
            # Trap 32.
            found.refused.append(
                f"{self.told}, and the certificate of the control plane is for {some(certificate.names)}: before 2.14 a control plane wants this "
                f"host literally among them. Use one of these names, or give the control plane a certificate for {host}"
            )

    def _reason(self, outcome: str, servers: t.Sequence[Json]) -> str:
        at = spoken([f"{_bracketed(server['address'])}:{self.seen['port']}" for server in servers])
        detail = f" ({certificates.printable(servers[0]['detail'])[:200]})" if servers[0]["detail"] else ""
        certificate = Certificate(**servers[0]["certificate"]) if servers[0]["certificate"] else None
        simple = {
            "refused": f"nothing listens at {at}{detail}: {_PORT}, or start the control plane",
            "timeout": f"there is no connection to {at} in time: open the port in firewalls between the VM and the control plane, or {_PORT}",
            "skipped": f"there was no time left to ask {at}: the other addresses of this name take no connection",
            "unreachable": f"{at} cannot be reached{detail}: correct the routes of the VM, or {_PORT}",
            "silent": f"what listens at {at} does not begin TLS: {_PORT}",
            "cut": f"{at} closes the connection while TLS begins{detail}: {_PORT}, or wait until the control plane has started",
            "no_tls": f"{at} speaks no TLS: {_PORT}",
            "api": f"{at} is the API of the control plane, and not its dp-server: {_PORT}",
            "tls": f"TLS does not come about with {at}{detail}: make the control plane, or what is before it, take TLS 1.2 or later",
        }
        if outcome in simple:
            return f"{self.told}, and {simple[outcome]}"
        if certificate is None or outcome == "untrusted":
            return f"{self.told}, and the certificate at {at} is not trusted{detail}: set {CA} to the CA that signed it"
        if outcome == "name":
            return (
                f"{self.told}, and the certificate at {at} is for {some(certificate.names) or 'no name at all'}: use one of its names, or give the "
                f"control plane a certificate for {self.seen['host']}"
            )
        if outcome in ("expired", "not_yet"):
            return self._of_time(outcome, certificate, at)
        return self._foreign(certificate, at, detail)

    def _of_time(self, outcome: str, certificate: Certificate, at: str) -> str:
        there, here = self.clocks
        wrong = next((one for one in (certificate, *self.authorities) if not one.valid_at(there)), None)
        if wrong is not None and wrong.valid_at(here) and abs(there - here) > _ALIKE:
            return (
                f"the clock of the VM is {apart(there - here)}, so that for it {wrong.subject} {_when(outcome, wrong)}: "
                "set the clock, and have it kept right (systemd-timesyncd, chrony)"
            )
        if wrong is None:
            return (
                f"{self.told}, and an authority between {certificate.subject} at {at} and {CA} {'has ended' if outcome == 'expired' else 'is not valid yet'}: "
                "have the control plane show another one"
            )
        if wrong is certificate:
            return (
                f"{self.told}, and the certificate of the control plane at {at} ({wrong.subject}) {_when(outcome, wrong)}: renew it there; role "
                "kuma_cp does when it runs"
            )
        return (
            f"{CA}: {wrong.subject} {_when(outcome, wrong)}: give the control plane a certificate of another CA, and set {CA} to that one. "
            "Proxies trust it from their next start on"
        )

    def _foreign(self, certificate: Certificate, at: str, detail: str) -> str:
        ours = some([one.subject for one in self.authorities], 3)
        if certificate.self_signed:
            return (
                f"{self.told}, and the certificate at {at} ({certificate.subject}) is its own authority, and not in {CA} ({ours}): set {CA} to it, "
                "or the address to the control plane of this CA"
            )
        if any(one.subject_id == certificate.issuer_id for one in self.authorities):
            return (
                f"{self.told}, and the certificate at {at} was signed by an authority of the same name as the one in {CA} ({certificate.issuer}) with "
                f"another key: the CA was replaced. Set {CA} to the new one"
            )
        return (
            f"{self.told}, and the certificate at {at} was signed by {certificate.issuer}, while {CA} holds {ours}{detail}: set {CA} to the CA of "
            "this control plane; or, if the signer is one below this CA, have the control plane show its certificate as well"
        )


class Trust(t.NamedTuple):
    """``refused`` are the reasons of hosts that must not go on, ``ends`` what the summary says of certificates:
    ``[{what, subject, not_before, not_after}]``."""

    refused: t.Dict[str, t.List[str]]
    warnings: t.List[str]
    ends: t.List[Json]


def of_fleet(hosts: t.Iterable[t.Mapping[str, t.Any]], release: Release, xds_host: str, now: float) -> Trust:
    """What becomes of the hosts in the play: ``[{host, in_play, variables, observed}]``, where ``variables`` have ``trust``, a Wish.

    ``observed`` has ``dp_server``, what the VM saw, and its ``time`` beside ``clock``, that of the controller at that moment.
    """
    refused: t.Dict[str, t.List[str]] = {}
    warnings: t.Dict[str, t.List[str]] = {}
    authorities: t.Dict[str, Json] = {}
    used: t.Set[str] = set()
    ends: t.List[Certificate] = []
    before = 0.0
    for host in hosts:
        told = (host.get("variables") or {}).get("trust")
        if not host["in_play"] or not told:
            continue
        wish, observed = Wish(**told), host.get("observed") or {}
        there = float(observed.get("time") or now)
        found = judge(wish, observed.get("dp_server"), (there, float(observed.get("clock") or there)), release, xds_host)
        if found.refused:
            refused[host["host"]] = found.refused
        if found.warnings:
            warnings[host["host"]] = found.warnings
        authorities.update((one["sha256"], one) for one in wish.authorities)
        used |= found.used
        ends += found.ends
        before = max(before, wish.warn_before)
    told_ends = [{"what": "CA", **_end(one)} for digest, one in authorities.items() if digest in used]
    if ends:
        first = min(ends, key=lambda certificate: certificate.not_after)
        told_ends.append({"what": "certificate", **_end(first._asdict()), "subject": ""})
    unused = [one for digest, one in authorities.items() if used and digest not in used]
    return Trust(refused, [*together(warnings), *_ending(told_ends, unused, before, now)], told_ends)


def _end(certificate: Json) -> Json:
    return {key: certificate[key] for key in ("subject", "not_before", "not_after")}


def _ending(ends: t.Sequence[Json], unused: t.Sequence[Json], before: float, now: float) -> t.Iterator[str]:
    for end in ends:
        # A certificate that is renewed every few weeks is not told of from its first day on.
        soon = before if end["what"] == "CA" else min(before, (end["not_after"] - end["not_before"]) / 3)
        if end["not_after"] - now < soon:
            when = f"ends on {format_day(end['not_after'])}, in {days(end['not_after'] - now)}"
            if end["what"] == "CA":
                yield f"The CA of the control plane ({end['subject']}) {when}: every proxy loses the control plane then. Run meshfleet.kuma.rotate_ca before."
            else:
                yield f"The certificate of the control plane {when}: renew it, which role kuma_cp does when it runs."
    for one in unused:
        if one["not_after"] < now:
            yield f"{CA} holds {one['subject']} as well, which ended on {format_day(one['not_after'])} and is not needed: take it out."


def lines(ends: t.Sequence[Json], now: float) -> t.List[str]:
    """What the summary says."""
    told = []
    for end in ends:
        subject = f" ({end['subject']})" if end["subject"] else ""
        told.append(
            f"{end['what']} of the control plane{subject}: until {format_day(end['not_after'])}, {days(end['not_after'] - now)} left"
        )
    return told


def days(seconds: float) -> str:
    count = int(seconds // _DAY)
    return f"{count} day{'' if count == 1 else 's'}"


def _when(outcome: str, certificate: Certificate) -> str:
    return (
        f"ended on {format_day(certificate.not_after)}"
        if outcome == "expired"
        else f"is not valid before {format_day(certificate.not_before)}"
    )


def apart(seconds: float) -> str:
    """How far a clock is off, roughly, so that VMs that are alike are told together."""
    for size, unit in ((365 * _DAY, "year"), (_DAY, "day"), (3600.0, "hour"), (60.0, "minute")):
        count = round(abs(seconds) / size)
        if abs(seconds) >= size:
            return f"about {count} {unit}{'' if count == 1 else 's'} {'ahead' if seconds > 0 else 'behind'}"
    return "some seconds off"


def host_of(url: str) -> str:
    """The host as it is written: a control plane before 2.14 compares letters."""
    return re.sub(r":[0-9]*\Z", "", urlsplit(url).netloc).strip("[]")


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
