# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VM with a proxy, its cover, systemd and Envoy's admin, in virtual time, for tests of the restart machine."""

from __future__ import annotations

import dataclasses
import itertools
import json

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.facts import Facts, Side
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.machine import Machine
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.envoy import Certificates, Work

BOUND = frozenset({("10.0.0.11", 8080), ("127.0.0.1", 10001)})
ENDPOINTS = {"web": frozenset({"10.0.0.12:8080"})}
CERTIFICATES = Certificates(frozenset({"spiffe://default/web"}), 0)
NEVER = 1e9
REQUEST = {"id": "r1", "strategy": "auto", "reasons": [], "drain_time": 8.0, "ready_timeout": 20.0, "poll": 0.5}


class Killed(Exception):
    """SIGKILL reached the machine."""


class Hangs(AssertionError):
    """The machine does not come to an end."""


@dataclasses.dataclass
class Proxy:
    """One side. `files` is what it was started with, `ready_at` when it has its configuration, `idle_after` how long it drains."""

    state: str = "inactive"
    pid: int = 0
    started: float = 0.0
    files: str = ""
    ready_at: float = NEVER
    stopped_at: float = NEVER
    idle_after: float = 0.0
    crash_at: float = NEVER

    def serves(self, now):
        return bool(self.pid) and now >= self.ready_at and self.stopped_at == NEVER

    def side(self, now, version):
        if not self.pid:
            return Side(state=self.state)
        live, stopped = now >= self.ready_at, self.stopped_at != NEVER
        busy = live and now < (self.stopped_at if stopped else now) + self.idle_after
        return Side(
            state=self.state,
            pid=self.pid,
            started=self.started,
            live=live,
            stopped=stopped,
            bound=BOUND if live else frozenset(),
            owned=BOUND if live and not stopped else frozenset(),
            endpoints=ENDPOINTS if live else {},
            certificates=CERTIFICATES if live else Certificates(frozenset(), 0),
            work=Work(0, 2 if busy else 0, 0),
            version=version,
        )


@dataclasses.dataclass
class Vm:
    """What is configured: how long each kind of start takes until it is ready, and what goes wrong when."""

    cover_takes: float = 1.5
    target_takes: float = 1.0
    good_takes: float = 1.0
    idle_after: float = 0.3
    kills: frozenset = frozenset()
    cover_dies_in: str | None = None  # a stage
    main_dies_in: str | None = None
    request: dict | None = dataclasses.field(default_factory=lambda: dict(REQUEST))
    knows_good: bool = True
    away_until: float = 0.0  # the control plane: nobody gets ready before
    busy: frozenset = frozenset()  # (number of the look, side) whose admin interface does not answer
    refuses: frozenset = frozenset()  # sides that systemd does not stop, before that time
    refuses_until: float = NEVER
    limit: float = 600.0
    boot: str = "boot-1"

    def __post_init__(self):
        self.time = 1000.0
        self.points = 0
        self.looks = 0
        self.pids = itertools.count(100)
        self.files = "target"
        self.disk = {}
        self.good = None
        self.old_token = False
        self.faulted = False  # nobody can be blamed for what follows
        self.main = Proxy("active", next(self.pids), 500.0, "good", 500.0, idle_after=self.idle_after)
        self.cover = Proxy()
        self.first = self.main.pid
        self.cover_served = False
        self.log_lines = []
        self.token = True  # of the cover
        self.was_killed = False
        self.starts = {"main": 0, "cover": 0}
        self.gaps = 0.0
        if self.request is not None:
            self.disk["request"] = json.dumps(self.request)

    # The passing of time.

    def _pass(self, seconds):
        end = self.time + seconds
        while self.time < end:
            step = min(0.05, end - self.time)
            self.time += step
            self._watch(step)

    def _watch(self, step):
        self.cover_served = self.cover_served or self.cover.serves(self.time)
        if not (self.main.serves(self.time) or self.cover.serves(self.time)):
            self.gaps += step
            assert self.faulted or not self.cover_served, f"nobody serves at {self.time:.2f}: {self.log_lines}"

    def _point(self):
        """Somewhere a kill may reach the machine."""
        self.points += 1
        self._pass(0.01)
        if self.points in self.kills:
            raise Killed
        if self.time > 1000 + self.limit:
            raise Hangs(self.log_lines[-20:])

    def _faults(self, stage):
        if stage == self.cover_dies_in and self.cover.pid:
            self.faulted, self.cover_dies_in = True, None
            self.cover = Proxy("failed")
        if stage == self.main_dies_in and self.main.pid:
            # Its unit starts it again.
            self.faulted, self.main_dies_in = True, None
            self._run_main()

    def _run_main(self):
        takes = self.target_takes if self.files == "target" else self.good_takes
        ready = max(self.time + takes, self.away_until) if takes < NEVER else NEVER
        self.main = Proxy("active", next(self.pids), self.time, self.files, ready, idle_after=self.idle_after)

    # What the machine sees and does.

    def now(self):
        return self.time

    def sleep(self, seconds):
        self._point()
        self._pass(seconds)
        self._point()

    def look(self, stage):
        self._point()
        self._faults(stage)
        self.looks += 1
        return Facts(
            self._seen("main", self.main.side(self.time, self.main.files)),
            self._seen("cover", self.cover.side(self.time, "target")),
            memory_available=None,
            material="" if self.token else "there is no token for a cover on this VM",
            good=self.good is not None,
        )

    def _seen(self, name, side):
        if (self.looks, name) not in self.busy or not side.pid:
            return side
        # The kernel and systemd still tell what they know.
        return Side(state=side.state, pid=side.pid, started=side.started, owned=side.owned, problem="its admin interface is busy")

    def load(self):
        return json.loads(self.disk["state"]) if "state" in self.disk else None

    def save(self, state):
        self._point()
        self.disk["state"] = json.dumps(state)
        self._point()

    def request_(self):
        return json.loads(self.disk["request"]) if "request" in self.disk else None

    def forget_request(self):
        self._point()
        self.disk.pop("request", None)

    def own_request(self):
        return dict(REQUEST, id="by-hand")

    def again(self):
        return self.was_killed

    def forget_cover(self):
        self._point()
        assert not self.cover.pid, "the cover may have to connect again"
        self.token = False
        self._point()

    def forget_old_token(self):
        self._point()
        self.old_token = None
        self._point()

    def prepare_cover(self):
        self._point()
        return []

    def start(self, side):
        self._point()
        proxy = getattr(self, side)
        if proxy.pid:
            return
        self.starts[side] += 1
        self._pass(0.1)
        if side == "main":
            self._run_main()
        else:
            ready = max(self.time + self.cover_takes, self.away_until) if self.cover_takes < NEVER else NEVER
            self.cover = Proxy("active", next(self.pids), self.time, "target", ready, idle_after=self.idle_after)
        self._point()

    def stop(self, side):
        self._point()
        if side in self.refuses and self.time < self.refuses_until:
            self.log(f"systemctl stop {side}: Operation refused")
            return
        self._pass(0.1)
        setattr(self, side, Proxy())
        self._watch(0)
        self._point()

    def tell(self, side, path):
        self._point()
        proxy = getattr(self, side)
        if path == "/drain_listeners" and proxy.serves(self.time):
            proxy.stopped_at = self.time
        self._point()

    def journal(self, side):
        return [f"the journal of the {side}"]

    def keep_good(self):
        self._point()
        if self.knows_good:
            self.good = self.main.files
            self.old_token = True

    def restore_good(self):
        self._point()
        # False until this restart has kept it, None once that is over.
        assert self.old_token is not None, "what the proxy goes back to has lost its token"
        self.files = self.good

    def log(self, text):
        self.log_lines.append(f"{self.time:.2f} {text}")

    # Running it.

    def restart(self):
        """The final state, however often the machine is killed; systemd starts it again."""
        world = _World(self)
        self.was_killed = False
        while True:
            try:
                state = Machine(world).run()
                assert not self.token, "the token of the cover is still there"
                assert not self.old_token, "the token of before the restart is still there"
                return state
            except Killed:
                self.was_killed = True
                self.log("killed")
                self._pass(0.5)


class _World:
    """`Vm.request` is a field; the machine wants a method."""

    def __init__(self, vm):
        self._vm = vm

    def request(self):
        return self._vm.request_()

    def __getattr__(self, name):
        return getattr(self._vm, name)
