# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Bringing one Kuma resource to what is wanted: read, compare, write, read back."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import (
    AccessDenied,
    Client,
    Conflict,
    Invalid,
    NotFound,
    ServerError,
    api_path,
)
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources import model

TRIES = 4
# A type that a control plane serves for everyone: nothing is gained by asking.
_FIXED = frozenset(("Mesh", "Secret", "GlobalSecret"))


@dataclass
class Outcome:
    """``action`` is created, updated, unchanged or deleted; ``before`` and ``after`` are resources, or None for absent."""

    action: str
    before: t.Optional[model.Resource]
    after: t.Optional[model.Resource]
    warnings: t.List[str] = field(default_factory=list)


def find_kind(client: Client, type_name: str) -> model.Kind:
    """The kind of a type. Raises Invalid when the control plane knows no such type."""
    if type_name in _FIXED:
        return model.kind_of(type_name, None)
    try:
        listing = client.get("/_resources").body
    except (AccessDenied, NotFound, ServerError):
        return model.kind_of(type_name, None)
    if not model.is_known(type_name, listing):
        similar = model.similar(type_name, listing)
        hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
        raise Invalid(
            f"type is {type_name}, which {client.url} does not know",
            remedy=f"Write it as in the documentation of Kuma, and check that this version has it.{hint}",
        )
    return model.kind_of(type_name, listing)


def read(client: Client, path: str, wanted: bool) -> t.Optional[model.Resource]:
    """A resource, or None when there is none. ``wanted``: raise NotFound when even its mesh is missing."""
    try:
        body = client.get(path).body
    except NotFound as exc:
        # The title tells a missing mesh from a missing resource.
        if (wanted and "Mesh" in exc.title) or "Page" in exc.title:
            raise
        return None
    return body if isinstance(body, dict) else {}


def present(
    client: Client,
    kind: model.Kind,
    definition: t.Mapping[str, t.Any],
    check: bool,
    labels: t.Optional[t.Mapping[str, str]] = None,
) -> Outcome:
    """Create or replace a resource where it differs. ``definition`` holds ``type``, ``name`` and, in a mesh, ``mesh``.

    ``labels`` are laid over those of the definition, or over the live ones where it has none.
    Raises ApiError; Invalid naming the fields when the control plane dropped some of them.
    """
    path = api_path(*kind.segments(definition.get("mesh"), definition["name"]))
    tries = TRIES
    while True:
        # In check mode the mesh may be what an earlier task would have created.
        live = read(client, path, wanted=not check)
        body = model.desired(definition, live, labels)
        if live is not None and not model.differences(body, live):
            return Outcome("unchanged", live, live)
        if check:
            return Outcome("updated" if live is not None else "created", live, body)
        tries -= 1
        try:
            created = client.put(path, body).status == 201
        except Conflict:
            if not tries:
                raise
            continue  # someone else wrote at the same moment (trap 20): look again
        break
    after = read(client, path, wanted=True)
    if after is None:
        raise Conflict(
            "the resource was deleted right after it was written", method="PUT", url=client.url + path, remedy="Find out by whom."
        )
    lost = model.dropped(body, after)
    if lost:
        # Unknown fields vanish with a 200 (trap 19).
        raise Invalid(
            f"{kind.type} {definition['name']} was written, but the control plane did not keep {len(lost)} of its fields",
            method="PUT",
            url=client.url + path,
            invalid_parameters=[{"field": name, "reason": "is not in the resource as sent after the write"} for name in lost],
            remedy="Correct their names, or remove them: this version does not have them.",
        )
    outcome = Outcome("created" if created else "updated", live, after)
    filled = model.added(body, after)
    if filled:
        outcome.warnings.append(
            f"The control plane sets {', '.join(filled)} of {kind.type} {definition['name']} by itself. "
            "Put the same into definition, or it is written again in every run."
        )
        if live is not None and not model.differences(model.comparable(live, body), after):
            outcome.action = "unchanged"
    return outcome


def absent(client: Client, kind: model.Kind, mesh: t.Optional[str], name: str, check: bool) -> Outcome:
    """Delete a resource when there is one."""
    path = api_path(*kind.segments(mesh, name))
    live = read(client, path, wanted=False)
    if live is None:
        return Outcome("unchanged", None, None)
    if not check:
        try:
            client.delete(path)
        except NotFound:
            return Outcome("unchanged", None, None)
    return Outcome("deleted", live, None)
