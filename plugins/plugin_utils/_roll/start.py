# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The beginning of a roll, or of the continuation of one whose controller died: look, lock, plan, clean up, write the journal.

What a dead controller left behind is decided by facts: a host with nothing pending is done, whatever its record says.
"""

from __future__ import annotations

import getpass
import os
import random
import socket
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied, ApiError, Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status
from ansible_collections.meshfleet.kuma.plugins.module_utils._traffic.propagation import Timing
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import admission, cover, gate, retiring, view, zone
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import journal as roll_journal
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import plan as roll_plan
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import traffic as roll_traffic
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.lock import Locks
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.settings import Settings

Json = t.Dict[str, t.Any]


class Refused(Exception):
    """Nothing was begun; the message says why."""


class Wish(t.NamedTuple):
    """What is asked for. ``directory`` is where the runs of this mesh are kept; ``pid`` the process that owns the run. With ``offline`` the
    controller signs the tokens of covers."""

    mesh: str
    kind: str
    hosts: t.Sequence[t.Mapping[str, t.Any]]
    settings: Settings
    directory: str
    resume: bool
    check: bool
    pid: int
    offline: bool = False


class Starter:
    def __init__(self, client: Client, wish: Wish, clock: t.Callable[[], float] = time.time) -> None:
        self.client, self.wish, self.clock = client, wish, clock
        self.warnings: t.List[str] = []
        self.owner = f"{_user()}@{socket.gethostname()}"

    def start(self) -> Json:
        """The result of ``state=start``. Raises Refused, lock.Taken and ApiError."""
        if self.wish.check:
            return self._planned()
        os.makedirs(self.wish.directory, mode=0o700, exist_ok=True)
        # Two that start on this machine at the same moment would both find no run.
        with roll_journal.Journal(self.wish.directory).locked():
            return self._begin()

    def _planned(self) -> Json:
        dead, living = self._unfinished()
        if living is not None:
            self.warnings.append(f"Another roll is under way, a real one would be refused now: {living}.")
        overviews = self._list()
        plan = self._plan(overviews, dead, self._abilities())
        return self._result(plan, "", "", bool(dead), changed=bool(plan.order))

    def _begin(self) -> Json:
        dead, living = self._unfinished()
        if living is not None:
            raise Refused(f"Nothing was begun: {living}. Wait until it is over, or stop it with state=abort.")
        if not dead:
            # Whether there is anything to do depends on no ability, which takes a request for every kind of policy to learn.
            plan = self._plan(self._list(), dead, roll_plan.Abilities())
            if not (plan.order or plan.refused or plan.unreachable or self.left):
                return self._result(plan, "", "", False, changed=False)
        earlier = self._to_continue(dead)
        run = earlier.run if earlier is not None else _new_run(self.clock())
        epoch = int(earlier.head()["epoch"]) + 1 if earlier is not None else 1
        locks = Locks(self.client, self.wish.mesh, run, epoch, self.owner, self.wish.settings.host_timeout)
        # A run that ended while the control plane was away could not unlock.
        over = {journal.run for journal in dead} | roll_journal.ended(self.wish.directory, self.client.url)
        lock = self._lock(locks, over)
        try:
            result = self._write(run, epoch, lock, earlier, dead)
        except BaseException:
            if lock is not None:
                _quietly(locks.release)
            raise
        for name in {journal.run for journal in dead if journal is not earlier}:
            self._close(next(journal for journal in dead if journal.run == name))
        self._adopt(run)
        return result

    # -- earlier runs

    def _unfinished(self) -> t.Tuple[t.List[roll_journal.Journal], t.Optional[str]]:
        """Runs whose controller died, and who rolls this mesh at the moment, if anybody does."""
        dead: t.List[roll_journal.Journal] = []
        for journal in roll_journal.unfinished(self.wish.directory, self.client.url):
            head = journal.head()
            process = head["process"]
            alive = roll_journal.lives(process)
            if alive is None:
                alive = self.clock() - journal.seen() < float(head["settings"]["host_timeout"])
            if alive and process["pid"] != self.wish.pid:
                return dead, f"{head['owner']} rolls mesh {self.wish.mesh} already (run {journal.run}, process {process['pid']})"
            dead.append(journal)
        return dead, None

    def _to_continue(self, dead: t.Sequence[roll_journal.Journal]) -> t.Optional[roll_journal.Journal]:
        """The run that goes on. One that was stopped does not: whoever starts again has dealt with the reason."""
        for journal in dead:
            head = journal.head()
            if self.wish.resume and not head["abort"] and head["kind"] == self.wish.kind:
                return journal
        return None

    def _adopt(self, run: str) -> None:
        """See to the tokens of covers that earlier runs have left."""
        own = roll_journal.Journal(os.path.join(self.wish.directory, run))
        for name in sorted(roll_journal.ended(self.wish.directory, self.client.url) - {run}):
            retiring.adopt(own, roll_journal.Journal(os.path.join(self.wish.directory, name)))

    def _close(self, journal: roll_journal.Journal) -> None:
        with journal.locked():
            head = journal.head()
            head.update(
                status=roll_journal.ABORTED, finished=self.clock(), abort=head["abort"] or "its controller died, and it was not continued"
            )
            journal.save_head(head)
        journal.write_whole()

    # -- the control plane

    def _list(self) -> t.List[Json]:
        self.began = self.clock()
        return zone.overviews(self.client, self.wish.mesh, zone.kinds(self.wish.hosts))

    def _lock(self, locks: Locks, dead: t.AbstractSet[str]) -> t.Optional[Json]:
        try:
            return {"name": locks.name, "expires": locks.acquire(self.clock(), dead)}
        except AccessDenied as error:
            self.warnings.append(
                f"No lock in the control plane, so nothing keeps another controller from rolling mesh {self.wish.mesh} at the same time: {error}"
            )
            return None

    # -- the plan

    def _abilities(self) -> roll_plan.Abilities:
        return cover.abilities(self.client, self.wish.mesh, self.wish.offline)

    def _plan(self, overviews: t.Sequence[Json], dead: t.Sequence[roll_journal.Journal], abilities: roll_plan.Abilities) -> roll_plan.Plan:
        self.found = {str(item["name"]): view.proxy(item) for item in overviews}
        self.left = self._leftovers(overviews, dead)
        self.done = self._done(dead)
        hosts = [self._without_pending(host) if str(host["host"]) in self.done else host for host in self.wish.hosts]
        settings = self.wish.settings
        plan = roll_plan.make(
            self.wish.kind,
            [host for host in hosts if str(host["host"]) not in self.done],
            settings,
            view.instances(overviews),
            abilities,
            [str(host["host"]) for host in hosts if str(host["host"]) in self.left],
        )
        for host, record in self.done.items():
            plan.skipped[host] = "it was done before the controller died"
            plan.records[host] = record
        for host, fenced in self.left.items():
            if host in plan.records:
                plan.records[host].update(fenced=fenced, earlier=self.earlier.get(host, {}))
        return plan

    @staticmethod
    def _without_pending(host: t.Mapping[str, t.Any]) -> Json:
        return dict(host, proxies=[dict(proxy, pending=[]) for proxy in host.get("proxies") or []])

    def _leftovers(self, overviews: t.Sequence[Json], dead: t.Sequence[roll_journal.Journal]) -> t.Dict[str, t.Dict[str, t.List[str]]]:
        """``{host: {Dataplane: inbounds that a dead controller fenced}}``, also of hosts that were in flight without any."""
        left: t.Dict[str, t.Dict[str, t.List[str]]] = {}
        host_of = {str(proxy["name"]): str(host["host"]) for host in self.wish.hosts for proxy in host.get("proxies") or []}
        self.before: t.Dict[str, Json] = {}
        # The connections that its proxies had before the first of these controllers restarted them.
        self.earlier: t.Dict[str, t.Dict[str, t.List[str]]] = {}
        for journal in dead:
            for host, record in journal.records().items():
                if record["status"] == "admitted" or record.get("fenced"):
                    left[host] = dict(record.get("fenced") or {})
                    before = {name: found for name, found in (record.get("before") or {}).items() if found}
                    self.before.update(before)
                    self.earlier[host] = record.get("earlier") or {name: list(found["ids"]) for name, found in before.items()}
        known = {name for fenced in left.values() for name in fenced}
        for item in overviews:
            dataplane, name = status.dataplane(item), str(item["name"])
            if name not in known and name in host_of and roll_traffic.is_ours(dataplane):
                left.setdefault(host_of[name], {})[name] = roll_traffic.out_of_traffic(dataplane)
        return left

    def _done(self, dead: t.Sequence[roll_journal.Journal]) -> t.Dict[str, Json]:
        """The hosts of the run that goes on which need nothing any more, by what is observed."""
        earlier = self._to_continue(dead)
        if earlier is None:
            return {}
        given = {str(host["host"]): host for host in self.wish.hosts}
        done = {}
        for host, record in earlier.records().items():
            if host not in given or record["status"] not in ("done", "admitted"):
                continue
            pending = any(proxy.get("pending") for proxy in given[host].get("proxies") or [])
            if pending or self.wish.kind == "leave":
                continue
            if record["status"] == "done" or not self.wish.settings.force or self._restarted(record):
                done[host] = dict(record, status="done", reason="", completed=record.get("completed") or self.clock())
        return done

    def _restarted(self, record: t.Mapping[str, t.Any]) -> bool:
        """Whether the proxies of a host that was in flight have connected anew and do what they did before."""
        before = record.get("before") or {}
        return all(
            not gate.problems(before.get(name), self.found.get(name), (record.get("fenced") or {}).get(name, []), "", self.wish.kind)
            for name in record["proxies"]
        )

    # -- the journal

    def _write(
        self,
        run: str,
        epoch: int,
        lock: t.Optional[Json],
        earlier: t.Optional[roll_journal.Journal],
        dead: t.Sequence[roll_journal.Journal],
    ) -> Json:
        wish = self.wish
        overviews = self._list()
        plan = self._plan(overviews, dead, self._abilities())
        counts: t.Dict[str, int] = {}
        for record in self.done.values():
            counts[record.get("group", "")] = counts.get(record.get("group", ""), 0) + 1
        before = earlier.head() if earlier is not None else None
        state = roll_plan.begin(
            plan, wish.settings, counts, admission.State.from_json(before["state"]) if before else None, list(self.left)
        )
        now = self.clock()
        head: Json = {
            "run": run,
            "epoch": epoch,
            "mesh": wish.mesh,
            "control_plane": self.client.url,
            "kind": wish.kind,
            "owner": self.owner,
            "process": roll_journal.identity(wish.pid),
            "started": before["started"] if before else now,
            "finished": None,
            "status": roll_journal.RUNNING,
            "abort": state.abort or None,
            "settings": wish.settings.as_json(),
            "zone_proxies": zone.kinds(wish.hosts),
            "services": sorted({service for record in plan.records.values() for service in record["services"]}),
            "lock": lock,
            "expected_seconds": plan.seconds,
            "state": state.as_json(),
        }
        if earlier is None:
            journal = roll_journal.Journal.create(wish.directory, run, head, plan.records)
        else:
            journal = earlier
            with journal.locked():
                journal.save_records({**_left_out(journal.records(), plan.records, now), **plan.records})
                journal.save_head(head)
        kept = view.summary(overviews, set(), self.began, now - self.began)
        journal.save_overview(dict(kept, asked=self.began, wanted=[]))
        self._lift(run, journal, plan)
        path = journal.write_whole()
        return self._result(plan, run, path, earlier is not None, changed=True, abort=state.abort)

    def _lift(self, run: str, journal: roll_journal.Journal, plan: roll_plan.Plan) -> None:
        """Lift what a dead controller fenced, where the restart is over. A proxy that may be draining stays out until its turn comes."""
        timing = Timing(self.wish.settings.propagation_delay, self.wish.settings.propagation_timeout)
        traffic = roll_traffic.Traffic(self.client, self.wish.mesh, run, timing)
        rolled = set(plan.order)
        for host, fenced in self.left.items():
            ready = {}
            for name, keys in fenced.items():
                before, found = self.before.get(name), self.found.get(name)
                over = host not in rolled or (before is not None and found is not None and set(found["ids"]) - set(before["ids"]))
                if over and not gate.unhealthy(before, found, keys):
                    ready[name] = keys
            try:
                traffic.lift(ready, {})
            except ApiError as error:
                self.warnings.append(f"{host}: the fence that an earlier run left could not be lifted: {error}")
                continue
            kept = {name: keys for name, keys in fenced.items() if name not in ready}
            if kept and host not in rolled:
                self.warnings.append(
                    f"{host}: an earlier run left {', '.join(sorted(kept))} out of traffic, and not healthy. Bring it back with dataplane_maintenance."
                )
            if host in plan.records:
                plan.records[host]["fenced"] = kept
                journal.save_record(host, plan.records[host])

    def _result(self, plan: roll_plan.Plan, run: str, path: str, resumed: bool, changed: bool, abort: str = "") -> Json:
        lines = list(plan.lines)
        if resumed:
            lines.insert(1, f"continues an earlier run: {len(self.done)} hosts are done")
        if abort:
            lines.append(f"stopped before it began: {abort}")
        refused = dict(plan.refused, **{host: plan.records[host]["reason"] for host in plan.unreachable})
        return {
            "changed": changed,
            "run": run,
            "journal": path,
            "order": plan.order,
            "nothing_to_do": plan.skipped,
            "refused": refused,
            "plan": lines,
            "expected_seconds": plan.seconds,
            "resumed": resumed,
        }


def _left_out(earlier: roll_journal.Records, given: t.Container[str], now: float) -> roll_journal.Records:
    """The hosts of a run that goes on without them: gone from the inventory, or outside its limit."""
    found: roll_journal.Records = {}
    for host, record in earlier.items():
        if host in given or record["status"] not in ("waiting", "deferred", "admitted"):
            continue
        if record["status"] == "admitted":
            reason = "it was being restarted when the controller died, and is no part of the roll any more: look at it"
            found[host] = dict(record, status="failed", reason=reason, completed=now)
        else:
            found[host] = dict(
                record, status="skipped", reason="it is no part of the roll any more: it was left out when the roll was continued"
            )
    return found


def _new_run(now: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)) + "-%04x" % random.randrange(16**4)  # noqa: S311 -- a name, no secret


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())


def _quietly(action: t.Callable[[], t.Any]) -> None:
    """Clean up after a failure, which is what is to be told."""
    try:
        action()
    except ApiError:
        return
