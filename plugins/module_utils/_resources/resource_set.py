# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Bringing many resources to what is wanted: one listing for each type, checks, and then the writes, level by level."""

from __future__ import annotations

import threading
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import (
    AccessDenied,
    ApiError,
    AuthenticationFailed,
    Client,
    ConnectionFailed,
    NotFound,
    ServerError,
    api_path,
)
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.concurrently import concurrently
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane.resource import OWNER_LABEL
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources import apply, model, plan
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources.documents import Document
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources.plan import (
    CREATED,
    DELETED,
    FAILED,
    SKIPPED,
    UNCHANGED,
    UPDATED,
    Item,
    Key,
)


class Settings(t.NamedTuple):
    """How to apply. ``mesh`` is for documents that name none; ``owner`` is the value of the ownership label."""

    mesh: t.Optional[str] = None
    owner: t.Optional[str] = None
    absent: bool = False
    prune: bool = False
    prune_limit: int = 10
    check: bool = False


class Refused(Exception):
    """Nothing was written, for all of ``problems``."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class ResourceSet:
    """The resources of one call, at one control plane. ``warnings`` is complete after :meth:`execute`."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        self.warnings: t.List[str] = []
        self._capabilities = client.capabilities()
        owned = settings.owner and self._capabilities.labels_survive and not settings.absent
        self._labels = {OWNER_LABEL: str(settings.owner)} if owned else {}
        self._listing = self._types()
        self._stop = threading.Event()
        self._hopeless = ""

    def _types(self) -> t.Any:
        try:
            return self.client.get("/_resources").body
        except (AccessDenied, NotFound, ServerError):
            return None

    def kind(self, type_name: str) -> model.Kind:
        return model.kind_of(type_name, self._listing)

    def plan(self, documents: t.Sequence[Document], problems: t.Sequence[str] = ()) -> t.List[Item]:
        """Every resource with what happens to it, the ones to prune included. Raises Refused with all problems, ApiError."""
        found = [*problems, *self._option_problems()]
        items, faults = plan.check(documents, self._listing, self.settings.mesh, self._capabilities.release, self.settings.absent)
        found.extend(faults)
        live = self._live({item.key[0] for item in items}, bool(found))
        if not self.settings.absent:
            found.extend(plan.missing_meshes(items, {key[2] for key in live if key[0] == "Mesh"}))
        found.extend(plan.foreign(items, live, self.settings.owner))
        if self.settings.absent:
            decided = [plan.decide_absent(item, live) for item in items]
        else:
            decided = [plan.decide(item, live, self._labels) for item in items]
        # What is wrong with a document may be why its resource seems to be left out.
        if self.settings.prune and self.settings.owner and not found:
            doomed, faults = plan.prune(items, live, self.settings.owner, self.settings.prune_limit, self.kind, self._is_zone(live))
            decided.extend(doomed)
            found.extend(faults)
        found.extend(self._occupied(decided))
        if found:
            raise Refused(found)
        return decided

    def _occupied(self, items: t.Iterable[Item]) -> t.Iterator[str]:
        """Meshes to delete that still have Dataplanes: refused by the control plane, but only after all else in them was deleted."""
        for item in items:
            if item.action == DELETED and item.key[0] == "Mesh":
                body = self.client.get(api_path("meshes", item.key[2], "dataplanes"), {"size": "1"}).body
                count = int((body or {}).get("total") or 0)
                if count:
                    yield "Mesh %s is to be deleted, but has %d Dataplanes: let them leave first" % (item.key[2], count)

    def _option_problems(self) -> t.Iterator[str]:
        settings = self.settings
        if settings.owner and not checks.is_label(OWNER_LABEL, settings.owner):
            yield "owner is %r, expected the value of a label: at most 63 letters, digits, - _ and ." % settings.owner
        if not settings.prune:
            return
        if settings.absent:
            yield "prune is for state=present: with state=absent only what is named is deleted"
        if not settings.owner:
            yield "prune needs owner: only resources with that ownership label are ever deleted"
        if not self._capabilities.labels_survive:
            yield (
                "prune is refused: the control plane runs Kuma %s, and below 2.13 labels do not survive, so nobody can tell whose a "
                "resource is. Delete by name with state=absent instead" % self._capabilities.kuma_version
            )
        if self._listing is None:
            yield "prune needs the types of resources, but the control plane does not answer GET /_resources"

    def _live(self, types: t.AbstractSet[str], refused: bool) -> t.Dict[Key, model.Resource]:
        """What the control plane holds of ``types`` in all meshes, of Mesh, and of everything that can be pruned."""
        wanted = {*types, "Mesh"}
        if self.settings.prune and not refused:
            wanted.update(_prunable(self._listing))
        names = sorted(wanted)
        lists = concurrently(lambda name: self._list(name, name in types), names)
        return {
            (name, str(resource.get("mesh") or "") if self.kind(name).in_mesh else "", str(resource.get("name"))): resource
            for name, resources in zip(names, lists)
            for resource in resources
        }

    def _list(self, type_name: str, needed: bool) -> t.List[model.Resource]:
        try:
            return self.client.list(api_path(*self.kind(type_name).segments(None)))
        except NotFound:
            if needed:
                raise
            return []

    def _is_zone(self, live: t.Mapping[Key, model.Resource]) -> bool:
        if not any((resource.get("labels") or {}).get("kuma.io/origin") == "global" for resource in live.values()):
            return False
        return self.client.control_plane().get("mode") == "zone"

    def execute(self, items: t.Sequence[Item]) -> t.List[Item]:
        """``items`` carried out: writes in the order of what refers to what, then deletions the other way round.

        One that fails never stops the others, but nothing is deleted after a write that failed: it may be the successor.
        """
        if self.settings.check:
            return list(items)
        done: t.Dict[Key, Item] = {}
        lost: t.Set[str] = set()
        for group in plan.by_level(item for item in items if item.action in (CREATED, UPDATED)):
            written = concurrently(lambda item: self._write(item, lost), group)
            done.update((item.key, item) for item in written)
            lost.update(item.key[2] for item in written if item.key[0] == "Mesh" and item.before is None and item.action != CREATED)
        failed = any(item.action in (FAILED, SKIPPED) for item in done.values())
        for group in plan.by_level((item for item in items if item.action == DELETED), deletions=True):
            if failed:
                deleted = [item._replace(action=SKIPPED, reason="not deleted, because a write failed") for item in group]
            else:
                deleted = concurrently(self._delete, group)
            done.update((item.key, item) for item in deleted)
        return [done.get(item.key, item) for item in items]

    def _write(self, item: Item, lost: t.AbstractSet[str]) -> Item:
        if item.key[1] in lost:
            return item._replace(action=SKIPPED, reason="Mesh %s could not be created" % item.key[1])
        return self._guarded(item, self._present)

    def _present(self, item: Item) -> Item:
        outcome = apply.present(self.client, item.kind, item.definition or {}, False, self._labels)
        self.warnings.extend(outcome.warnings)
        return item._replace(action=outcome.action, before=outcome.before, after=outcome.after)

    def _delete(self, item: Item) -> Item:
        def delete(doomed: Item) -> Item:
            if doomed.definition is None and not self._still_owned(doomed):
                return doomed._replace(action=UNCHANGED)
            outcome = apply.absent(self.client, doomed.kind, doomed.key[1] or None, doomed.key[2], False)
            return doomed._replace(action=outcome.action)

        return self._guarded(item, delete)

    def _still_owned(self, item: Item) -> bool:
        """Somebody may have taken over a resource since it was listed."""
        path = api_path(*item.kind.segments(item.key[1] or None, item.key[2]))
        return plan.owner_of(apply.read(self.client, path, wanted=False)) == self.settings.owner

    def _guarded(self, item: Item, work: t.Callable[[Item], Item]) -> Item:
        if self._stop.is_set():
            return item._replace(action=SKIPPED, reason=self._hopeless)
        try:
            return work(item)
        except ApiError as error:
            if isinstance(error, (AuthenticationFailed, ConnectionFailed)):
                self._hopeless = "not tried, for an earlier one failed: %s" % error.title
                self._stop.set()
            return item._replace(action=FAILED, failure=error.as_failure(), reason=str(error))


def _prunable(listing: t.Any) -> t.Set[str]:
    """Every type that can carry our label and is not that of a proxy, nor written by the control plane alone."""
    names = {str(entry.get("name")) for entry in (listing or {}).get("resources") or [] if isinstance(entry, dict)}
    return {name for name in {*names, "GlobalSecret", "Mesh"} - plan.PROXIES if not plan.only_from_server(name)}


def changed(items: t.Iterable[Item]) -> bool:
    return any(item.action in (CREATED, UPDATED, DELETED) for item in items)


def diff(items: t.Iterable[Item]) -> t.List[t.Dict[str, t.Any]]:
    """One entry for each resource that changes, in the shape of Ansible's diff, without the values of secrets."""
    entries = []
    for item in items:
        if item.action not in (CREATED, UPDATED, DELETED):
            continue
        wanted = item.definition or {}
        before = model.comparable(item.before or {}, wanted)
        after = model.comparable(item.after or {}, wanted) if item.action != DELETED else {}
        entries.append(
            {
                "before_header": item.title,
                "after_header": item.title,
                "before": model.masked(before),
                "after": model.masked(after, before),
            }
        )
    return entries


def describe_failures(items: t.Sequence[Item]) -> str:
    """One line for each resource that failed or was not tried."""
    bad = [item for item in items if item.action in (FAILED, SKIPPED)]
    lines = "\n".join("  %d. %s%s: %s" % (number, item.title, _from(item), item.reason) for number, item in enumerate(bad, 1))
    return "%d of %d resources failed or were skipped:\n%s" % (len(bad), len(items), lines)


def _from(item: Item) -> str:
    return " (%s)" % item.source if item.source else ""
