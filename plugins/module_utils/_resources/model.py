# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Kuma resources of any type: their paths, and when two of them are the same. Pure functions.

A PUT replaces a resource as a whole, so what a definition leaves out is to be absent: comparison looks at both sides. What
only the control plane writes (times, kri, status, its own labels) is left out of it, and the defaults it fills in are known
here as far as they can be.
"""

from __future__ import annotations

import difflib
import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import parse_duration

Resource = t.Dict[str, t.Any]
Difference = t.Dict[str, t.Any]

SECRETS = frozenset(("Secret", "GlobalSecret"))
SERVER_FIELDS = frozenset(("creationTime", "modificationTime", "kri", "status"))
OWN_LABELS = "kuma.io/"

_GLOBAL = frozenset(("GlobalSecret", "HostnameGenerator", "Mesh", "Zone", "ZoneEgress", "ZoneIngress"))
_PATHS: t.Dict[str, str] = {"GlobalSecret": "global-secrets", "Mesh": "meshes"}
# Values that the control plane fills in, by the key they are under.
_DEFAULTS: t.Dict[str, t.Any] = {"appProtocol": "tcp", "proxyTypes": ["Sidecar", "Gateway"]}
# Where keys and certificates can be given inside other resources.
_INLINE = frozenset(("inline", "inlineString", "insecureInline"))


class Kind(t.NamedTuple):
    """Where resources of a type are: ``path`` of the collection and whether they belong to a mesh."""

    type: str
    path: str
    in_mesh: bool

    def segments(self, mesh: t.Optional[str], name: t.Optional[str] = None) -> t.List[str]:
        """The path of a resource, or of a collection without ``name``; of all meshes when a mesh is left out."""
        head = ["meshes", mesh] if self.in_mesh and mesh else []
        return [*head, self.path, *([name] if name else [])]


def kind_of(type_name: str, listing: t.Any) -> Kind:
    """The kind for a type by the answer of ``GET /_resources``; by the rule of its plural when that names it not."""
    for entry in _entries(listing):
        if entry.get("name") == type_name and entry.get("path"):
            return Kind(type_name, str(entry["path"]), entry.get("scope") != "Global")
    return Kind(type_name, _PATHS.get(type_name) or _plural(type_name.lower()), type_name not in _GLOBAL)


def is_known(type_name: str, listing: t.Any) -> bool:
    """Whether the control plane names this type. GlobalSecret is known to all, though not all of them list it."""
    return type_name in _PATHS or any(entry.get("name") == type_name for entry in _entries(listing))


def similar(type_name: str, listing: t.Any) -> t.List[str]:
    """Types that may have been meant."""
    names = {str(entry.get("name")).lower(): str(entry.get("name")) for entry in _entries(listing)}
    return [names[match] for match in difflib.get_close_matches(type_name.lower(), list(names), n=3, cutoff=0.8)]


def _entries(listing: t.Any) -> t.List[t.Mapping[str, t.Any]]:
    entries = listing.get("resources") if isinstance(listing, dict) else None
    return [entry for entry in entries or [] if isinstance(entry, dict)]


def _plural(word: str) -> str:
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(s|x|ch|sh)$", word) else "s")


def desired(
    definition: t.Mapping[str, t.Any],
    live: t.Optional[t.Mapping[str, t.Any]],
    labels: t.Optional[t.Mapping[str, str]] = None,
) -> Resource:
    """The body to PUT. Labels of users are kept when the definition names no labels at all; ``labels`` come on top."""
    body = {key: value for key, value in definition.items() if key not in SERVER_FIELDS}
    if live is not None and "labels" not in body:
        kept = {key: value for key, value in (live.get("labels") or {}).items() if not key.startswith(OWN_LABELS)}
        if kept:
            body["labels"] = kept
    if labels:
        body["labels"] = {**(body.get("labels") or {}), **labels}
    return body


def comparable(resource: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> Resource:
    """A resource without what only the control plane writes; its own labels stay where ``wanted`` sets them."""
    result = {key: value for key, value in resource.items() if key not in SERVER_FIELDS}
    mine = wanted.get("labels") or {}
    labels = {key: value for key, value in (resource.get("labels") or {}).items() if key in mine or not key.startswith(OWN_LABELS)}
    result.pop("labels", None)
    if labels:
        result["labels"] = labels
    return result


def differences(wanted: t.Mapping[str, t.Any], live: t.Mapping[str, t.Any]) -> t.List[Difference]:
    """What a PUT of ``wanted`` would change: ``{field, wanted, found}``; a side that has no such field is None."""
    return list(_compare(dict(wanted), comparable(live, wanted), "", False))


def dropped(wanted: t.Mapping[str, t.Any], live: t.Mapping[str, t.Any]) -> t.List[str]:
    """Fields of ``wanted`` that are not as sent in what the control plane has after the write."""
    return [str(entry["field"]) for entry in differences(wanted, live) if entry["wanted"] is not None and not _zero(entry["wanted"])]


def added(wanted: t.Mapping[str, t.Any], live: t.Mapping[str, t.Any]) -> t.List[str]:
    """Fields that the control plane has after the write although ``wanted`` has not: defaults it fills in."""
    return [str(entry["field"]) for entry in differences(wanted, live) if entry["wanted"] is None]


def _compare(wanted: t.Any, found: t.Any, field: str, strict: bool) -> t.Iterator[Difference]:
    """``strict``: false and 0 are values of their own, as under ``spec``. Elsewhere they are left out by the control plane."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted({*wanted, *found}, key=str):
            place = f"{field}.{key}" if re.fullmatch(r"[\w-]+", str(key)) and field else str(key) if not field else f'{field}["{key}"]'
            other = key if key in found or key not in wanted else _camel(str(key))
            if key not in wanted and _snake_of(str(key), wanted):
                continue
            yield from _compare(wanted.get(key), found.get(other), place, strict or key == "spec")
        return
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (left, right) in enumerate(zip(wanted, found)):
            yield from _compare(left, right, f"{field}[{index}]", strict)
        return
    if _same(wanted, found, field, strict):
        return
    if isinstance(wanted, dict) and found is None:
        # Name the leaf, not the whole branch.
        for key in sorted(wanted, key=str):
            yield from _compare(wanted[key], None, f"{field}.{key}", strict)
        return
    yield {"field": field, "wanted": wanted, "found": found}


def _same(wanted: t.Any, found: t.Any, field: str, strict: bool) -> bool:
    if _empty(wanted, strict) and _empty(found, strict):
        return True
    if wanted is None:
        key = field.rpartition(".")[2]
        return key in _DEFAULTS and bool(found == _DEFAULTS[key])
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(wanted, (int, float)) and isinstance(found, str):
        return str(wanted) == found  # 64-bit numbers are strings in the answers
    if isinstance(wanted, str) and isinstance(found, str) and wanted != found:
        return _seconds(wanted) is not None and _seconds(wanted) == _seconds(found)
    return bool(wanted == found)


def _empty(value: t.Any, strict: bool) -> bool:
    return value is None or value in ({}, []) or (not strict and _zero(value))


def _zero(value: t.Any) -> bool:
    return value in (None, "", 0, False) or value in ({}, [])


def _seconds(text: str) -> t.Optional[float]:
    """Durations come back in another form: ``90s`` as ``1m30s``."""
    if not text[:1].isdigit() or "d" in text:
        return None
    try:
        return round(parse_duration(text), 6)
    except ValueError:
        return None


def _camel(key: str) -> str:
    """Kuma reads snake_case too and answers in camelCase."""
    return re.sub(r"_([a-z0-9])", lambda match: match.group(1).upper(), key)


def _snake_of(key: str, wanted: t.Mapping[str, t.Any]) -> bool:
    return any(_camel(str(name)) == key for name in wanted if "_" in str(name))


def masked(resource: t.Mapping[str, t.Any], reference: t.Optional[t.Mapping[str, t.Any]] = None) -> Resource:
    """A resource to show: the data of secrets and inline keys replaced by their size.

    A value that is not that of ``reference`` is called new, so that a diff shows it even when the sizes are equal.
    """
    return t.cast(Resource, _mask(dict(resource), dict(reference) if reference is not None else None, resource.get("type") in SECRETS))


def _mask(value: t.Any, reference: t.Any, secret: bool) -> t.Any:
    if isinstance(value, dict):
        result = {}
        for key, entry in value.items():
            other = reference.get(key) if isinstance(reference, dict) else None
            if isinstance(entry, str) and (key in _INLINE or (secret and key == "data")):
                new = ", new value" if reference is not None and other != entry else ""
                result[key] = f"(secret, {len(entry)} characters{new})"
            else:
                result[key] = _mask(entry, other, secret and key == "data")
        return result
    if isinstance(value, list):
        others = reference if isinstance(reference, list) else []
        return [_mask(entry, others[i] if i < len(others) else None, secret) for i, entry in enumerate(value)]
    return value


def secrets_of(resource: t.Mapping[str, t.Any]) -> t.List[str]:
    """The values that :func:`masked` hides."""
    found: t.List[str] = []

    def walk(value: t.Any, secret: bool) -> None:
        if isinstance(value, dict):
            for key, entry in value.items():
                if isinstance(entry, str) and (key in _INLINE or (secret and key == "data")):
                    found.append(entry)
                else:
                    walk(entry, secret)
        elif isinstance(value, list):
            for entry in value:
                walk(entry, secret)

    walk(dict(resource), str(resource.get("type")) in SECRETS)
    return found


def hidden(resource: t.Mapping[str, t.Any]) -> t.List[str]:
    """Those of them that are hidden wherever else they are. Short values would blank out parts of ordinary words."""
    return [value for value in secrets_of(resource) if len(value) >= 8]
