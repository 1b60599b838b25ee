# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading resources as protobuf's JSON mapping does: unknown fields dropped, zero values left out, enums and numbers checked."""

from __future__ import annotations

import base64
import json
import re
import string
from collections.abc import Callable
from typing import Any

from .errors import Unparseable
from .releases import Release

Reader = Callable[[Any], Any]
ABSENT = object()
_BASE64 = frozenset((string.ascii_letters + string.digits + "+/").encode())


def _syntax(value: Any) -> Unparseable:
    text = value if isinstance(value, str) else json.dumps(value)
    return Unparseable(f"invalid character '{text[:1]}' looking for beginning of value")


def _mismatch(value: Any, wanted: str) -> Unparseable:
    kind = {dict: "object", list: "array", str: "string", bool: "bool"}.get(type(value), "number")
    return Unparseable(f"json: cannot unmarshal {kind} into Go value of type {wanted}")


def text(value: Any) -> Any:
    if value is None:
        return ABSENT
    if not isinstance(value, str):
        raise _mismatch(value, "string")
    return value or ABSENT


def number(value: Any) -> Any:
    """uint32, also when written as a string."""
    if value is None:
        return ABSENT
    if isinstance(value, str):
        if not re.fullmatch(r"\d+", value):
            raise _syntax(value)
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0 or value > 2**32 - 1:
        raise _mismatch(value, "uint32")
    return value or ABSENT


def wrapped_number(value: Any) -> Any:
    """A number whose zero is not the same as absence."""
    got = number(value)
    return 0 if got is ABSENT and value is not None else got


def flag(value: Any) -> Any:
    if value is None:
        return ABSENT
    if not isinstance(value, bool):
        raise _mismatch(value, "bool")
    return value or ABSENT


def duration(value: Any) -> Any:
    if value is None:
        return ABSENT
    if not isinstance(value, str):
        raise _mismatch(value, "string")
    match = re.fullmatch(r"(-?)(\d+)(?:\.(\d{1,9}))?s", value)
    if not match:
        raise Unparseable(f'bad Duration: time: invalid duration "{value}"')
    fraction = (match[3] or "").rstrip("0")
    while fraction and len(fraction) % 3:
        fraction += "0"
    return f"{match[1]}{int(match[2])}{'.' + fraction if fraction else ''}s"


def binary(value: Any) -> Any:
    """Base64 of the standard alphabet with its padding; line feeds are dropped."""
    if value is None:
        return ABSENT
    if not isinstance(value, str):
        raise _mismatch(value, "[]uint8")
    fault = _base64_fault(value.encode())
    if fault is not None:
        raise Unparseable(f"illegal base64 data at input byte {fault}")
    return base64.b64encode(base64.b64decode(value)).decode() or ABSENT


def _base64_fault(data: bytes) -> int | None:
    """The position that Go's decoder names when it refuses the data, None when it takes it."""
    kept = [(at, byte) for at, byte in enumerate(data) if byte not in b"\r\n"]
    for number, (at, byte) in enumerate(kept):
        if byte in _BASE64:
            continue
        if byte != ord("=") or number % 4 < 2:
            return at
        after = kept[number + 1 :]
        if number % 4 == 2:
            if not after:
                return len(data)
            if after[0][1] != ord("="):
                return after[0][0] - 1
            after = after[1:]
        return after[0][0] if after else None
    return len(data) - len(kept) % 4 if len(kept) % 4 else None


def anything(value: Any) -> Any:
    return ABSENT if value is None else value


def enum(name: str, values: tuple[str, ...]) -> Reader:
    """The first value is the default and is never shown."""

    def read(value: Any) -> Any:
        if value is None:
            return ABSENT
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(values):
            value = values[value]
        if value not in values:
            shown = json.dumps(json.dumps(value))
            raise Unparseable(f"unknown value {shown} for enum {name}")
        return ABSENT if value == values[0] else value

    return read


def mapping(reader: Reader) -> Reader:
    def read(value: Any) -> Any:
        if value is None:
            return ABSENT
        if not isinstance(value, dict):
            raise _mismatch(value, "map[string]json.RawMessage")
        out = {}
        for key in sorted(value):
            got = reader(value[key])
            out[key] = "" if got is ABSENT else got
        return out or ABSENT

    return read


def listing(reader: Reader) -> Reader:
    def read(value: Any) -> Any:
        if value is None:
            return ABSENT
        if not isinstance(value, list):
            raise _mismatch(value, "[]json.RawMessage")
        out = [reader(item) for item in value]
        return [{} if item is ABSENT else item for item in out] or ABSENT

    return read


def message(fields: dict[str, Reader]) -> Reader:
    """A message with these fields in this order; each is also accepted in snake_case."""
    names = {re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), key): key for key in fields}
    names.update({key: key for key in fields})

    def read(value: Any) -> Any:
        if value is None:
            return ABSENT
        if not isinstance(value, dict):
            raise _mismatch(value, "map[string]json.RawMessage")
        given = {names[key]: item for key, item in value.items() if key in names}
        out = {}
        for key, reader in fields.items():
            if key in given:
                got = reader(given[key])
                if got is not ABSENT:
                    out[key] = got
        return out

    return read


def dataplane_reader(release: Release) -> Reader:
    """The Dataplane of a release; fields that it does not have are dropped without a word."""
    tags = mapping(text)
    state = enum("kuma.mesh.v1alpha1.Dataplane.Networking.Inbound.State", ("Ready", "NotReady", "Ignored"))
    probe = message(
        {
            "interval": duration,
            "timeout": duration,
            "unhealthyThreshold": wrapped_number,
            "healthyThreshold": wrapped_number,
            "tcp": message({}),
        }
    )
    inbound: dict[str, Reader] = {
        "port": number,
        "servicePort": number,
        "serviceAddress": text,
        "address": text,
        "tags": tags,
        "health": message({"ready": flag}),
        "serviceProbe": probe,
        "state": state,
        "name": text,
        "protocol": text,
    }
    target: dict[str, Reader] = {"kind": text, "name": text, "port": number, "labels": tags}
    reference = message(target)
    outbound: dict[str, Reader] = {"address": text, "port": number, "tags": tags, "backendRef": reference}
    redirect: dict[str, Reader] = {
        "redirectPortInbound": number,
        "redirectPortOutbound": number,
        "directAccessServices": listing(text),
        "reachableServices": listing(text),
        "ipFamilyMode": enum(
            "kuma.mesh.v1alpha1.Dataplane.Networking.TransparentProxying.IpFamilyMode", ("UnSpecified", "DualStack", "IPv4", "IPv6")
        ),
        "reachableBackends": message({"refs": listing(message({**target, "namespace": text}))}),
    }
    gateway_types = ("DELEGATED",) if release.v3 else ("DELEGATED", "BUILTIN")
    networking: dict[str, Reader] = {
        "address": text,
        "advertisedAddress": text,
        "gateway": message({"tags": tags, "type": enum("kuma.mesh.v1alpha1.Dataplane.Networking.Gateway.GatewayType", gateway_types)}),
        "inbound": listing(message(inbound)),
        "outbound": listing(message(outbound)),
        "transparentProxying": message(redirect),
        "admin": message({"port": number}),
        "listeners": listing(
            message(
                {
                    "type": enum("kuma.mesh.v1alpha1.Dataplane.Networking.Listener.Type", ("Unspecified", "ZoneIngress", "ZoneEgress")),
                    "address": text,
                    "port": number,
                    "name": text,
                    "state": enum("kuma.mesh.v1alpha1.Dataplane.Networking.Listener.State", ("Ready", "NotReady", "Ignored")),
                }
            )
        ),
    }
    top: dict[str, Reader] = {"metrics": anything, "probes": anything}
    if release.v3:
        for fields, retired in ((inbound, "tags"), (outbound, "tags"), (networking, "advertisedAddress"), (redirect, "reachableServices")):
            del fields[retired]
        networking["inbound"] = listing(message(inbound))
        networking["outbound"] = listing(message(outbound))
        networking["transparentProxying"] = message(redirect)
        top = {}
    if not release.inbound_optional:
        del inbound["protocol"], networking["listeners"]
        networking["inbound"] = listing(message(inbound))
    return message({"networking": message(networking), **top})
