# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""A CA of its own for one control plane, made by openssl where the control plane runs; no private key leaves the VM."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import tempfile
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane import tls
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner

CA_DAYS = 3650
# A CA that is younger than this was made by the rollover that somebody runs again.
FRESH = 86400.0
# Where a rollover of the CA is: its successor is there, or signs already.
PREPARED, SWITCHED = "prepared", "switched"
_DAY = 86400
_EXTENSIONS = """[req]
distinguished_name = subject
prompt = no
[subject]
CN = %(subject)s
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
authorityKeyIdentifier = keyid
subjectAltName = %(names)s
"""


class Paths(t.NamedTuple):
    """The files of an authority and of the certificate that it signed."""

    ca: str
    ca_key: str
    certificate: str
    key: str


def paths_in(directory: str) -> Paths:
    return Paths(*(os.path.join(directory, name) for name in ("ca.pem", "ca-key.pem", "server.pem", "server-key.pem")))


class Rollover(t.NamedTuple):
    """The files of a CA that succeeds the present one, and of the one that it succeeded. They say how far a rollover is."""

    next: str
    next_key: str
    previous: str

    @property
    def stage(self) -> str:
        """``PREPARED``, ``SWITCHED``, or empty while there is none."""
        if safely.exists(self.next):
            return PREPARED
        return SWITCHED if safely.exists(self.previous) else ""


def rollover_in(directory: str) -> Rollover:
    return Rollover(*(os.path.join(directory, name) for name in ("ca-next.pem", "ca-next-key.pem", "ca-previous.pem")))


class Finding(t.NamedTuple):
    """Why a certificate has to be signed; ``seen`` is the present one, when clients accept it, and ``new_ca`` whether there is no CA."""

    reasons: t.List[str]
    seen: t.Optional[tls.Certificate]
    new_ca: bool


def examine(paths: Paths, names: t.Sequence[str], renew_before_days: int, now: float) -> Finding:
    """Compare what is there with what it has to be. Raises ModuleFailed when the CA is there and can sign no more."""
    if not safely.exists(paths.ca):
        return Finding(["there is no CA"], None, True)
    if not safely.exists(paths.certificate):
        return Finding(["there is no certificate"], None, False)
    try:
        seen = tls.accepted(paths.certificate, paths.key, paths.ca)
    except ValueError as exc:
        return Finding(["clients refuse the certificate: %s" % exc], None, False)
    reasons = []
    added, gone = sorted(set(names) - seen.names), sorted(seen.names - set(names))
    if added or gone:
        reasons.append("it is for %s, expected %s" % (", ".join(sorted(seen.names)), ", ".join(names)))
    if seen.not_after - now < renew_before_days * _DAY:
        reasons.append("it ends on %s" % day(seen.not_after))
    return Finding(reasons, seen, False)


def day(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d")


class Authority:
    """Makes the CA when there is none, and signs. ``own`` gives a file its owner: ``own(path, for_server)``."""

    def __init__(self, paths: Paths, run: Runner, own: t.Callable[[str, bool], None]) -> None:
        self.paths = paths
        self.run = run
        self.own = own

    def sign(self, subject: str, names: t.Sequence[str], days: int, new_ca: bool) -> None:
        """Write a certificate for ``names``. Every file is complete before it takes its place. Raises ModuleFailed."""
        with self._place() as directory:
            new = paths_in(directory)
            if new_ca:
                self._make_ca(new, subject)
            elif not safely.exists(self.paths.ca_key):
                raise ModuleFailed(_no_key(self.paths))
            ca = new if new_ca else self.paths
            self._sign(new, ca.ca, ca.ca_key, subject, names, days)
            if new_ca:
                self._install(new.ca_key, self.paths.ca_key, 0o600)
                self._install(new.ca, self.paths.ca, 0o644)
            self._install_server(new)

    def prepare(self, rollover: Rollover, subject: str) -> None:
        """Make the CA that is to succeed the present one. Nothing is signed with it yet."""
        with self._place() as directory:
            new = paths_in(directory)
            self._make_ca(new, subject)
            # Without its certificate a key is none of a rollover.
            self._install(new.ca_key, rollover.next_key, 0o600)
            self._install(new.ca, rollover.next, 0o644)

    def switch(self, rollover: Rollover, subject: str, names: t.Sequence[str], days: int) -> None:
        """Sign with the next CA, which takes the place of the present one. What is interrupted is done again from its beginning."""
        with self._place() as directory:
            new = paths_in(directory)
            self._sign(new, rollover.next, rollover.next_key, subject, names, days)
            if not safely.exists(rollover.previous):
                safely.write(new.ca, safely.read(self.paths.ca), 0o644)
                self._install(new.ca, rollover.previous, 0o644)
            self._install_server(new)
            safely.move(rollover.next, self.paths.ca)
            self.settle(rollover)

    def settle(self, rollover: Rollover) -> None:
        """The last step of a switch that was interrupted before it: the key goes where its certificate is."""
        if rollover.stage == SWITCHED and safely.exists(rollover.next_key):
            safely.move(rollover.next_key, self.paths.ca_key)

    @contextlib.contextmanager
    def _place(self) -> t.Iterator[str]:
        directory = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(self.paths.ca))
        try:
            yield directory
        finally:
            shutil.rmtree(directory)

    def _make_ca(self, new: Paths, subject: str) -> None:
        # Two authorities of one name would be told apart by their keys alone.
        since = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
        config = _configuration(new, "%s CA %s" % (subject[: 64 - len(since) - 4], since), "DNS:none.invalid")
        self._key(new.ca_key)
        self_signed = ["-new", "-x509", "-extensions", "ca", "-days", str(CA_DAYS), "-key", new.ca_key, "-out", new.ca]
        self._openssl(["req", "-sha256", "-config", config, *self_signed])

    def _sign(self, new: Paths, ca: str, ca_key: str, subject: str, names: t.Sequence[str], days: int) -> None:
        kinds = ["%s:%s" % ("IP" if checks.is_ip(name) else "DNS", name) for name in names]
        config = _configuration(new, subject, ", ".join(kinds))
        self._key(new.key)
        request = os.path.join(os.path.dirname(new.key), "request")
        self._openssl(["req", "-new", "-sha256", "-config", config, "-key", new.key, "-out", request])
        signer = ["-CA", ca, "-CAkey", ca_key, "-set_serial", "0x" + os.urandom(16).hex()]
        target = ["-days", str(days), "-extfile", config, "-extensions", "server", "-out", new.certificate]
        self._openssl(["x509", "-req", "-sha256", "-in", request, *signer, *target])
        wrong = tls.problems(new.certificate, new.key, ca, [name for name in names if "*" not in name])
        if wrong:
            raise ModuleFailed("openssl made a certificate that clients refuse: %s" % "; ".join(wrong))

    def _install_server(self, new: Paths) -> None:
        self._install(new.key, self.paths.key, 0o640)
        self._install(new.certificate, self.paths.certificate, 0o644)

    def _install(self, source: str, target: str, mode: int) -> None:
        os.chmod(source, mode)
        # What only root may read is for root alone.
        self.own(source, mode != 0o600)
        os.rename(source, target)

    def _key(self, path: str) -> None:
        # Made before openssl fills it, so that nobody else can ever read it.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self._openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path])

    def _openssl(self, arguments: t.Sequence[str]) -> None:
        status, output, error = self.run(["openssl", *arguments])
        if status:
            remedy = ": install the package openssl, or give kuma_cp_tls_cert" if status == 127 else ""
            raise ModuleFailed("openssl %s failed: %s%s" % (arguments[0], (error or output).strip()[-500:], remedy))


def _configuration(new: Paths, common_name: str, names: str) -> str:
    """A file for openssl beside the files that it makes."""
    path = os.path.join(os.path.dirname(new.ca), "config")
    with open(path, "w", encoding="utf-8") as file:
        file.write(_EXTENSIONS % {"subject": common_name[:64], "names": names})
    return path


def _no_key(paths: Paths) -> str:
    return (
        "a certificate has to be signed, but %s is gone, expected the key of %s: put it back, give kuma_cp_tls_cert, or move %s away for a "
        "new CA, which every proxy has to get then" % (paths.ca_key, paths.ca, paths.ca)
    )
