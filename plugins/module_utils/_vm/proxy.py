# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What runs on a VM: proxies, their units, files, tokens and sockets. Reads only; commands go through an injected runner.

Facts come from the running processes, not from what some earlier run wanted.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims, key_id
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import HIDDEN, redact
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import journal, modes, reasons, removal, safely, seen
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.host import Processes, lifecycle_of
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import TRANSPARENT_DROP_IN, UNIT, parse_environment, parse_show

MARKER = removal.MARKER
PROGRAMS = ("kuma-dp", "envoy")
TOKEN_LIMIT = 64 << 10  # bytes
# What a kuma-dp was told by its control plane. Its user could put anything in its place.
BOOTSTRAP = "bootstrap.yaml"
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


def describe_file(path: str) -> t.Optional[t.Dict[str, t.Any]]:
    """Digest, mode and owner of a file; None when there is no such file."""
    try:
        content, status = safely.examine(path)
    except OSError:
        return None
    return _described(content, status)


def _described(content: bytes, status: os.stat_result) -> t.Dict[str, t.Any]:
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "mode": "%04o" % stat.S_IMODE(status.st_mode),
        "owner": seen.user_name(status.st_uid),
        "group": seen.group_name(status.st_gid),
        "mtime": status.st_mtime,
    }


def describe_token(path: str) -> t.Dict[str, t.Any]:
    """What can be said about a token file without showing any of it."""
    empty: t.Dict[str, t.Any] = {"present": False, "claims": None, "kid": "", "mode": None, "owner": None, "problem": None}
    try:
        content, status = safely.examine(path, TOKEN_LIMIT)
    except safely.Refused as exc:
        return dict(empty, problem=str(exc))
    except OSError:
        return empty
    facts, claims, kid, problem = _described(content, status), None, "", None
    try:
        text = content.decode("utf-8", "replace")
        claims, kid = decode_claims(text), key_id(text)
    except ValueError as exc:
        problem = str(exc)
    return {"present": True, "claims": claims, "kid": kid, "mode": facts["mode"], "owner": facts["owner"], "problem": problem}


def installed(install_dir: str) -> t.Dict[str, str]:
    """The versions that were unpacked completely, with the SHA-256 of their archive.

    One that a proxy may not run, or that others than root may change, is left out: unpacked once more, it is as it should be.
    """
    versions = {}
    for name in _names(install_dir):
        directory = os.path.join(install_dir, name)
        marker = safely.text_of(os.path.join(directory, MARKER))
        if marker is not None and seen.kind_of(directory) == "directory" and _is_complete(directory):
            versions[name] = marker.strip()
    return versions


def _is_complete(directory: str) -> bool:
    needed = [directory, os.path.join(directory, "bin"), *(os.path.join(directory, "bin", program) for program in PROGRAMS)]
    try:
        return all(map(modes.usable, needed)) and not modes.dangerous(directory)
    except OSError:
        return False


def _names(directory: str) -> t.List[str]:
    try:
        return safely.names(directory)
    except OSError:
        return []


def current_version(install_dir: str) -> t.Optional[str]:
    """Where the link ``current`` points to; None without it."""
    try:
        return os.path.basename(safely.target(os.path.join(install_dir, "current")).rstrip("/"))
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
        for directory, suffix in (("env", ".env"), ("tokens", ""), ("dataplanes", ".yaml")):
            files = _names(os.path.join(self.config_dir, directory))
            found.update(name[: len(name) - len(suffix)] for name in files if name.endswith(suffix))
        return sorted(name for name in found if naming.is_proxy_name(name))

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
        environment = parse_environment(safely.text_of(paths["environment"]) or "")
        own = self.processes.environment(pid) if started is not None else {}
        lifecycle = lifecycle_of(own) if started is not None else None
        reloaded = reloads_token(own)
        why = self.restart_reasons(paths, unit, started, version, replaced, current, lifecycle) if started is not None else []
        why = [reason for reason in why if not (reloaded and reason.code == reasons.TOKEN)]
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
            "token": {**describe_token(paths["token"]), "reloaded": reloaded},
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
        """Why the running process is not what the files say. A running proxy reads none of them again (trap 29), but for its token sometimes.

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


def reloads_token(environment: t.Mapping[str, str]) -> bool:
    """Whether a running kuma-dp with this environment was told to look into its token file whenever it connects (trap 29).

    The setting of the control plane tells only of those that started since it was made. Otherwise Envoy got the token itself.
    """
    token, work_dir = environment.get("KUMA_DATAPLANE_RUNTIME_TOKEN_PATH"), environment.get("KUMA_DATAPLANE_RUNTIME_WORK_DIR")
    if not token or not work_dir:
        return False
    text = safely.text_of(os.path.join(work_dir, BOOTSTRAP)) or ""
    return bool(re.search(r"""["']?filename["']?:\s*["']?%s["']?\s*[,}\n]""" % re.escape(token), text + "\n"))


def newer(path: str, started: float) -> bool:
    """Whether a file was changed since, in seconds since 1970."""
    try:
        # Files of units may be links, which are followed where root made them.
        return safely.status(path, follow=True).st_mtime > started
    except OSError:
        return False
