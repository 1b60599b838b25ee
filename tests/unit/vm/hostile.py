# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody can put in the place of a file that root reads, and a watch that nobody waits for it: for tests."""

from __future__ import annotations

import os
import signal
import socket
import stat

import pytest

SECRET = "root:$6$of-nobody-else"


@pytest.fixture(autouse=True)
def no_waiting():
    """Whoever waits for a fifo is woken, and fails."""

    def wake(*_arguments):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, wake)
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def no_descriptor_stays_open():
    before = os.listdir("/proc/self/fd")
    yield
    assert len(os.listdir("/proc/self/fd")) <= len(before)


@pytest.fixture
def shadow(tmp_path):
    """A file of root's, whose content nobody may learn."""
    path = tmp_path / "etc/shadow"
    path.parent.mkdir(exist_ok=True)
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


@pytest.fixture(params=[False, True], ids=["root's", "theirs"])
def place(request, tmp_path):
    """A directory: one of root's, and one in which everybody writes."""
    path = tmp_path / "run/web-1"
    path.mkdir(parents=True)
    path.chmod(0o777 if request.param else 0o755)
    return path


@pytest.fixture
def theirs(tmp_path):
    path = tmp_path / "run/theirs"
    path.mkdir(parents=True)
    path.chmod(0o777)
    return path


def put(path, kind, shadow):
    """Something in the place of a file; False where this machine does not let anybody make it."""
    if kind == "link":
        path.symlink_to(shadow)
    elif kind == "link to nothing":
        path.symlink_to("none")
    elif kind == "link to itself":
        path.symlink_to(path.name)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(str(path))
        bound.close()
    elif kind == "endless":
        with path.open("wb") as handle:
            handle.truncate(1 << 40)
    elif kind == "device":
        try:
            os.mknod(path, 0o644 | stat.S_IFCHR, os.makedev(1, 5))
        except OSError:
            pytest.skip("nobody makes devices here")


KINDS = ["link", "link to nothing", "link to itself", "fifo", "directory", "socket", "endless", "device"]
