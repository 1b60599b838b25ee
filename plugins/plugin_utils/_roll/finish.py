# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The end of a roll: nothing healthy stays fenced, no cover stays behind, and every host that is not done is named."""

from __future__ import annotations

import os
import shutil
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import ApiError, NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status as dataplane_status
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import api
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import gate, retiring, traffic, view, zone
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import journal as roll_journal
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.run import Json, Roll

COVERS_LEAVE = 30.0  # seconds: a cover drains after its host is done, and its Dataplane goes ten seconds after that
KEPT_RUNS = 20
# Three words mean something else in the result of a task.
_KEYS = {"failed": "failed_hosts", "unreachable": "unreachable_hosts", "skipped": "nothing_to_do"}
STATUSES = ("done", "failed", "unreachable", "refused", "deferred", "skipped")


class Finish:
    def __init__(self, roll: Roll) -> None:
        self.roll = roll
        self.records = roll.journal.records()
        self.notes: t.List[str] = []

    def finish(self) -> Json:
        """The result of ``state=finish``, with ``failed`` and ``msg`` when a host is not done. Raises run.Stopped."""
        roll = self.roll
        with roll.state():
            pass  # whose run it is
        deleted: t.List[str] = []
        running: t.List[str] = []
        self._settle()
        try:
            overviews = roll.patiently(self._covers_gone)
            deleted, running = self._ghosts(overviews)
            self._lift(overviews)
            self._revoke(running)
            roll.patiently(roll.locks.release)
        except ApiError as error:
            self.notes.append(f"the control plane could not be asked in the end: {error}")
        roll.journal.save_records(self.records)
        return self._close(deleted, running)

    def _settle(self) -> None:
        """A word for the hosts about which nobody said how they ended."""
        for record in self.records.values():
            if record["status"] == "admitted":
                record.update(status="failed", reason="nobody said how its restart went", completed=self.roll.clock())
            elif record["status"] == "waiting":
                record.update(status="refused", reason=self._abort() or "it never asked for admission: it failed before, or was left out")
            elif record["status"] == "deferred":
                record["reason"] = f"{record['reason']} (it was put off, and there was no second pass)"

    def _abort(self) -> str:
        abort = self.roll.journal.head()["abort"]
        return f"the roll was stopped: {abort}" if abort else ""

    # -- covers

    def _covers_gone(self) -> t.List[Json]:
        """The overviews, once no cover of this run is in them or time is over."""
        roll = self.roll
        covers = {
            naming.cover_name(name) for record in self.records.values() if record["status"] != "skipped" for name in record["proxies"]
        }
        # The cover of a host whose main proxy is down goes on serving: nobody waits for that one.
        staying = {
            naming.cover_name(name)
            for record in self.records.values()
            if record.get("served_by") == "cover" and record["status"] != "done"
            for name in record["proxies"]
        }
        deadline = roll.clock() + COVERS_LEAVE
        while True:
            overviews = zone.overviews(roll.client, roll.mesh, roll.journal.head().get("zone_proxies") or [])
            if not {str(item["name"]) for item in overviews} & (covers - staying) or roll.clock() >= deadline:
                self.covers = covers
                return overviews
            roll.pause()

    def _ghosts(self, overviews: t.Sequence[Json]) -> t.Tuple[t.List[str], t.List[str]]:
        """``(deleted, still connected)``: the covers that are left."""
        deleted, running = [], []
        for item in overviews:
            name = str(item["name"])
            if name not in self.covers:
                continue
            if dataplane_status.online(item):
                running.append(name)
                continue
            try:
                self.roll.client.delete(api.path_of(item, self.roll.mesh))
            except NotFound:
                continue
            deleted.append(name)
        return sorted(deleted), sorted(running)

    def _revoke(self, running: t.Sequence[str]) -> None:
        """The tokens of covers that are gone. One that cannot be revoked ends by itself, so that the roll is none the worse for it."""
        try:
            retiring.retire(self.roll, running, self.roll.clock())
        except ApiError as error:
            self.notes.append(f"the tokens of covers could not be revoked, and end by themselves: {error}")

    # -- fences

    def _lift(self, overviews: t.Sequence[Json]) -> None:
        """Nobody restarts these hosts any more: what is healthy and out of traffic because of us comes back."""
        if self.roll.kind == "leave":
            return
        found = {str(item["name"]): item for item in overviews}
        for record in self.records.values():
            fenced = record.get("fenced") or {}
            self._with_marks(record, fenced, found)
            ready = {}
            for name, keys in fenced.items():
                now = view.proxy(found[name]) if name in found else None
                if not gate.unhealthy((record.get("before") or {}).get(name), now, keys):
                    ready[name] = keys
            self.roll.traffic.lift(ready, {})
            left = self.roll.traffic.still_fenced(ready)
            record["fenced"] = {name: keys for name, keys in fenced.items() if name not in ready or name in left}

    def _with_marks(self, record: Json, fenced: t.Dict[str, t.List[str]], found: t.Mapping[str, Json]) -> None:
        """Adds what has the mark of this run although no record says so."""
        for name in record["proxies"]:
            if name in fenced or name not in found:
                continue
            dataplane = dataplane_status.dataplane(found[name])
            if traffic.marked(dataplane) == traffic.reason(self.roll.journal.run):
                fenced[name] = traffic.out_of_traffic(dataplane)

    # -- the end

    def _close(self, deleted: t.Sequence[str], running: t.Sequence[str]) -> Json:
        roll = self.roll
        by_status: t.Dict[str, t.Dict[str, str]] = {status: {} for status in STATUSES}
        for host, record in self.records.items():
            by_status.setdefault(record["status"], {})[host] = record["reason"]
        left = sorted(name for record in self.records.values() for name in record.get("fenced") or {}) if roll.kind != "leave" else []
        bad = {status: by_status[status] for status in ("failed", "unreachable", "refused", "deferred") if by_status[status]}
        with roll.journal.locked():
            head = roll.journal.head()
            failed = bool(bad or left or head["abort"])
            status = roll_journal.ABORTED if head["abort"] else roll_journal.FAILED if failed else roll_journal.DONE
            head.update(status=status, finished=roll.clock(), lock=None)
            roll.journal.save_head(head)
        path = roll.journal.write_whole()
        result: Json = {
            "changed": bool(by_status["done"] or deleted),
            "run": roll.journal.run,
            "status": status,
            "journal": path,
            "counts": {name: len(hosts) for name, hosts in by_status.items()},
            "done": list(by_status["done"]),
            **{_KEYS.get(name, name): by_status[name] for name in STATUSES if name != "done"},
            "left_fenced": left,
            "covers_deleted": list(deleted),
            "covers_running": list(running),
            "notes": self.notes + [f"{host}: {note}" for host, record in self.records.items() for note in record.get("notes") or []],
            **_reports(roll.journal),
        }
        if failed:
            result.update(failed=True, msg=_message(bad, left, head["abort"], self.notes, result))
        _prune(os.path.dirname(roll.journal.path), roll.journal.run)
        return result


def _message(
    bad: t.Mapping[str, t.Mapping[str, str]], left: t.Sequence[str], abort: t.Optional[str], notes: t.Sequence[str], result: Json
) -> str:
    counts = result["counts"]
    number = sum(len(hosts) for hosts in bad.values())
    parts = [f"{number} hosts are not done, {counts['done']} are"]
    if abort:
        parts.append(f"the roll was stopped: {abort}")
    for status, hosts in bad.items():
        parts.extend(f"{host} ({status}): {reason}" for host, reason in hosts.items())
    if left:
        parts.append(f"left out of traffic, because not healthy: {', '.join(left)}. Repair them, then use dataplane_maintenance")
    parts.extend(notes)
    where = result.get("report_html") or result["journal"]
    return " | ".join(parts) + f" | Report: {where}"


def _reports(journal: roll_journal.Journal) -> Json:
    """The paths of the reports, written beside the journal."""
    from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report import document

    whole = journal.whole()
    report, page = os.path.join(journal.path, "report.json"), os.path.join(journal.path, "report.html")
    roll_journal.write_json(report, document.summary(whole))
    roll_journal.write_text(page, document.html(whole))
    return {"report": report, "report_html": page}


def _prune(directory: str, run: str) -> None:
    """Runs that ended are kept, the last twenty of them."""
    ended = []
    for name in sorted(os.listdir(directory)):
        head = roll_journal.read_json(os.path.join(directory, name, roll_journal.HEAD))
        if isinstance(head, dict) and head.get("status") != roll_journal.RUNNING and name != run:
            ended.append(name)
    for name in ended[: -(KEPT_RUNS - 1)]:
        shutil.rmtree(os.path.join(directory, name), ignore_errors=True)


def status(journal: roll_journal.Journal) -> Json:
    """How a run stands; changes nothing."""
    whole = journal.whole()
    counts: t.Dict[str, int] = {}
    for record in whole["hosts"].values():
        counts[record["status"]] = counts.get(record["status"], 0) + 1
    return {
        "changed": False,
        "run": journal.run,
        "status": whole["status"],
        "abort": whole["abort"],
        "counts": counts,
        "in_flight": sorted(host for host, record in whole["hosts"].items() if record["status"] == "admitted"),
        "alive": roll_journal.lives(journal.head()["process"]),
    }


def abort(journal: roll_journal.Journal, reason: str) -> bool:
    """Nobody else is admitted; hosts in flight are completed. Whether that is new."""
    with journal.locked():
        head = journal.head()
        if head["status"] != roll_journal.RUNNING or head["abort"]:
            return False
        head["abort"] = head["state"]["abort"] = reason
        journal.save_head(head)
    return True
