# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where are secrets? In what Ansible says to people and to callbacks, and on a host: tokens, and canaries that stand for other secrets."""

from __future__ import annotations

import base64
import binascii
import contextlib
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.lab.archive import kuma_bin
from tests.lab.host import Host

# All that Ansible has to say.
LOUD = ("-vvv", "--diff")

JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
ENCODED = re.compile(rb"[A-Za-z0-9+/]{60,}={0,2}")

# What a user may tell kuma-dp or kuma-cp. The names are the first of their file: Ansible's log hides by chance what stands behind some others.
ONE_LINE = {"AAA_ONE": "canary-of-one-line", "AAA_PASSWORD": "canary-password"}
SETTINGS = {**ONE_LINE, "AAA_SEVERAL": "canary-first\ncanary-second==\nC=canary-third"}
# The lines of their values, without what stands for itself.
TEXTS = ("canary-of-one-line", "canary-password", "canary-first", "canary-second", "canary-third")


def decoded(data: bytes) -> Iterator[bytes]:
    """Some bytes as they are, and all that may be base64 in them, decoded."""
    yield data
    for run in ENCODED.findall(data):
        for skipped in range(4):
            part = run[skipped:].rstrip(b"=")
            whole = part[: len(part) - (len(part) % 4 == 1)]
            with contextlib.suppress(binascii.Error):
                yield base64.b64decode(whole + b"=" * (-len(whole) % 4))


def holds_token(data: bytes) -> bool:
    """Whether there is a token in some bytes, as it is or in base64."""
    return any(JWT.search(found) for found in decoded(data))


def held(data: bytes, texts: Iterable[str]) -> list[str]:
    """Those of some texts, of one line each, that are in some bytes, as they are or in base64."""
    wanted = [text.encode() for text in texts]
    return sorted({text.decode() for found in decoded(data) for text in wanted if text in found})


# Where secrets belong on a host: the files of tokens and settings, and what they are given to as its environment.
OWN_FILES = r"/etc/kuma/(tokens|env)/.*"
OWN_PROCESSES = r"/kuma-dp(-cover)?@[^/]*\.service"

# On a host, with its Python: files but for unpacked releases, what processes were started with, what systemd shows, and the journal.
_SEARCH = """
def secret(data):
    return holds_token(data) or bool(held(data, texts))

def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""

def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout

found = []
for directory, names, files in os.walk("/"):
    names[:] = [name for name in names if os.path.join(directory, name) not in ("/proc", "/sys", "/opt/kuma")]
    for name in files:
        path = os.path.join(directory, name)
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_ctime >= since and not re.fullmatch(own_files, path) and secret(read(path)):
            found.append(path)
for process in filter(str.isdigit, os.listdir("/proc")):
    if secret(read("/proc/%s/cmdline" % process)):
        found.append("/proc/%s/cmdline" % process)
    own = re.search(own_processes, read("/proc/%s/cgroup" % process).decode())
    environment = read("/proc/%s/environ" % process)
    if holds_token(environment) or (held(environment, texts) and not own):
        found.append("/proc/%s/environ" % process)
if secret(output("systemctl", "show", "--all", "*")) or secret(output("systemctl", "show")):
    found.append("systemctl show")
if secret(output("journalctl", "--since=@%d" % since, "--output=json", "--all", "--no-pager")):
    found.append("the journal")
print(json.dumps(found))
"""


def environment(path: Path) -> dict[str, str]:
    """For a run of ansible-playbook of which everything that a callback gets is written to `path`."""
    return {"LAB_EVERYTHING": str(path)}


def check_told(output: str, path: Path, task: str, administrator: str, texts: Sequence[str] = ()) -> None:
    """No token and none of some texts in what a run printed, nor in what callbacks got in the file `path`, where `task` proves that they got something.

    Not even the administrator's own token.
    """
    told = path.read_bytes()
    assert task.encode() in told
    for what, said in (("Ansible printed", output.encode()), ("a callback was told", told)):
        assert not holds_token(said), f"{what} a token"
        assert held(said, [administrator, *texts]) == [], f"{what} a secret"


def on_host(
    host: Host, since: float, texts: Sequence[str] = (), own_files: str = OWN_FILES, own_processes: str = OWN_PROCESSES
) -> list[str]:
    """Where tokens and these texts came on a host after `since` (seconds since 1970), but for the files and processes where they belong."""
    modules = "from __future__ import annotations\nimport base64, binascii, contextlib, json, os, re, stat, subprocess\n"
    values = {"since": since, "texts": list(texts), "own_files": own_files, "own_processes": own_processes}
    names = f"JWT, ENCODED = re.compile({JWT.pattern!r}), re.compile({ENCODED.pattern!r})\nglobals().update({values!r})\n"
    functions = "\n\n".join(inspect.getsource(function) for function in (decoded, holds_token, held))
    found: list[str] = json.loads(host.script(modules + names + functions + _SEARCH))
    # A real kuma-dp writes its token into the bootstrap of its Envoy, in its own directory in memory, as long as it runs.
    return [path for path in found if not (kuma_bin() and re.fullmatch(r"/run/kuma-dp/[^/]+/bootstrap\.yaml", path))]
