# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Bring the Dataplanes of a mesh to what is wanted: list once, compare, write only what differs, read back."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import ApiError, Conflict, NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.concurrently import concurrently
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource, schema

Dataplane = resource.Dataplane

CONFLICT_RETRIES = 5

CREATED, UPDATED, UNCHANGED, DELETED, FAILED, SKIPPED = (
    "created",
    "updated",
    "unchanged",
    "deleted",
    "failed",
    "skipped",
)
WRITES = (CREATED, UPDATED, DELETED)


class Settings(t.NamedTuple):
    """How to apply. ``owner`` is the value of the ownership label (None: none is set); ``check`` writes nothing."""

    mesh: str
    initial_state: str = "NotReady"
    owner: t.Optional[str] = None
    check: bool = False
    purge: bool = False
    purge_limit: int = 10


class Change(t.NamedTuple):
    """One decision: what happens to ``name``. ``desired`` is what was asked for, ``before`` what the control plane held."""

    name: str
    action: str
    desired: t.Optional[Dataplane] = None
    before: t.Optional[Dataplane] = None
    fields: t.Tuple[str, ...] = ()
    failure: t.Optional[t.Dict[str, t.Any]] = None

    def result(self) -> t.Dict[str, t.Any]:
        item: t.Dict[str, t.Any] = {"name": self.name, "action": self.action}
        if self.fields:
            item["fields"] = list(self.fields)
        if self.failure is not None:
            item["failure"] = self.failure
        return item


class Refused(Exception):
    """Nothing was written. ``msg`` says why; ``changes`` say it for each Dataplane."""

    def __init__(self, msg: str, changes: t.Sequence[Change] = ()) -> None:
        super().__init__(msg)
        self.msg = msg
        self.changes = list(changes)


class Dataplanes:
    """The Dataplanes of one mesh, as one control plane holds them."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        capabilities = client.capabilities()
        self.release = capabilities.release
        self.labels = capabilities.labels_survive
        self.collection = api_path("meshes", settings.mesh, "dataplanes")

    def list(self) -> t.Dict[str, Dataplane]:
        return {str(item["name"]): item for item in self.client.list(self.collection)}

    def get(self, name: str) -> t.Optional[Dataplane]:
        try:
            return t.cast(Dataplane, self.client.get(self._path(name)).body)
        except NotFound:
            return None

    def prepare(self, desired: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[Dataplane]:
        """``desired`` with type, mesh and ownership label filled in. Raises Refused with every fault of every item."""
        prepared, faulty = [], []
        seen: t.Set[str] = set()
        for index, item in enumerate(desired):
            dataplane = dict(item)
            dataplane.setdefault("type", "Dataplane")
            dataplane.setdefault("mesh", self.settings.mesh)
            name = str(dataplane.get("name") or "")
            problems = self._problems(dataplane, name, seen)
            seen.add(name)
            if self.settings.owner and self.labels:
                labels = dict(dataplane.get("labels") or {})
                labels[resource.OWNER_LABEL] = self.settings.owner
                dataplane["labels"] = labels
            prepared.append(dataplane)
            if problems:
                faulty.append(Change(name or "dataplanes[%d]" % index, FAILED, dataplane, failure=_invalid(problems)))
        if faulty:
            bad = {change.name for change in faulty}
            others = [Change(str(item.get("name")), SKIPPED) for item in prepared if str(item.get("name")) not in bad]
            raise Refused("Nothing was written. " + describe_failures(faulty), faulty + others)
        return prepared

    def _problems(self, dataplane: Dataplane, name: str, seen: t.AbstractSet[str]) -> t.List[schema.Problem]:
        problems = schema.dropped_fields(dataplane, self.release) + schema.misread_probes(dataplane)
        if not name:
            problems.append({"field": "name", "found": "no name", "expected": "the name of the Dataplane"})
        if name and name in seen:
            problems.append({"field": "name", "found": "%s a second time" % name, "expected": "each name once"})
        for key, expected in (("type", "Dataplane"), ("mesh", self.settings.mesh)):
            if dataplane[key] != expected:
                problems.append({"field": key, "found": str(dataplane[key]), "expected": expected})
        return problems

    def plan(self, desired: t.Sequence[Dataplane], live: t.Mapping[str, Dataplane]) -> t.List[Change]:
        """What has to happen so that ``live`` becomes ``desired``, purge included. Raises Refused."""
        changes = [self._decide(dataplane, live.get(str(dataplane["name"]))) for dataplane in desired]
        if self.settings.purge:
            changes.extend(self._purge({str(dataplane["name"]) for dataplane in desired}, live))
        return changes

    def _decide(self, desired: Dataplane, before: t.Optional[Dataplane]) -> Change:
        name = str(desired["name"])
        if before is None:
            return Change(name, CREATED, desired)
        fields = resource.difference(desired, before, self.release, self.labels)
        return Change(name, UPDATED if fields else UNCHANGED, desired, before, tuple(fields))

    def _purge(self, kept: t.AbstractSet[str], live: t.Mapping[str, Dataplane]) -> t.List[Change]:
        if not self.settings.owner:
            raise Refused("purge needs owner: only Dataplanes with that ownership label are ever deleted.")
        if not self.labels:
            raise Refused(
                "purge is refused: control planes before 2.13 lose labels, so nobody can tell whose a Dataplane is. "
                "Delete by name with state=absent instead."
            )
        doomed = [
            Change(name, DELETED, before=before)
            for name, before in sorted(live.items())
            if name not in kept and (before.get("labels") or {}).get(resource.OWNER_LABEL) == self.settings.owner
        ]
        if len(doomed) > self.settings.purge_limit:
            raise Refused(
                "Nothing was written. purge would delete %d Dataplanes of mesh %s, more than purge_limit (%d): %s. "
                "Check the list of Dataplanes, or raise purge_limit."
                % (
                    len(doomed),
                    self.settings.mesh,
                    self.settings.purge_limit,
                    some([change.name for change in doomed]),
                )
            )
        return doomed

    def plan_absent(self, names: t.Iterable[str], live: t.Mapping[str, Dataplane]) -> t.List[Change]:
        return [Change(name, DELETED, before=live[name]) if name in live else Change(name, UNCHANGED) for name in sorted(set(names))]

    def execute(self, changes: t.Sequence[Change]) -> t.List[Change]:
        """Carry out ``changes`` over at most eight connections; one that fails never stops the others."""
        if self.settings.check:
            return list(changes)
        done = iter(concurrently(self._carry_out, [change for change in changes if change.action in WRITES]))
        return [next(done) if change.action in WRITES else change for change in changes]

    def _carry_out(self, change: Change) -> Change:
        try:
            if change.action == CREATED:
                return self._create(change)
            if change.action == UPDATED:
                return self._update(change)
            return self._delete(change)
        except ApiError as error:
            return change._replace(action=FAILED, failure=error.as_failure())

    def _create(self, change: Change) -> Change:
        desired = t.cast(Dataplane, change.desired)
        body = resource.body_for_create(desired, self.settings.initial_state, self.labels)
        try:
            self.client.put(self._path(change.name), body)
        except Conflict:
            return self._update(change)
        return change

    def _update(self, change: Change) -> Change:
        desired = t.cast(Dataplane, change.desired)

        def make(before: t.Optional[Dataplane]) -> t.Optional[Dataplane]:
            if before is None:
                return resource.body_for_create(desired, self.settings.initial_state, self.labels)
            if resource.difference(desired, before, self.release, self.labels):
                return resource.body_for_update(desired, before, self.settings.initial_state, self.labels)
            return None

        self.rewrite(change.name, make)
        return change

    def rewrite(self, name: str, make: t.Callable[[t.Optional[Dataplane]], t.Optional[Dataplane]]) -> bool:
        """Write what ``make`` returns for the live Dataplane (None: there is none), unless it returns None; whether it was written.

        It is read immediately before, for health checks write to it as well (trap 20), and again after a conflict. Raises ApiError.
        """
        for attempt in range(CONFLICT_RETRIES):
            body = make(self.get(name))
            if body is None:
                return False
            try:
                self.client.put(self._path(name), body)
                return True
            except Conflict:
                if attempt == CONFLICT_RETRIES - 1:
                    raise
        return False

    def _delete(self, change: Change) -> Change:
        try:
            self.client.delete(self._path(change.name))
        except NotFound:
            return change._replace(action=UNCHANGED)
        return change

    def read_back(self, changes: t.Sequence[Change], live: t.Mapping[str, Dataplane]) -> t.List[Change]:
        """``changes`` with a failure wherever the control plane took a write but does not hold what was sent (trap 19)."""
        return [self._verified(change, live.get(change.name)) for change in changes]

    def _verified(self, change: Change, after: t.Optional[Dataplane]) -> Change:
        if change.action not in (CREATED, UPDATED) or change.desired is None:
            return change
        if after is None:
            return change._replace(action=FAILED, failure=_lost("the Dataplane is gone again right after the write", []))
        fields = resource.difference(change.desired, after, self.release, self.labels)
        if not fields:
            return change
        return change._replace(
            action=FAILED,
            failure=_lost("the control plane accepted the write but does not hold these fields as sent", fields),
        )

    def _path(self, name: str) -> str:
        return self.collection + api_path(name)


def present(
    dataplanes: Dataplanes, desired: t.Sequence[t.Mapping[str, t.Any]], live: t.Optional[t.Mapping[str, Dataplane]] = None
) -> t.List[Change]:
    """Make ``desired`` so, in bulk: one listing, the writes, and one more listing after writes. Raises Refused, ApiError.

    Whoever has listed the mesh just now hands it over as ``live``.
    """
    prepared = dataplanes.prepare(desired)
    changes = dataplanes.execute(dataplanes.plan(prepared, dataplanes.list() if live is None else live))
    if dataplanes.settings.check or not any(change.action in (CREATED, UPDATED) for change in changes):
        return changes
    return dataplanes.read_back(changes, dataplanes.list())


def absent(dataplanes: Dataplanes, names: t.Iterable[str]) -> t.List[Change]:
    """Delete ``names`` in bulk; what is not there is left alone."""
    return dataplanes.execute(dataplanes.plan_absent(names, dataplanes.list()))


def present_one(dataplanes: Dataplanes, desired: t.Mapping[str, t.Any]) -> Change:
    """``present`` for a single Dataplane, without listing the mesh."""
    prepared = dataplanes.prepare([desired])[0]
    name = str(prepared["name"])
    held = dataplanes.get(name)
    changes = dataplanes.execute(dataplanes.plan([prepared], {} if held is None else {name: held}))
    if dataplanes.settings.check or changes[0].action not in (CREATED, UPDATED):
        return changes[0]
    after = dataplanes.get(name)
    return dataplanes.read_back(changes, {} if after is None else {name: after})[0]


def absent_one(dataplanes: Dataplanes, name: str) -> Change:
    held = dataplanes.get(name)
    return dataplanes.execute(dataplanes.plan_absent([name], {} if held is None else {name: held}))[0]


def changed(changes: t.Iterable[Change]) -> bool:
    return any(change.action in (CREATED, UPDATED, DELETED) for change in changes)


def diff(changes: t.Iterable[Change], dataplanes: Dataplanes) -> t.List[t.Dict[str, t.Any]]:
    """One entry per Dataplane that changes, in the shape of Ansible's diff."""
    entries = []
    for change in changes:
        if change.action not in (CREATED, UPDATED, DELETED):
            continue
        after: t.Dict[str, t.Any] = {}
        if change.desired is not None and change.before is None:
            after = resource.normalise(change.desired, dataplanes.release)
        elif change.desired is not None and change.before is not None:
            body = resource.body_for_update(change.desired, change.before, "NotReady", dataplanes.labels)
            after = resource.normalise(body, dataplanes.release)
        before = resource.normalise(change.before, dataplanes.release) if change.before is not None else {}
        header = "Dataplane %s/%s" % (dataplanes.settings.mesh, change.name)
        entries.append({"before_header": header, "after_header": header, "before": before, "after": after})
    return entries


def describe_failures(changes: t.Sequence[Change]) -> str:
    """One sentence per failed Dataplane."""
    sentences = ["Dataplane %s: %s" % (change.name, reason(change)) for change in changes if change.failure is not None]
    return "%d failed. %s" % (len(sentences), " | ".join(sentences))


def reason(change: Change) -> str:
    """Why a Dataplane was not written: its own failure, or those of others, without which nothing was."""
    if change.failure is None:
        return "nothing was written, for other Dataplanes are not valid"
    details = "; ".join(
        "%s: %s" % (parameter.get("field"), parameter.get("reason")) for parameter in change.failure.get("invalid_parameters") or []
    )
    return "%s%s" % (change.failure["detail"], " (%s)" % details if details else "")


def _invalid(problems: t.Sequence[schema.Problem]) -> t.Dict[str, t.Any]:
    parameters = [
        {"field": problem["field"], "reason": "found %s, expected %s" % (problem["found"], problem["expected"])} for problem in problems
    ]
    return {
        "kind": "invalid",
        "status": None,
        "title": "Not sent",
        "detail": "the Dataplane is not valid",
        "invalid_parameters": parameters,
    }


def _lost(detail: str, fields: t.Sequence[str]) -> t.Dict[str, t.Any]:
    return {
        "kind": "dropped",
        "status": None,
        "title": "Read back differs",
        "detail": detail,
        "invalid_parameters": [{"field": field, "reason": "not held as sent"} for field in fields],
    }
