# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The VM as a restart sees it and acts on it: systemd, processes, Envoy's admin, files. Commands go through an injected runner."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_time, parse_duration
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.facts import Facts, Side
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.files import Paths
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import envoy as vm_envoy
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import journal as vm_journal
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.host import Processes, lifecycle_of
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import (
    COVER_UNIT,
    RESTART_UNIT,
    UNIT,
    parse_environment,
    parse_show,
    render_environment,
)

ADMIN_SOCKET = "kuma-envoy-admin.sock"
BOOTSTRAP_LIMIT = 4 << 20  # bytes
DEFAULT_ADMIN_PORT = 9901
MIGRATE = "/proc/sys/net/ipv4/tcp_migrate_req"
# Ports of the cover's own: below those of outbounds, above those of Kuma.
OWN_PORTS = range(9989, 9909, -1)
SAID_WITHIN = 3.0
# Stages that compare the two sides; in others nobody asks for endpoints.
_COMPARING = ("begin", "cover", "settle", "ready", "stranded")
# Stages that are short and in a hurry: listeners are as they were.
_HURRYING = ("drain", "stop", "start")
# A cover whose token ends sooner may not live through the restart.
_TOKEN_LEFT = 120.0
NO_MIGRATION = "this kernel has no net.ipv4.tcp_migrate_req (Linux 5.14): connections that wait to be accepted when a side stops are reset"


class Vm:
    """One proxy and its cover. ``proc`` is the mount point of procfs."""

    def __init__(self, paths: Paths, user: str, run: Runner, proc: str = "/proc", say: t.Optional[t.Callable[[str], None]] = None) -> None:
        self.paths, self.user, self.run, self.proc, self.say = paths, user, run, proc, say
        self.boot = Processes(proc).boot()
        self.units = {"main": UNIT % paths.name, "cover": COVER_UNIT % paths.name}
        self._listeners: t.Dict[int, t.List[vm_envoy.Listener]] = {}
        self._admins: t.Dict[str, vm_envoy.Admin] = {}

    # Time.

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    # Facts.

    def look(self, stage: str) -> Facts:
        processes = Processes(self.proc)
        command = ["systemctl", "show", "--property=Id,ActiveState,MainPID", self.units["main"], self.units["cover"]]
        shown = parse_show(self.run(command)[1])
        sides = {side: self._side(side, shown.get(unit, {}), processes, stage) for side, unit in self.units.items()}
        return Facts(
            sides["main"],
            sides["cover"],
            processes.memory_available(),
            self.material() if stage == "begin" else "",
            safely.exists(self.paths.own("good.json")),
            stage == "begin" and self._reshaped(sides["main"]),
        )

    def _reshaped(self, main: Side) -> bool:
        """Whether the proxy, started again, brings another Dataplane than it has."""
        if lifecycle_of(parse_environment(files.read_text(self.paths.environment))) != "direct":
            return False
        try:
            return not main.direct or safely.status(self.paths.dataplane).st_mtime > main.started
        except OSError:
            return True

    def _side(self, side: str, unit: t.Mapping[str, str], processes: Processes, stage: str) -> Side:
        state, pid = unit.get("ActiveState") or "inactive", int(unit.get("MainPID") or 0)
        self._admins.pop(side, None)
        started = processes.started(pid) if pid else None
        if started is None:
            return Side(state=state)
        environment = processes.environment(pid)
        envoy = self._envoy_of(processes, pid, environment)
        seen = Side(
            state=state,
            pid=pid,
            started=started,
            # Below a wrapper of somebody's its Envoy is not found, and still serves.
            owned=processes.owned(envoy) if envoy else processes.owned_below(pid),
            resident=processes.resident(pid) + (processes.resident(envoy) if envoy else 0),
            direct=lifecycle_of(environment) == "direct",
            same_user=not envoy or processes.user(envoy) == self.uid(),
            dns=environment.get("KUMA_DNS_ENABLED", "true").lower() not in ("false", "f", "0"),
            version=self._version(processes, [pid, envoy]),
        )
        if not envoy:
            return seen._replace(problem="its Envoy does not run")
        try:
            self._admins[side] = admin = self._admin(envoy, environment, seen.owned)
            seen = seen._replace(admin=frozenset([("127.0.0.1", admin.port)] if admin.port else []))
            return self._asked(seen, admin, envoy, stage)
        except vm_envoy.AdminError as exc:
            return seen._replace(problem=str(exc))
        except (ArithmeticError, AttributeError, TypeError, ValueError, LookupError) as exc:
            # Whatever the proxy has become, it is looked at; it is the user of the proxies who answers here.
            return seen._replace(problem="its admin interface says what no Envoy says (%r)" % exc)

    def _asked(self, seen: Side, admin: vm_envoy.Admin, envoy: int, stage: str) -> Side:
        live = admin.live()
        statistics = admin.get("/stats?filter=" + vm_envoy.WORK_FILTER.replace("|", "%7C").replace("(", "%28").replace(")", "%29"))
        if live and (stage not in _HURRYING or envoy not in self._listeners):
            self._listeners[envoy] = vm_envoy.listeners(admin.get_json("/config_dump?resource=dynamic_listeners"))
        listeners = self._listeners.get(envoy, [])
        traffic = [listener for listener in listeners if not listener.own]
        own = [name for listener in listeners if listener.own for name in listener.statistics]
        seen = seen._replace(
            live=live,
            stopped=vm_envoy.stopped(statistics),
            bound=frozenset(address for listener in traffic for address in listener.addresses),
            reuse_port=all(listener.reuse_port for listener in traffic),
            work=vm_envoy.work(statistics, own),
            connected=vm_envoy.connected(statistics),
        )
        if live and stage in _COMPARING:
            seen = seen._replace(
                endpoints=vm_envoy.endpoints(admin.get_json("/clusters?format=json")),
                certificates=vm_envoy.certificates(admin.get_json("/certs"), time.time()),
            )
        return seen

    def _envoy_of(self, processes: Processes, pid: int, environment: t.Mapping[str, str]) -> int:
        """The Envoy of a kuma-dp; 0 when it has none yet."""
        program = os.path.basename(environment.get("KUMA_DATAPLANE_RUNTIME_BINARY_PATH") or "envoy")
        for child in processes.children(pid):
            if os.path.basename(processes.program(child)[0]) in ("envoy", program):
                return child
        return 0

    def _admin(self, envoy: int, environment: t.Mapping[str, str], owned: t.AbstractSet[vm_envoy.Address]) -> vm_envoy.Admin:
        """The admin interface of this very Envoy. Raises AdminError."""
        directories = [environment.get("KUMA_DATAPLANE_RUNTIME_" + key) for key in ("WORK_DIR", "CONFIG_DIR", "SOCKET_DIR")]
        found = [directory for directory in directories if directory]
        path, port = "", 0
        for directory in found:
            bootstrap = safely.text_of(os.path.join(directory, "bootstrap.yaml"), BOOTSTRAP_LIMIT)
            path, port = vm_envoy.admin_of_bootstrap(bootstrap or "")
            if path or port:
                break
        for candidate in [path, *(os.path.join(directory, ADMIN_SOCKET) for directory in found)]:
            if not port and candidate and safely.exists(candidate):
                return vm_envoy.Admin(path=candidate, pid=envoy)
        port = port or DEFAULT_ADMIN_PORT
        if ("127.0.0.1", port) not in owned:
            raise vm_envoy.AdminError("its admin interface was not found: no %s, and 127.0.0.1:%d is not its own" % (ADMIN_SOCKET, port))
        return vm_envoy.Admin(port=port)

    def uid(self) -> t.Optional[int]:
        try:
            return pwd.getpwnam(self.user).pw_uid
        except KeyError:
            return None

    def _version(self, processes: Processes, pids: t.Iterable[int]) -> str:
        prefix = self.paths.install_dir.rstrip("/") + "/"
        for pid in pids:
            path = processes.program(pid)[0] if pid else ""
            if path.startswith(prefix):
                return path[len(prefix) :].split("/", 1)[0]
        return ""

    # The request and the state.

    def load(self) -> t.Optional[t.Dict[str, t.Any]]:
        return files.read_json(self.paths.own("restart.json"))

    def save(self, state: t.Mapping[str, t.Any]) -> None:
        files.write_json(self.paths.own("restart.json"), state)

    def request(self) -> t.Optional[t.Dict[str, t.Any]]:
        return files.read_json(self.paths.own("request.json"))

    def forget_request(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            safely.remove(self.paths.own("request.json"))

    def own_request(self) -> t.Dict[str, t.Any]:
        environment = parse_environment(files.read_text(self.paths.environment))
        try:
            drain_time = parse_duration(environment.get("KUMA_DATAPLANE_DRAIN_TIME") or "30s")
        except ValueError:
            drain_time = 30.0
        identifier = "by-hand-%d" % int(time.time() * 1000)
        return {"id": identifier, "strategy": "auto", "reasons": [], "drain_time": drain_time, "ready_timeout": 60.0, "poll": 0.5}

    # The cover.

    def material(self) -> str:
        """Why the cover has no usable Dataplane and token; empty when it has."""
        dataplane = files.read_json(self.paths.own("cover", "dataplane.yaml"))
        if dataplane is None:
            return "there is no Dataplane for a cover on this VM"
        networking = dataplane.get("networking") or {}
        if networking.get("outbound") and networking.get("transparentProxying"):
            return "a cover cannot have outbounds and a transparent proxy at once"
        try:
            claims = decode_claims(files.read_text(self.paths.cover_token))
        except ValueError as exc:
            return "there is no token for a cover on this VM: %s" % exc
        # Its user owns the file, and may have written anything.
        end = claims.get("exp")
        if not isinstance(end, (int, float)):
            return "the token for a cover does not say when it expires"
        if end < time.time() + _TOKEN_LEFT:
            return "the token for a cover expired at %s" % format_time(end)
        if claims.get("Name") and claims["Name"] != self.cover_name:
            return "the token for a cover is one of %s, expected %s" % (claims["Name"], self.cover_name)
        return ""

    def cover_claims(self) -> t.Dict[str, t.Any]:
        """By what the token of the cover can be told from others, and revoked: its jti, exp and Zone, as far as it has them."""
        try:
            claims = decode_claims(files.read_text(self.paths.cover_token))
        except ValueError:
            return {}
        return {key: claims[key] for key in ("jti", "exp", "Zone") if key in claims}

    def again(self) -> bool:
        status, output, _error = self.run(["systemctl", "show", "--property=NRestarts", "--value", RESTART_UNIT % self.paths.name])
        return status == 0 and output.strip() not in ("", "0")

    def forget_cover(self) -> None:
        files.forget_cover(self.paths)

    def forget_old_token(self) -> None:
        files.forget_old_token(self.paths)

    @property
    def cover_name(self) -> str:
        return naming.cover_name(self.paths.name)

    def prepare_cover(self) -> t.List[str]:
        """Its environment differs from the main proxy's in what two proxies of a VM cannot share."""
        gid = files.make_directories(self.paths)
        readiness, admin = self._free_ports(2)
        path = self.paths.own("cover", "dataplane.yaml")
        dataplane = dict({"type": "Dataplane"}, **(files.read_json(path) or {}))
        dataplane["name"] = self.cover_name
        dataplane["networking"] = dict(dataplane.get("networking") or {}, admin={"port": admin})
        safely.write(path, json.dumps(dataplane, sort_keys=True).encode("utf-8"), 0o640, 0, gid)
        environment = {
            "KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH": path,
            "KUMA_DATAPLANE_RUNTIME_TOKEN_PATH": self.paths.cover_token,
            "KUMA_DATAPLANE_RUNTIME_WORK_DIR": naming.cover_work_dir(self.paths.name),
            "KUMA_READINESS_PORT": str(readiness),
            "KUMA_DNS_ENABLED": "false",
        }
        safely.write(self.paths.own("cover", "env"), render_environment(environment).encode("utf-8"), 0o640, 0, gid)
        return self._migrate()

    def _free_ports(self, count: int) -> t.List[int]:
        taken = {item["port"] for item in Processes(self.proc).listening()}
        free = [port for port in OWN_PORTS if port not in taken]
        return free[:count]

    def kernel_notes(self) -> t.List[str]:
        """What the kernel cannot do for a restart under cover."""
        return [] if safely.exists(MIGRATE) else [NO_MIGRATION]

    def _migrate(self) -> t.List[str]:
        """Let the kernel hand waiting connections of a listener that closes to another one on the same port."""
        if files.read_text(MIGRATE).strip() == "0":
            try:
                with open(MIGRATE, "w", encoding="ascii") as handle:
                    handle.write("1\n")
            except OSError as exc:
                return ["net.ipv4.tcp_migrate_req could not be set: %s" % exc]
        return self.kernel_notes()

    # Actions.

    def start(self, side: str) -> None:
        self.run(["systemctl", "reset-failed", self.units[side]])
        self._systemctl("start", side)

    def stop(self, side: str) -> None:
        unit = self.units[side]
        shown = parse_show(self.run(["systemctl", "show", "--property=Id,ActiveState,MainPID", unit])[1]).get(unit, {})
        pid, since = int(shown.get("MainPID") or 0), int(time.time())
        processes = Processes(self.proc)
        # One that still waits for its bootstrap has nothing to drain and says nothing.
        if pid and shown.get("ActiveState") == "active" and self._envoy_of(processes, pid, processes.environment(pid)):
            self.run(["systemctl", "kill", "--kill-who=main", "--signal=SIGUSR2", unit])
            self._wait_said(pid, since)
        self._systemctl("stop", side)
        self.run(["systemctl", "reset-failed", unit])

    def _wait_said(self, pid: int, since: int) -> None:
        """Until kuma-dp says that it drains: two signals at once may be handled in either order."""
        end = time.monotonic() + SAID_WITHIN
        command = ["journalctl", "_PID=%d" % pid, "--since=@%d" % since, "--output=cat", "--no-pager", "--quiet"]
        while time.monotonic() < end:
            if re.search("drain", self.run(command)[1], re.IGNORECASE):
                return
            time.sleep(0.05)

    def _systemctl(self, verb: str, side: str) -> None:
        status, output, error = self.run(["systemctl", verb, self.units[side]])
        if status:
            self.log("systemctl %s %s: %s" % (verb, self.units[side], (error or output).strip()))

    def tell(self, side: str, path: str) -> None:
        try:
            if side not in self._admins:
                raise vm_envoy.AdminError("its admin interface is not known")
            self._admins[side].post(path)
        except vm_envoy.AdminError as exc:
            self.log("%s: %s" % (self.units[side], exc))

    def journal(self, side: str) -> t.List[str]:
        return vm_journal.of_unit(self.units[side], self.run)

    def keep_good(self) -> None:
        shown = parse_show(self.run(["systemctl", "show", "--property=Id,MainPID", self.units["main"]])[1]).get(self.units["main"], {})
        started = Processes(self.proc).started(int(shown.get("MainPID") or 0))
        if not files.remember_good(self.paths, started or 0.0):
            self.log("what the proxy was started with is not known: it could not be put back")

    def restore_good(self) -> None:
        taken = files.read_json(self.paths.own("good.json"))
        if taken is not None:
            files.restore(self.paths, taken)
        self.run(["systemctl", "daemon-reload"])

    def log(self, text: str) -> None:
        if self.say is not None:
            self.say(text)
