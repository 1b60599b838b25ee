# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The files of a restart on a VM: state, request, the cover's own, and what a proxy was started with. Standard library only."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import stat
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely

STATE_DIR = "/var/lib/kuma-dp"
UNIT_PATH = "/etc/systemd/system/kuma-dp@.service"


class _Fields(t.NamedTuple):
    name: str
    config_dir: str = "/etc/kuma"
    install_dir: str = "/opt/kuma"
    state_dir: str = STATE_DIR
    unit: str = UNIT_PATH


class Paths(_Fields):
    """Where everything of one proxy is. Raises ValueError for what is no name of one, or no directory: it would be the path of something else."""

    __slots__ = ()

    def __new__(cls, name: str, *others: str, **named: str) -> Paths:
        made = super().__new__(cls, naming.checked(name), *others, **named)
        for field, value in made._asdict().items():
            wrong = naming.fault(value, naming.PATH) if field != "name" else ""
            if wrong:
                raise ValueError("%s %s" % (field, wrong))
        return made

    @property
    def directory(self) -> str:
        return os.path.join(self.state_dir, self.name)

    def own(self, *names: str) -> str:
        return os.path.join(self.directory, *names)

    @property
    def environment(self) -> str:
        return os.path.join(self.config_dir, "env", self.name + ".env")

    @property
    def dataplane(self) -> str:
        return os.path.join(self.config_dir, "dataplanes", self.name + ".yaml")

    @property
    def token(self) -> str:
        return os.path.join(self.config_dir, "tokens", self.name)

    @property
    def cover_token(self) -> str:
        return os.path.join(self.config_dir, "tokens", ".%s.cover" % self.name)

    @property
    def secrets(self) -> t.Tuple[str, str]:
        """The files with secrets of those that a start uses."""
        return self.token, self.environment

    def kept(self, snapshot: str, path: str) -> str:
        """Where such a file of a snapshot (``started``, ``good``) is: beside the one in use, for a secret is nowhere but there."""
        return os.path.join(os.path.dirname(path), ".%s.%s" % (self.name, snapshot))

    @property
    def current(self) -> str:
        return os.path.join(self.install_dir, "current")

    def started_with(self) -> t.List[str]:
        """The files that a start uses."""
        return [self.environment, self.token, os.path.join(self.config_dir, "control-plane-ca.pem"), self.dataplane, self.unit]


def read_json(path: str) -> t.Optional[t.Dict[str, t.Any]]:
    """The object in a file of root's; None when there is none, or others can write it: what it says is done."""
    try:
        value = json.loads(safely.read(path, own=True))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: str, value: t.Mapping[str, t.Any]) -> None:
    safely.write(path, json.dumps(value, sort_keys=True).encode("utf-8"))


def read_text(path: str) -> str:
    """The text of a file; empty when there is none."""
    return safely.text_of(path) or ""


def make_directories(paths: Paths) -> int:
    """The proxy's directory under /var/lib, closed to all but root and the proxies' group; returns that group."""
    try:
        gid = safely.status(os.path.dirname(paths.environment), follow=True).st_gid
    except OSError:
        gid = 0
    for directory, mode in ((paths.state_dir, 0o755), (paths.directory, 0o750), (paths.own("cover"), 0o750)):
        group = 0 if directory == paths.state_dir else gid
        if not safely.is_directory(directory):
            safely.make_directory(directory, mode, 0, group)
            continue
        status = safely.status(directory)
        if safely.kind_of(status) == "directory" and safely.others_write(status):
            # The first may be the home that somebody gave the user of the proxies.
            safely.set_attributes(directory, mode, 0, group)
    return gid


def snapshot(paths: Paths, name: str) -> t.Dict[str, t.Any]:
    """What a start of the proxy uses now: contents, owners, modes, and the version that ``current`` points to.

    It is for the file ``<name>.json``. What holds secrets goes to a file of its own, which only root may read; here is its digest.
    """
    files = []
    for path in paths.started_with():
        with contextlib.suppress(OSError):
            content, status = safely.examine(path)
            # What belongs to its proxy may have been made a program of.
            item = {"path": path, "mode": stat.S_IMODE(status.st_mode) & 0o777, "uid": status.st_uid, "gid": status.st_gid}
            files.append({**item, **_keep(paths, name, path, content)})
    links = []
    with contextlib.suppress(OSError):
        links.append({"path": paths.current, "target": safely.target(paths.current)})
    return {"time": time.time(), "files": files, "links": links}


def _keep(paths: Paths, name: str, path: str, content: bytes) -> t.Dict[str, str]:
    """What the entry of a file in the snapshot ``<name>.json`` says of its content."""
    if path not in paths.secrets:
        return {"content": base64.b64encode(content).decode("ascii")}
    safely.write(paths.kept(name, path), content, 0o600)
    return {"sha256": hashlib.sha256(content).hexdigest()}


def restore(paths: Paths, taken: t.Mapping[str, t.Any]) -> None:
    """Put back what ``good.json`` holds. Files that are as they were are left alone. Raises OSError."""
    for item in taken["files"]:
        content = _content(paths, item, "good")
        if content is not None and _bytes(item["path"]) != content:
            safely.write(item["path"], content, item["mode"], item["uid"], item["gid"])
    for link in taken["links"]:
        try:
            same = safely.target(link["path"]) == link["target"]
        except OSError:
            same = False
        if not same:
            safely.write_link(link["path"], link["target"])


def _content(paths: Paths, item: t.Mapping[str, t.Any], name: str) -> t.Optional[bytes]:
    """What a file of the snapshot ``<name>.json`` held; None for a secret that is not kept any more."""
    # Snapshots of 0.1.0 hold secrets, too.
    if "content" in item:
        return base64.b64decode(item["content"])
    content = _bytes(paths.kept(name, item["path"]))
    return content if content is None or hashlib.sha256(content).hexdigest() == item.get("sha256") else None


def _bytes(path: str) -> t.Optional[bytes]:
    try:
        return safely.read(path)
    except OSError:
        return None


def newest(paths: Paths) -> float:
    """When the newest file that a start uses was changed, in seconds since 1970."""
    times = [0.0]
    for path in paths.started_with():
        with contextlib.suppress(OSError):
            times.append(safely.status(path).st_mtime)
    with contextlib.suppress(OSError):
        times.append(safely.status(paths.current).st_mtime)
    return max(times)


def remember_start(paths: Paths, booted: float = 0.0) -> None:
    """Called by the unit before each start. ``booted``: seconds since 1970; the token of a cover from before that is nobody's any more."""
    make_directories(paths)
    with contextlib.suppress(OSError):
        if safely.status(paths.cover_token).st_mtime < booted:
            forget_cover(paths)
    write_json(paths.own("started.json"), snapshot(paths, "started"))


def remember_good(paths: Paths, started: float) -> bool:
    """Keep what the running process was started with, in seconds since 1970; False when that is not known."""
    make_directories(paths)
    taken = read_json(paths.own("started.json"))
    if taken is not None:
        taken = _renamed(paths, taken, "started", "good")
    elif newest(paths) < started:
        taken = snapshot(paths, "good")
    if taken is None:
        for path in (paths.own("good.json"), *(paths.kept("good", path) for path in paths.secrets)):
            with contextlib.suppress(OSError):
                safely.remove(path)
        return False
    write_json(paths.own("good.json"), taken)
    return True


def _renamed(paths: Paths, taken: t.Mapping[str, t.Any], old: str, new: str) -> t.Dict[str, t.Any]:
    """The snapshot ``<old>.json`` as ``<new>.json`` holds it."""
    files = []
    for item in taken["files"]:
        content = _content(paths, item, old)
        if content is not None:
            about = {key: value for key, value in item.items() if key not in ("content", "sha256")}
            files.append({**about, **_keep(paths, new, item["path"], content)})
    return {**taken, "files": files}


def forget_old_token(paths: Paths) -> None:
    """Delete the token of before a restart that is over: its proxy has connected with the one in use, which is what to go back to from now on."""
    with contextlib.suppress(FileNotFoundError):
        safely.remove(paths.kept("good", paths.token))


def forget_cover(paths: Paths) -> None:
    """Delete the token of the cover: whoever has it can receive the traffic of the service."""
    # The latter is where 0.1.0 had it.
    for path in (paths.cover_token, paths.own("cover", "token")):
        with contextlib.suppress(FileNotFoundError):
            safely.remove(path)
