# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of releases, as tests want them: what is right and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile

FOLDER = "kuma-2.14.3"


def member(name, content=b"", mode=0o644, kind=tarfile.REGTYPE, link="", folder=FOLDER):
    """A member and its content. Its owner is nobody whom a VM knows."""
    info = tarfile.TarInfo(f"{folder}/{name}" if folder else name)
    info.size, info.mode, info.type, info.linkname = len(content), mode, kind, link
    info.uid = info.gid = 12345
    return info, content


def directory(name, mode=0o755):
    return member(name, mode=mode, kind=tarfile.DIRTYPE)


def link(name, target):
    return member(name, mode=0o777, kind=tarfile.SYMTYPE, link=target)


def hard_link(name, target):
    return member(name, mode=0o755, kind=tarfile.LNKTYPE, link=target)


def release(kuma_dp=b"new kuma-dp", envoy=b"new envoy"):
    """What an archive of Kuma has, on a small scale."""
    return [
        directory("", 0o755),
        directory("bin"),
        member("bin/kuma-dp", kuma_dp, 0o755),
        member("bin/envoy", envoy, 0o755),
        member("README", b"read me", 0o644),
    ]


def pack(path, members):
    """Write the archive; returns its SHA-256, which is the same in every second: gzip would write down when it was packed."""
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()
