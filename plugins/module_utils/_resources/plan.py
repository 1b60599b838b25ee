# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What has to happen so that a control plane holds a set of resources: checks, order, differences and pruning. Pure functions."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers, Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane.resource import OWNER_LABEL
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources import model
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources.documents import Document

# Type, mesh ("" for types outside of meshes) and name.
Key = t.Tuple[str, str, str]
Live = t.Mapping[Key, model.Resource]

CREATED, UPDATED, UNCHANGED, DELETED, FAILED, SKIPPED = ("created", "updated", "unchanged", "deleted", "failed", "skipped")

# Later levels refer to earlier ones. Policies are the last but one: they may name a route.
_LEVELS: t.Tuple[t.FrozenSet[str], ...] = (
    frozenset(("Mesh", "GlobalSecret", "Zone")),
    frozenset(("Secret",)),
    frozenset(("MeshIdentity", "MeshTrust")),
    frozenset(
        (
            "HostnameGenerator",
            "MeshExternalService",
            "MeshGateway",
            "MeshMultiZoneService",
            "MeshService",
            "Workload",
            "ZoneEgress",
            "ZoneIngress",
        )
    ),
    frozenset(("MeshGatewayRoute", "MeshHTTPRoute", "MeshTCPRoute")),
)
# They stand for running proxies, which other modules and roles bring and remove.
PROXIES = frozenset(("Dataplane", "ZoneEgress", "ZoneIngress"))
_WRITTEN_BY_SERVER = re.compile(r"(Insight|Overview)\Z")
# Fields that 3.0 drops without a word.
RETIRED_MESH_FIELDS = ("constraints", "logging", "meshServices", "metrics", "mtls", "networking", "routing", "tracing")
# What a control plane makes by itself in a mesh, and removes with it.
_MADE_WITH_MESH = (
    ("Secret", r"dataplane-token-(signing-key|revocations)-{mesh}(-.*)?\Z"),
    ("Secret", r"{mesh}\.ca-builtin-(cert|key)-.*\Z"),
    ("", r"mesh-[a-z-]+-all-{mesh}\Z"),
)
_GENERATED = frozenset(("MeshService", "Workload"))


class Item(t.NamedTuple):
    """One resource of a call and what happens to it. ``before`` is what the control plane holds, None for nothing."""

    key: Key
    kind: model.Kind
    source: str
    action: str
    definition: t.Optional[model.Resource] = None
    before: t.Optional[model.Resource] = None
    after: t.Optional[model.Resource] = None
    fields: t.Tuple[str, ...] = ()
    failure: t.Optional[t.Dict[str, t.Any]] = None
    reason: str = ""

    @property
    def title(self) -> str:
        return title(self.key)

    def result(self) -> t.Dict[str, t.Any]:
        """As the module returns it; without any value of a field."""
        result: t.Dict[str, t.Any] = {"type": self.key[0], "name": self.key[2], "action": self.action}
        optional = (("mesh", self.key[1]), ("source", self.source), ("fields", list(self.fields)))
        result.update({key: value for key, value in optional if value})
        if self.reason:
            result["reason"] = self.reason
        if self.failure is not None:
            result["failure"] = self.failure
        return result


def title(key: Key) -> str:
    return "%s %s" % (key[0], "/".join(part for part in key[1:] if part))


def level(type_name: str) -> int:
    """The place of a type in the order of writing; deletions go the other way."""
    for number, types in enumerate(_LEVELS):
        if type_name in types:
            return number
    return len(_LEVELS)


def by_level(items: t.Iterable[Item], deletions: bool = False) -> t.List[t.List[Item]]:
    """``items`` in groups that do not depend on each other, the groups in the order in which they are to be done."""
    groups: t.Dict[int, t.List[Item]] = {}
    for item in items:
        groups.setdefault(level(item.key[0]), []).append(item)
    return [sorted(groups[number], key=lambda item: item.key) for number in sorted(groups, reverse=deletions)]


def misnamed(documents: t.Iterable[Document]) -> t.List[str]:
    """What becomes part of a path and cannot: a type, mesh or name. Missing ones, and what is no text, are faults of :func:`check`."""
    rules = (("type", naming.TYPE), ("mesh", naming.LOOSE), ("name", naming.LOOSE))
    found = [
        (document, key, naming.fault(document.body[key], rule)) for document in documents for key, rule in rules if key in document.body
    ]
    return ["%s: %s %s" % (document.source, key, wrong) for document, key, wrong in found if wrong and isinstance(document.body[key], str)]


def check(
    documents: t.Sequence[Document],
    listing: t.Any,
    default_mesh: t.Optional[str],
    release: Numbers,
    deleting: bool = False,
) -> t.Tuple[t.List[Item], t.List[str]]:
    """The resources of ``documents`` with their kinds, and everything that is wrong with them.

    ``listing`` is the answer of ``GET /_resources``, None when it may not be read. ``action`` of the items is not decided yet.
    """
    items: t.List[Item] = []
    problems: t.List[str] = []
    seen: t.Dict[Key, str] = {}
    for document in documents:
        faults = list(_faults(document.body, listing, release, deleting))
        if not faults:
            kind = model.kind_of(document.body["type"], listing)
            definition = {key: value for key, value in document.body.items() if key != "mesh"}
            mesh = ""
            if kind.in_mesh:
                mesh = document.body.get("mesh") or default_mesh or ""
                definition["mesh"] = mesh
            if kind.in_mesh and not mesh:
                faults.append("mesh is missing: write it down, or set the option mesh for all that name none")
            key = (kind.type, mesh, document.body["name"])
            if not faults and key in seen:
                faults.append("%s is in %s as well, expected each resource once" % (title(key), seen[key]))
            if not faults:
                seen[key] = document.source
                items.append(Item(key, kind, document.source, UNCHANGED, definition))
        problems.extend("%s: %s" % (document.source, fault) for fault in faults)
    return items, problems


def _faults(body: model.Resource, listing: t.Any, release: Numbers, deleting: bool) -> t.Iterator[str]:
    if "apiVersion" in body and "kind" in body:
        yield "is in the form for Kubernetes, expected Kuma's universal form with type, name and mesh"
        return
    kind = body.get("type")
    for field in ("type", "name", "mesh"):
        value = body.get(field)
        if value is not None and not isinstance(value, str):
            yield "%s is a %s, expected text: put it in quotes" % (field, type(value).__name__)
        elif not value and field != "mesh":
            yield "%s is missing" % field
    if isinstance(kind, str) and kind:
        yield from _type_faults(kind, listing)
    labels = body.get("labels")
    if labels is not None and not isinstance(labels, dict):
        yield "labels is a %s, expected a mapping" % type(labels).__name__
    for key, value in sorted(labels.items()) if isinstance(labels, dict) else []:
        if not isinstance(value, str):
            yield 'labels["%s"] is a %s, expected text: put it in quotes' % (key, type(value).__name__)
    if kind in model.SECRETS and not deleting and not isinstance(body.get("data"), str):
        yield "data is missing, expected the value in Base64"
    if kind == "Mesh" and not Release(*release).has_tags and not deleting:
        for field in RETIRED_MESH_FIELDS:
            if field in body:
                yield "%s was removed in 3.0, which would drop it without a word: see migration_report" % field


def only_from_server(type_name: str) -> bool:
    return bool(_WRITTEN_BY_SERVER.search(type_name))


def _type_faults(kind: str, listing: t.Any) -> t.Iterator[str]:
    if kind == "Dataplane":
        yield "type is Dataplane, which meshfleet.kuma.dataplanes manages, because the control plane writes to them too"
    elif only_from_server(kind):
        yield "type is %s, which only the control plane writes" % kind
    elif listing is not None and not model.is_known(kind, listing):
        similar = model.similar(kind, listing)
        hint = ", did you mean %s?" % " or ".join(similar) if similar else ": check its spelling and the version of the control plane"
        yield "type is %s, which the control plane does not know%s" % (kind, hint)


def missing_meshes(items: t.Sequence[Item], meshes: t.Collection[str]) -> t.List[str]:
    """A sentence for every resource whose mesh neither exists nor is among ``items``."""
    known = {*meshes, *(item.key[2] for item in items if item.key[0] == "Mesh")}
    return [
        "%s: mesh is %s, which the control plane does not have: add the Mesh, or correct the name" % (item.source, item.key[1])
        for item in items
        if item.key[1] and item.key[1] not in known
    ]


def foreign(items: t.Sequence[Item], live: Live, owner: t.Optional[str]) -> t.List[str]:
    """A sentence for every resource that carries the ownership label of somebody else."""
    found = []
    for item in items:
        holder = owner_of(live.get(item.key))
        if owner and holder and holder != owner:
            found.append(
                "%s: %s has the owner %s, expected %s: choose another name, or set owner" % (item.source, item.title, holder, owner)
            )
    return found


def owner_of(resource: t.Optional[t.Mapping[str, t.Any]]) -> str:
    return str(((resource or {}).get("labels") or {}).get(OWNER_LABEL) or "")


def decide(item: Item, live: Live, labels: t.Mapping[str, str]) -> Item:
    """``item`` with its action. ``labels`` are those that every resource of the call gets."""
    before = live.get(item.key)
    body = model.desired(item.definition or {}, before, labels)
    if before is None:
        return item._replace(action=CREATED, after=body)
    fields = tuple(str(entry["field"]) for entry in model.differences(body, before))
    if not fields:
        return item._replace(action=UNCHANGED, before=before, after=before)
    return item._replace(action=UPDATED, before=before, after=body, fields=fields)


def decide_absent(item: Item, live: Live) -> Item:
    before = live.get(item.key)
    return item._replace(action=UNCHANGED if before is None else DELETED, before=before)


def prune(
    items: t.Sequence[Item],
    live: Live,
    owner: str,
    limit: int,
    kind_of: t.Callable[[str], model.Kind],
    from_global: bool = False,
) -> t.Tuple[t.List[Item], t.List[str]]:
    """The resources to delete, which carry the label of ``owner`` and are not among ``items``, and what speaks against it.

    ``from_global``: the control plane is that of a zone, and what came from its global one is not its own to delete.
    """
    kept = {item.key for item in items}
    doomed = [
        Item(key, kind_of(key[0]), "", DELETED, before=resource)
        for key, resource in sorted(live.items())
        if key not in kept
        and key[0] not in PROXIES
        and owner_of(resource) == owner
        and not (from_global and (resource.get("labels") or {}).get("kuma.io/origin") == "global")
    ]
    problems = []
    if len(doomed) > limit:
        problems.append(
            "prune would delete %d resources, more than prune_limit (%d): %s. Check what was left out, or raise prune_limit"
            % (len(doomed), limit, some([item.title for item in doomed]))
        )
    removed = {item.key for item in doomed}
    for item in doomed:
        if item.key[0] == "Mesh":
            left = [title(key) for key, resource in sorted(live.items()) if key not in removed and _lost_with(item.key[2], key)]
            if left:
                problems.append(
                    "prune would delete Mesh %s and with it %d resources that are not %s's: %s. Remove them first, or the mesh by hand"
                    % (item.key[2], len(left), owner, some(left))
                )
    return doomed, problems


def _lost_with(mesh: str, key: Key) -> bool:
    """Whether a resource is in ``mesh`` and somebody put it there."""
    if key[1] != mesh or key[0] in _GENERATED or only_from_server(key[0]):
        return False
    made = (pattern.format(mesh=re.escape(mesh)) for type_name, pattern in _MADE_WITH_MESH if type_name in ("", key[0]))
    return not any(re.match(pattern, key[2]) for pattern in made)
