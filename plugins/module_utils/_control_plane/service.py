# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""kuma-cp as a service of its VM: is it what the files say, bring it there, and fetch the administrator's token over loopback."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks, naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import asking, journal, proxy, safely, systemd
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner

UNIT = "kuma-cp.service"
# Opens the API to administrators on loopback while the token is fetched. In /run, so that not even a crash leaves it open for long,
# and with no other listener meanwhile.
OPENING = "/run/systemd/system/kuma-cp.service.d/meshfleet-admin.conf"
OPENED = """[Service]
Environment=KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN=true
Environment=KUMA_API_SERVER_HTTP_INTERFACE=%(address)s
Environment=KUMA_API_SERVER_HTTPS_INTERFACE=%(address)s
"""
_POLL = 0.25
# So often kuma-cp may end on the way before that is a failure; the database may be starting as well.
_ENDS = 5

# Status and JSON, or None for what is no JSON; 0 when nobody answers.
Answer = t.Tuple[int, t.Any]


class Api:
    """The API over loopback, where the address is that of the host in the request as well: newer versions want both (trap 43)."""

    def __init__(self, address: str, port: int) -> None:
        # A unit names it.
        if not checks.is_ip(address):
            raise ModuleFailed("address is %s, expected an IP address of loopback, such as 127.0.0.1" % naming.shown(address))
        self.address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104
        self.port = port

    def get(self, path: str, token: t.Optional[str] = None) -> Answer:
        try:
            answer = asking.ask(asking.Way(self.address, self.port), path, headers={"Authorization": "Bearer " + token} if token else {})
            return answer.status, json.loads(answer.body) if "json" in answer.kind else None
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None

    def version(self) -> t.Optional[str]:
        """The version that answers; None when nobody does."""
        status, body = self.get("/")
        return str(body["version"]).lstrip("v") if status == 200 and isinstance(body, dict) and body.get("version") else None


class Service:
    """The unit. ``started`` tells when a process was started, in seconds since 1970."""

    def __init__(self, api: Api, run: Runner, started: t.Callable[[int], t.Optional[float]], opening: str = OPENING) -> None:
        self.api = api
        self.run = run
        self.started = started
        self.opening = opening

    def show(self) -> t.Dict[str, str]:
        wanted = "Id,ActiveState,SubState,MainPID,NRestarts,UnitFileState,FragmentPath,DropInPaths,NeedDaemonReload"
        return systemd.parse_show(self.run(["systemctl", "show", "--property=" + wanted, UNIT])[1]).get(UNIT, {})

    def reasons(self, unit: t.Mapping[str, str], files: t.Sequence[str], version: str) -> t.List[str]:
        """Why the running kuma-cp is not what the files say; it reads none of them again while it runs."""
        started = self.started(int(unit.get("MainPID") or 0))
        if started is None:
            return []
        own = [unit.get("FragmentPath") or "", *(unit.get("DropInPaths") or "").split()]
        reasons = ["%s changed after it was started" % path for path in [*files, *filter(None, own)] if proxy.newer(path, started)]
        running = self.api.version()
        if running is not None and running != version:
            reasons.append("version %s runs, %s is installed" % (running, version))
        if safely.exists(self.opening):
            reasons.append("the API was left open to everybody on this VM")
        return reasons

    def carry_out(self, actions: t.Sequence[str], version: str, timeout: float) -> None:
        """Enable, start or restart, and wait until the version answers. Raises ModuleFailed with the journal."""
        self.close()
        if "enabled" in actions:
            self.systemctl("daemon-reload")
            self.systemctl("enable", UNIT)
        if {"started", "restarted"} & set(actions):
            self.restart(version, timeout)
        else:
            self.wait(version, timeout)

    def restart(self, version: str, timeout: float) -> None:
        """Whether it ran before or not."""
        self.systemctl("daemon-reload")
        self.systemctl("reset-failed", UNIT, check=False)
        self.systemctl("restart", UNIT)
        self.wait(version, timeout)

    def wait(self, version: str, timeout: float) -> None:
        end = time.monotonic() + timeout
        before = int(self.show().get("NRestarts") or 0)
        while True:
            found = self.api.version()
            if found == version:
                return
            unit = self.show()
            ends = int(unit.get("NRestarts") or 0) - before
            if ends >= _ENDS or unit.get("ActiveState") in ("failed", "inactive"):
                self.fail("kuma-cp does not keep running (%s, ended %d times)" % (unit.get("ActiveState"), ends))
            if time.monotonic() >= end:
                answers = "version %s answers" % found if found else "nobody answers"
                where = "http://%s:%d/" % (self.api.address, self.api.port)
                self.fail("%s at %s after %g s, expected version %s" % (answers, where, timeout, version))
            time.sleep(_POLL)

    def fail(self, message: str) -> t.NoReturn:
        lines = journal.of_unit(UNIT, self.run)
        raise ModuleFailed("%s. Its journal ends with: %s" % (message, " | ".join(lines[-5:])), {"journal": lines})

    def systemctl(self, *arguments: str, check: bool = True) -> None:
        status, output, error = self.run(["systemctl", *arguments])
        if status and check:
            self.fail("systemctl %s failed: %s" % (arguments[0], (error or output).strip()))

    def open(self) -> None:
        """Let administrators in over loopback until `close`."""
        os.makedirs(os.path.dirname(self.opening), exist_ok=True)
        safely.write(self.opening, (OPENED % {"address": self.api.address}).encode("ascii"), 0o644)

    def close(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            safely.remove(self.opening)


def actions_for(unit: t.Mapping[str, str], reasons: t.Sequence[str]) -> t.List[str]:
    """What is missing between the unit and one that runs with its files and starts at boot."""
    enabled = unit.get("UnitFileState") in ("enabled", "enabled-runtime")
    actions = [] if enabled else ["enabled"]
    if unit.get("ActiveState") != "active":
        return [*actions, "started"]
    return [*actions, "restarted"] if reasons else actions


def is_admin(api: Api, token: str) -> bool:
    """Whether the API takes this token for that of an administrator."""
    status, body = api.get("/who-am-i", token)
    return status == 200 and isinstance(body, dict) and naming.ADMIN in (body.get("groups") or [])


def fetch_token(api: Api, timeout: float) -> str:
    """The first administrator's token. It appears some time after the start (trap 44). Raises ModuleFailed."""
    end = time.monotonic() + timeout
    while True:
        status, body = api.get("/global-secrets/admin-user-token")
        if status == 200 and isinstance(body, dict) and body.get("data"):
            return base64.b64decode(body["data"]).decode("ascii").strip()
        if status in (401, 403) or time.monotonic() >= end:
            reason = {401: "is refused", 403: "is refused", 404: "is not there", 0: "cannot be asked for"}.get(
                status, "is answered with %d" % status
            )
            raise ModuleFailed(
                "the global secret admin-user-token %s over http://%s:%d, expected the administrator's token: see that kuma_cp_config and "
                "kuma_cp_environment change neither apiServer.authn nor its tokens" % (reason, api.address, api.port)
            )
        time.sleep(_POLL)
