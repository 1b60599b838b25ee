# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages, filters and overviews of lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from . import zones
from .errors import Problem, invalid
from .kinds import Kind
from .store import Resource, Store

TITLE = "Could not retrieve resources"
MAX_PAGE = 1000


class Closed(Exception):
    """The connection ends without an answer."""


def _size(query: dict[str, list[str]], strict: bool) -> int:
    given = query.get("size", [""])[0]
    if not given:
        return 100
    reason = ""
    try:
        size = int(given)
    except ValueError:
        reason, size = "invalid format", 0
    if not reason and size > MAX_PAGE:
        reason = f"invalid page size of {size}. Maximum page size is {MAX_PAGE}"
    if not reason and strict and size <= 0:
        reason = "must be greater than 0"
    if reason:
        raise Problem(400, TITLE, "Invalid page size", [("size", reason)])
    return size


def _offset(query: dict[str, list[str]], strict: bool) -> int:
    given = query.get("offset", [""])[0]
    if not given:
        return 0
    try:
        offset = int(given)
    except ValueError:
        detail = f'invalid: invalid offset: strconv.Atoi: parsing "{given}": invalid syntax'
        raise Problem(400, TITLE, detail) from None
    if offset < 0:
        if not strict:
            raise Closed
        raise Problem(400, TITLE, "invalid: invalid offset: must be non-negative")
    return offset


def _tag_sets(resource: Resource, v3: bool) -> list[dict[str, str]]:
    networking = resource.spec.get("networking") or {}
    if "gateway" in networking:
        sets = [networking["gateway"].get("tags", {})]
    else:
        sets = [inbound.get("tags", {}) for inbound in networking.get("inbound", [])]
    return [*sets, resource.labels] if v3 else sets


def predicates(query: dict[str, list[str]], kind: Kind, route: str, v3: bool) -> list[Callable[[Resource], bool]]:
    """The filters that a query asks for; raises Problem for one that does not exist."""
    wanted: list[Callable[[Resource], bool]] = []
    bad = []
    for key, values in query.items():
        if not key.startswith("filter["):
            continue
        inner = key[len("filter[") : -1]
        if not inner.startswith("labels."):
            bad.append((f"{route}.{key}", "filters are only supported on labels"))
            continue
        label = inner[len("labels.") :]
        wanted += [lambda r, label=label, value=value: r.labels.get(label) == value for value in values]  # type: ignore[misc]
    if bad:
        raise invalid(TITLE, bad)
    for value in query.get("name", []):
        if value:
            wanted.append(lambda r, value=value: value in r.name)  # type: ignore[misc]
    if kind.name != "Dataplane":
        return wanted
    pairs = [tag.split(":", 1) for tag in query.get("tag", []) if ":" in tag]
    if pairs:
        wanted.append(lambda r: all(any(key in tags and value in tags[key] for tags in _tag_sets(r, v3)) for key, value in pairs))
    gateway = query.get("gateway", [""])[0]
    if gateway:
        wanted.append(_gateway_filter(gateway, v3))
    return wanted


def _gateway_filter(given: str, v3: bool) -> Callable[[Resource], bool]:
    if given not in ("true", "false", "builtin", "delegated") or (v3 and given == "builtin"):
        raise invalid(TITLE, [("gateway", f"invalid value {given}")])

    def kind(resource: Resource) -> str:
        gateway = (resource.spec.get("networking") or {}).get("gateway")
        return "" if gateway is None else "builtin" if gateway.get("type") == "BUILTIN" else "delegated"

    if given in ("true", "false"):
        return lambda r: bool(kind(r)) == (given == "true")
    return lambda r: kind(r) == given


def overview(store: Store, resource: Resource, in_list: bool) -> dict[str, Any]:
    """Resource and insight; one that never connected has an empty insight, and none in a list."""
    kind = resource.kind.name
    spec_field, insight_field = zones.fields(kind)
    document = resource.head(store.release, f"{kind}Overview", store.release.overview_kri)
    document[spec_field] = resource.spec
    insight = store.insights.get((zones.mesh_of(kind) or resource.mesh, resource.name))
    if insight is not None:
        document[insight_field] = insight
    elif not in_list:
        document[insight_field] = {}
    return document


def page(store: Store, kind: Kind, mesh: str | None, query: dict[str, list[str]], url: str, route: str, as_overview: bool) -> str:
    """The JSON text of one page. `url` is what the address of the next page is built on."""
    strict = store.release.paging_strict
    wanted = predicates(query, kind, route, store.release.v3)
    size, offset = _size(query, strict), _offset(query, strict)
    found = [r for r in store.tables[kind.name].within(mesh) if all(test(r) for test in wanted)]
    chosen = found[offset : offset + size] if size > 0 else found
    if as_overview:
        items = [json.dumps(overview(store, r, in_list=True)) for r in chosen]
    else:
        items = [r.text(store.release) for r in chosen]
    following = None
    if size > 0 and offset + size < len(found):
        parameters = {key: values[0] for key, values in query.items()}
        parameters.update(offset=str(offset + size), size=str(size))
        following = f"{url}?{urlencode(sorted(parameters.items()))}"
    return f'{{"total":{len(found)},"items":[{",".join(items)}],"next":{json.dumps(following)}}}'
