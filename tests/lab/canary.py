# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where are tokens? In what Ansible says to people and to callbacks, and on a host."""

from __future__ import annotations

import base64
import binascii
import inspect
import json
import re
from pathlib import Path

from tests.lab.archive import kuma_bin
from tests.lab.host import Host

# All that Ansible has to say.
LOUD = ("-vvv", "--diff")

JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
ENCODED = re.compile(rb"[A-Za-z0-9+/]{60,}={0,2}")


def holds_token(data: bytes) -> bool:
    """Whether there is a token in some bytes, as it is or in base64."""
    if JWT.search(data):
        return True
    for run in ENCODED.findall(data):
        for skipped in range(4):
            part = run[skipped:].rstrip(b"=")
            try:
                if JWT.search(base64.b64decode(part[: len(part) // 4 * 4])):
                    return True
            except binascii.Error:
                continue
    return False


# On a host, with its Python: files but for the tokens' own directory, what processes were started with, and the journal.
_SEARCH = """
def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""

found = []
for directory, names, files in os.walk("/"):
    names[:] = [name for name in names if os.path.join(directory, name) not in ("/proc", "/sys", "/etc/kuma/tokens")]
    for name in files:
        path = os.path.join(directory, name)
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_ctime >= since and holds_token(read(path)):
            found.append(path)
for process in filter(str.isdigit, os.listdir("/proc")):
    paths = ["/proc/%s/%s" % (process, name) for name in ("environ", "cmdline")]
    found += [path for path in paths if holds_token(read(path))]
if holds_token(subprocess.run(["journalctl", "--since=@%d" % since, "--output=json", "--all", "--no-pager"], stdout=subprocess.PIPE, check=True).stdout):
    found.append("the journal")
print(json.dumps(found))
"""


def environment(path: Path) -> dict[str, str]:
    """For a run of ansible-playbook of which everything that a callback gets is written to `path`."""
    return {"LAB_EVERYTHING": str(path)}


def check_told(output: str, path: Path, task: str, administrator: str) -> None:
    """No token in what a run printed, nor in what callbacks got in the file `path`, where `task` proves that they got something.

    Ansible shows callbacks the arguments of a task that was run, whatever no_log says, and so the administrator's own token. No other.
    """
    told = path.read_bytes().replace(administrator.encode(), b"")
    assert task.encode() in told
    assert not holds_token(output.encode()), "Ansible printed a token"
    assert not holds_token(told), "a callback was told a token"


def on_host(host: Host, since: float) -> list[str]:
    """Where tokens came on a host after `since` (seconds since 1970), but for /etc/kuma/tokens."""
    modules = "import base64, binascii, json, os, re, stat, subprocess\n"
    names = f"JWT, ENCODED, since = re.compile({JWT.pattern!r}), re.compile({ENCODED.pattern!r}), {since}\n"
    program = modules + names + inspect.getsource(holds_token) + _SEARCH
    found: list[str] = json.loads(host.script(program))
    # A real kuma-dp writes its token into the bootstrap of its Envoy, in its own directory in memory, as long as it runs.
    return [path for path in found if not (kuma_bin() and re.fullmatch(r"/run/kuma-dp/[^/]+/bootstrap\.yaml", path))]
