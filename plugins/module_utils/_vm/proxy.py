# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What runs on a VM: proxies, their units, files, tokens and sockets. Reads only; commands go through an injected runner.

Facts come from the running processes, not from what some earlier run wanted.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import stat
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import HIDDEN, redact
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import journal, reasons, removal, seen
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.host import Processes, lifecycle_of
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import TRANSPARENT_DROP_IN, UNIT, parse_environment, parse_show

MARKER = removal.MARKER
PROGRAMS = ("kuma-dp", "envoy")
_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,Result,UnitFileState,MainPID,FragmentPath,DropInPaths,NeedDaemonReload,NRestarts,TimeoutStopUSec"
)


def units_of(names: t.Sequence[str], run: Runner) -> t.Dict[str, t.Dict[str, str]]:
    """The properties of the proxies' units by proxy, all with one command. Empty ones where systemd does not answer."""
    if not names:
        return {}
    _status, output, _error = run(["systemctl", "show", "--property=" + _PROPERTIES] + [UNIT % name for name in names])
    found = parse_show(output)
    return {name: found.get(UNIT % name, {}) for name in names}


def systemd_version(run: Runner) -> t.Optional[int]:
    match = re.match(r"systemd (\d+)", run(["systemctl", "--version"])[1])
    return int(match.group(1)) if match else None


def read_text(path: str) -> t.Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return None


def describe_file(path: str) -> t.Optional[t.Dict[str, t.Any]]:
    """Digest, mode and owner of a file; None when there is no such file."""
    try:
        with open(path, "rb") as handle:
            status = os.fstat(handle.fileno())
            digest = hashlib.sha256(handle.read()).hexdigest()
    except OSError:
        return None
    return {
        "sha256": digest,
        "mode": "%04o" % stat.S_IMODE(status.st_mode),
        "owner": seen.user_name(status.st_uid),
        "group": seen.group_name(status.st_gid),
        "mtime": status.st_mtime,
    }


def describe_token(path: str) -> t.Dict[str, t.Any]:
    """What can be said about a token file without showing any of it."""
    facts = describe_file(path)
    if facts is None:
        return {"present": False, "claims": None, "mode": None, "owner": None, "problem": None}
    claims, problem = None, None
    try:
        claims = decode_claims(read_text(path) or "")
    except ValueError as exc:
        problem = str(exc)
    return {"present": True, "claims": claims, "mode": facts["mode"], "owner": facts["owner"], "problem": problem}


def installed(install_dir: str) -> t.Dict[str, str]:
    """The versions that were unpacked completely, with the SHA-256 of their archive."""
    versions = {}
    for marker in glob.glob(os.path.join(glob.escape(install_dir), "*", MARKER)):
        directory = os.path.dirname(marker)
        complete = all(os.access(os.path.join(directory, "bin", program), os.X_OK) for program in PROGRAMS)
        if complete and not os.path.islink(directory):
            versions[os.path.basename(directory)] = (read_text(marker) or "").strip()
    return versions


def current_version(install_dir: str) -> t.Optional[str]:
    """Where the link ``current`` points to; None without it."""
    try:
        return os.path.basename(os.readlink(os.path.join(install_dir, "current")).rstrip("/"))
    except OSError:
        return None


class Observer:
    """Looks at the proxies of one VM. ``processes`` are the running ones, ``run`` runs commands."""

    def __init__(self, config_dir: str, install_dir: str, processes: Processes, run: Runner) -> None:
        self.config_dir = config_dir
        self.install_dir = install_dir
        self.processes = processes
        self.run = run

    def names(self, wanted: t.Iterable[str]) -> t.List[str]:
        """The proxies asked for and every other one that has files here. A file that no proxy can have is somebody else's."""
        found = set(wanted)
        for pattern, suffix in (("env/*.env", ".env"), ("tokens/*", ""), ("dataplanes/*.yaml", ".yaml")):
            for path in glob.glob(os.path.join(glob.escape(self.config_dir), pattern)):
                name = os.path.basename(path)
                found.add(name[: len(name) - len(suffix)])
        return sorted(name for name in found if naming.is_name(name))

    def proxies(self, wanted: t.Iterable[str], diagnose: bool = False) -> t.Dict[str, t.Dict[str, t.Any]]:
        names = self.names(wanted)
        units = units_of(names, self.run)
        current = current_version(self.install_dir)
        result = {}
        for name in names:
            result[name] = self.proxy(name, units[name], current)
            if diagnose:
                result[name]["journal"] = journal.of_unit(UNIT % name, self.run)
        return result

    def proxy(self, name: str, unit: t.Mapping[str, str], current: t.Optional[str]) -> t.Dict[str, t.Any]:
        paths = self.paths(name)
        pid = int(unit.get("MainPID") or 0)
        started = self.processes.started(pid) if pid else None
        version, replaced = self.running_version(pid)
        environment = parse_environment(read_text(paths["environment"]) or "")
        lifecycle = lifecycle_of(self.processes.environment(pid)) if started is not None else None
        why = self.restart_reasons(paths, unit, started, version, replaced, current, lifecycle) if started is not None else []
        files = {path: describe_file(path) for kind, path in paths.items() if kind in ("dataplane", "environment")}
        # Whoever has the digest of an environment file can try what may be in it.
        (files[paths["environment"]] or {}).pop("sha256", None)
        return {
            "unit": {
                "active": unit.get("ActiveState") == "active",
                "state": unit.get("ActiveState") or "inactive",
                "result": unit.get("Result") or "",
                "enabled": unit.get("UnitFileState") in ("enabled", "enabled-runtime"),
                "failed": unit.get("ActiveState") == "failed",
                "restarts": int(unit.get("NRestarts") or 0),
                "pid": pid or None,
                "started": started,
            },
            "environment": {key: redact(value) if key in journal.PLAIN else HIDDEN for key, value in environment.items()},
            "token": describe_token(paths["token"]),
            "files": {path: facts for path, facts in files.items() if facts},
            "version": version,
            "lifecycle": lifecycle,
            "restart_pending": bool(why),
            "restart_reasons": [reason.text for reason in why],
            "restart_codes": [reason.code for reason in why],
        }

    def paths(self, name: str) -> t.Dict[str, str]:
        """Where the files of a proxy are. Raises ValueError for what is no name of one."""
        naming.checked(name)
        directory = self.config_dir
        return {
            "dataplane": os.path.join(directory, "dataplanes", name + ".yaml"),
            "environment": os.path.join(directory, "env", name + ".env"),
            "token": os.path.join(directory, "tokens", name),
            "CA": os.path.join(directory, "control-plane-ca.pem"),
        }

    def running_version(self, pid: int) -> t.Tuple[t.Optional[str], bool]:
        """The version of a running kuma-dp, and whether its program was replaced since. Its Envoy tells as well."""
        prefix = self.install_dir.rstrip("/") + "/"
        for process in [pid, *self.processes.children(pid)] if pid else []:
            path, deleted = self.processes.program(process)
            if path.startswith(prefix):
                return path[len(prefix) :].split("/", 1)[0], deleted
        return None, False

    def restart_reasons(
        self,
        paths: t.Mapping[str, str],
        unit: t.Mapping[str, str],
        started: float,
        version: t.Optional[str],
        replaced: bool,
        current: t.Optional[str],
        lifecycle: t.Optional[str],
    ) -> t.List[reasons.Reason]:
        """Why the running process is not what the files say. A running proxy reads none of them again (trap 29).

        The Dataplane file counts where it was read, by a Direct proxy.
        """
        found = []
        if version and current and version != current:
            found.append(reasons.Reason(reasons.VERSION, version, current))
        elif replaced:
            found.append(reasons.Reason(reasons.PROGRAM))
        files = {reasons.ENVIRONMENT: "environment", reasons.TOKEN: "token", reasons.CA: "CA"}
        if lifecycle == "direct":
            files[reasons.DATAPLANE] = "dataplane"
        changed = [code for code, kind in files.items() if newer(paths[kind], started)]
        units = [unit.get("FragmentPath") or "", *(unit.get("DropInPaths") or "").split()]
        # One drop-in only says what a proxy is started after, and comes when redirection is set up, after the first start.
        if any(newer(path, started) for path in units if path and not path.endswith("/" + TRANSPARENT_DROP_IN)):
            changed.append(reasons.FILE_OF_UNIT)
        return found + [reasons.Reason(code) for code in sorted(changed)]


def newer(path: str, started: float) -> bool:
    """Whether a file was changed since, in seconds since 1970."""
    try:
        return os.stat(path).st_mtime > started
    except OSError:
        return False
