# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The root filesystem all hosts share: Debian 12 with systemd, SSH and Python, baked once into the cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.lab.settings import LabError, cache

MIRROR = os.environ.get("MESHFLEET_DEBIAN_MIRROR", "http://deb.debian.org/debian")
SUITE = "bookworm"
PACKAGES = [
    "ca-certificates",
    "dbus",
    "iproute2",
    "iptables",
    "kmod",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-aiohttp",
    "python3-cffi-backend",
    "python3-cryptography",
    "python3-hpack",
    "python3-jwt",
    "python3-psycopg2",
    "python3-yaml",
    "systemd",
    "systemd-sysv",
]
FILES = {
    "/etc/ssh/sshd_config": "sshd_config",
    "/etc/systemd/system/kuma-lab-app.service": "kuma-lab-app.service",
    "/usr/local/lib/kuma-lab-app.py": "app.py",
}
ENABLE = ["systemd-networkd.service", "ssh.service", "kuma-lab-app.service"]
# What a host without a console, a clock of its own or a package mirror has no use for, and boots faster without.
MASK = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "systemd-timesyncd.service",
]
REMOVE = ["/var/cache/apt", "/var/lib/apt/lists", "/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/var/log/bootstrap.log"]
LOCALE = "C.UTF-8"


def recipe_hash() -> str:
    """Changes with everything that goes into the filesystem, so that an old one is never used by mistake."""
    image = Path(__file__).parent / "image"
    contents = {target: (image / source).read_text() for target, source in FILES.items()}
    steps = [SUITE, PACKAGES, contents, ENABLE, MASK, REMOVE, LOCALE, 2]
    return hashlib.sha256(json.dumps(steps).encode()).hexdigest()[:12]


def ensure(say: Callable[[str], None] = lambda text: None) -> Path:
    """The path of a complete root filesystem; bakes it when the cache has none (about 70 s, needs a Debian mirror)."""
    path = cache() / f"rootfs-{recipe_hash()}"
    if path.is_dir():
        return path
    with (cache() / "rootfs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.is_dir():
            return path
        for old in cache().glob("rootfs-*.new"):
            shutil.rmtree(old)
        say("baking the root filesystem of the hosts (once, about a minute)")
        temporary = path.with_suffix(".new")
        _bake(temporary)
        temporary.rename(path)
    return path


def _bake(root: Path) -> None:
    log = cache() / "rootfs.log"
    with log.open("wb") as output:

        def run(*command: str) -> None:
            environment = {**os.environ, "LC_ALL": LOCALE, "DEBIAN_FRONTEND": "noninteractive"}
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False)
            if done.returncode != 0:
                raise LabError(f"{' '.join(command)} failed with exit code {done.returncode}; see {log}")

        run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root), MIRROR)
        image = Path(__file__).parent / "image"
        for target, source in FILES.items():
            destination = root / target.lstrip("/")
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image / source, destination)
        run("chroot", str(root), "systemctl", "enable", *ENABLE)
        run("chroot", str(root), "systemctl", "mask", *MASK)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()  # every lab makes its own
    for unwanted in REMOVE:
        path = root / unwanted.lstrip("/")
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (root / "etc/hostname").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("")
    (root / "etc/locale.conf").write_text(f"LANG={LOCALE}\n")
    (root / "etc/fstab").write_text("")
