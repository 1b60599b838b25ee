# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The release archive on the controller: is it the pinned one, and does it fit the VM?"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming

PROGRAMS = ("kuma-dp", "envoy")
# e_machine of an ELF header, by Kuma's names of architectures.
_MACHINES = {62: "amd64", 183: "arm64"}
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})\Z")


class Archive(t.NamedTuple):
    """What is asked of the archive for one version and architecture."""

    host: str
    source: str
    path: str
    checksum: t.Optional[str]
    architecture: str
    # Of whose variables problems speak, and what must be in it.
    role: str = "kuma_dp"
    programs: t.Tuple[str, ...] = PROGRAMS


def is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def checksum_for(value: t.Any, architecture: str) -> t.Optional[str]:
    """The hexadecimal SHA-256 pinned for ``architecture``; None where there is none. Raises ValueError on a bad one.

    ``value`` is one checksum for every architecture, or ``{architecture: checksum}``; each with or without ``sha256:``.
    """
    if isinstance(value, t.Mapping):
        value = value.get(architecture)
    if not value:
        return None
    match = _SHA256.match(str(value).strip().lower())
    if not match:
        raise ValueError(str(value))
    return match.group(1)


def wanted(
    host: str, variables: t.Mapping[str, t.Any], architecture: str, role: str = "kuma_dp", programs: t.Tuple[str, ...] = PROGRAMS
) -> t.Tuple[t.Optional[Archive], t.List[str]]:
    """The archive that ``host`` needs, and what is wrong with the variables that describe it."""
    version = str(variables.get("version") or "")
    source = str(variables.get("archive") or "").replace("{version}", version).replace("{arch}", architecture)
    problems = []
    checksum = None
    if not naming.is_version(version) or version.startswith("v"):
        problems.append("%s: %s_version is %s, expected a released version without v, such as 2.14.3" % (host, role, naming.shown(version)))
    name = source.rsplit("/", 1)[-1]
    if is_url(source) and not (naming.is_place(name) and name.strip(".")):
        problems.append("%s: %s_archive is %s, expected the URL of a file" % (host, role, naming.shown(source)))
    try:
        checksum = checksum_for(variables.get("archive_checksum"), architecture)
        if checksum is None:
            pinned = variables.get("archive_checksum")
            known = ", ".join(sorted(pinned)) if isinstance(pinned, t.Mapping) and pinned else "none"
            problems.append(
                "%s: %s_archive_checksum has no SHA-256 for architecture %s (it has: %s), expected one per architecture "
                "of the fleet, taken from a source you trust" % (host, role, architecture, known)
            )
    except ValueError as error:
        problems.append("%s: %s_archive_checksum is %r, expected 64 hexadecimal digits, with or without sha256:" % (host, role, str(error)))
    if problems:
        return None, problems
    path = source
    if is_url(source):
        path = os.path.join(str(variables.get("archive_cache") or ""), name)
    return Archive(host, source, os.path.expanduser(path), checksum, architecture, role, programs), []


def inspect(archive: Archive) -> t.List[str]:
    """What is wrong with the file itself. A URL that has not been fetched yet is not looked at."""
    if not os.path.isfile(archive.path):
        if is_url(archive.source):
            return []
        return [
            "%s: %s_archive is %s, which does not exist on the controller, expected the path or URL of a release archive"
            % (archive.host, archive.role, archive.path)
        ]
    found = sha256(archive.path)
    if found != archive.checksum:
        return [
            "%s: %s_archive %s has SHA-256 %s, expected %s from %s_archive_checksum: fetch it again, or correct the "
            "checksum after checking where the file came from"
            % (archive.host, archive.role, archive.path, found, archive.checksum, archive.role)
        ]
    return _contents(archive)


def plan(hosts: t.Iterable[t.Mapping[str, t.Any]]) -> t.Tuple[t.Dict[str, Archive], t.List[str]]:
    """The archive of each host in play (``{host, in_play, variables, observed}``), and what is wrong with them.

    Each file is looked at once, however many hosts need it.
    """
    archives: t.Dict[str, Archive] = {}
    problems: t.List[str] = []
    seen: t.Set[Archive] = set()
    for host in hosts:
        observed = host.get("observed")
        if not host["in_play"] or not observed:
            continue
        archive, faults = wanted(host["host"], host.get("variables") or {}, str(observed.get("architecture")))
        problems.extend(faults)
        if archive is None:
            continue
        archives[host["host"]] = archive
        version = str((host.get("variables") or {}).get("version"))
        installed = (observed.get("archives") or {}).get(version) == archive.checksum
        anonymous = archive._replace(host="")
        if not installed and anonymous not in seen:
            seen.add(anonymous)
            problems.extend(inspect(archive))
    return archives, problems


def sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _contents(archive: Archive) -> t.List[str]:
    machines: t.Dict[str, t.Optional[str]] = {}
    try:
        with tarfile.open(archive.path) as tar:
            for member in tar:
                program = re.match(r"[^/]+/bin/([^/]+)\Z", member.name)
                handle = tar.extractfile(member) if program and member.isfile() else None
                if program and handle is not None:
                    machines[program.group(1)] = elf_machine(handle.read(20))
    except (tarfile.TarError, OSError, EOFError) as error:
        return ["%s: %s_archive %s cannot be read: %s, expected a tar.gz" % (archive.host, archive.role, archive.path, error)]
    missing = [program for program in archive.programs if program not in machines]
    if missing:
        return [
            "%s: %s_archive %s has no <folder>/bin/%s, expected a release archive of Kuma or Kong Mesh for Linux"
            % (archive.host, archive.role, archive.path, " and bin/".join(missing))
        ]
    return [
        "%s: bin/%s in %s_archive %s is built for %s, expected %s: give the archive of this architecture"
        % (archive.host, program, archive.role, archive.path, machine, archive.architecture)
        for program, machine in sorted(machines.items())
        if machine is not None and machine != archive.architecture
    ]


def to_fetch(archives: t.Iterable[Archive]) -> t.List[t.Dict[str, t.Any]]:
    """What the controller has to fetch: ``[{url, path, checksum}]``, each file once."""
    found = {
        archive.path: {"url": archive.source, "path": archive.path, "checksum": "sha256:%s" % archive.checksum}
        for archive in archives
        if is_url(archive.source) and not os.path.exists(archive.path)
    }
    return [found[path] for path in sorted(found)]


def elf_machine(header: bytes) -> t.Optional[str]:
    """The architecture of an ELF file by its first 20 bytes; None when it is not ELF."""
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return None
    order: t.Literal["little", "big"] = "little" if header[5] == 1 else "big"
    machine = int.from_bytes(header[18:20], order)
    return _MACHINES.get(machine, "machine %d" % machine)
