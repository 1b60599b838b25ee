# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Smaller parts of what the inventory says about a proxy: tags, references, probes, gateways. Pure functions.

Each reports faults to the reader, and returns what is sound.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import go_seconds
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.reader import Reader

KINDS = ("MeshExternalService", "MeshMultiZoneService", "MeshService")

_TAG_KEY = re.compile(r"[a-zA-Z0-9.\-_:/]+\Z")
_PROBE_KEYS = frozenset({"interval", "timeout", "healthy_threshold", "unhealthy_threshold"})
_REFERENCE_KEYS = frozenset({"kind", "name", "port", "labels"})
_GATEWAY_KEYS = frozenset({"name", "tags"})
# Tags that the role makes of other settings.
_OWN_TAGS = {
    resource.SERVICE_TAG: "name",
    resource.PROTOCOL_TAG: "protocol",
    resource.ZONE_TAG: "no zone, which the control plane adds",
}


def tags(reader: Reader, value: t.Any, field: str) -> t.Dict[str, str]:
    """Tags of an inbound, an outbound or a gateway; labels on 3.0."""
    found = {}
    for key, item in reader.merged(field, value).items():
        where = '%s["%s"]' % (field, key)
        if key in _OWN_TAGS:
            reader.fault(where, item, "%s instead" % _OWN_TAGS[key])
        elif not _TAG_KEY.match(str(key)) or isinstance(item, (dict, list)) or not checks.is_tag_value(str(item)):
            reader.fault(where, item, "a tag: letters, digits and . - _ : (in its name / as well)")
        elif reader.model == "v3" and not checks.is_label(str(key), str(item)):
            reader.fault(where, item, "what a label may be, which it becomes on 3.0: at most 63 letters, digits, - _ .")
        else:
            found[str(key)] = str(item)
    return found


def backend_ref(reader: Reader, value: t.Any, field: str) -> t.Dict[str, t.Any]:
    """A ``backendRef``: a MeshService and the like, by name in this zone, or by labels in another."""
    found = reader.mapping(value, field, _REFERENCE_KEYS)
    kind = found.get("kind")
    if kind is not None and kind not in KINDS:
        reader.fault(field + ".kind", kind, "one of " + ", ".join(KINDS))
    if found.get("port") is not None:
        found["port"] = reader.port(found["port"], field + ".port")
    if found.get("name") is not None and not checks.is_rfc1035(str(found["name"])):
        reader.fault(field + ".name", found["name"], "a name of at most 63 lower-case letters, digits and -, starting with a letter")
    if found.get("labels") is not None:
        labels = reader.merged(field + ".labels", found["labels"])
        if found.get("name") is not None or not labels:
            reader.fault(
                field + ".labels", found["labels"], "either a name, or labels of the service, such as kuma.io/display-name and kuma.io/zone"
            )
        found["labels"] = {str(key): str(item) for key, item in labels.items()}
    return {key: item for key, item in found.items() if item is not None}


def probe(reader: Reader, value: t.Any, field: str) -> None:
    """A TCP probe. With one of interval and timeout alone control planes take something else for the other."""
    found = reader.mapping(value, field, _PROBE_KEYS)
    for key in ("interval", "timeout"):
        if not duration(found.get(key)):
            reader.fault("%s.%s" % (field, key), found.get(key), "a duration above zero such as 10s (a probe needs interval and timeout)")
    for key in ("healthy_threshold", "unhealthy_threshold"):
        if found.get(key) is not None and not re.match(r"0*[1-9][0-9]{0,8}\Z", str(found[key])):
            reader.fault("%s.%s" % (field, key), found[key], "a number above zero")


def duration(value: t.Any) -> float:
    """Seconds of a duration such as ``10s``; 0.0 for everything else."""
    found = go_seconds(value if value is not None else "")
    return found if isinstance(found, float) and 0 < found < 1e7 else 0.0


def gateway(reader: Reader, value: t.Any, field: str, services: t.Any) -> t.Optional[t.Dict[str, t.Any]]:
    """``{name, tags}`` of a delegated gateway; None for a proxy that is none."""
    if value is None or value == {}:
        return None
    found = reader.mapping(value, field, _GATEWAY_KEYS)
    name = str(found.get("name") or "")
    if reader.model == "v3":
        sound, expected = checks.is_rfc1035(name), "a name of lower-case letters, digits and -, starting with a letter"
    else:
        sound, expected = checks.is_tag_value(name), "a name of letters, digits and . - _ :"
    if not sound:
        reader.fault(field + ".name", found.get("name"), "%s, shared by all gateways that are alike" % expected)
    if services:
        reader.fault(
            field, value, "no services beside it: a gateway takes requests from outside the mesh itself, its proxy only sends them on"
        )
    return {"name": name, "tags": tags(reader, found.get("tags"), field + ".tags")}
