# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What may be a name. Names become segments of URLs, paths of files, and names of units, so they pass here first. Standard library only."""

from __future__ import annotations

import re
import typing as t

MAXIMUM = 253
# The name of a cover is that of its proxy with this behind it. Inventories name nothing else so.
COVER_SUFFIX = "-cover"
# Who may do everything, a user and a group, unless the control plane is told otherwise.
ADMIN = "mesh-system:admin"

_RFC1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
# What control planes up to 2.14 allow as the name of a Mesh and of older resources, but for those that begin with a dash or a dot.
_LOOSE = re.compile(r"[a-z0-9][-a-z0-9_.]*\Z")

# What CamelCase words of Kuma's are made of; the control plane says itself which of them it knows.
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")
_RUN = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]*\Z")

EXPECTED = "a lower-case DNS name of at most %d characters, such as web-1" % MAXIMUM
EXPECTED_LOOSE = (
    "a name of at most %d lower-case letters, digits, - _ and . that begins with a letter or a digit, such as default" % MAXIMUM
)
EXPECTED_TYPE = "the type of a resource, such as MeshTimeout"
EXPECTED_RUN = "the identifier of a run, as state=start returned it"

NAME, LOOSE, TYPE, RUN = "name", "loose", "type", "run"
# The options of a module that are names, by where they are (``names[]``, ``tokens[].mesh``), with what each may be.
Rules = t.Mapping[str, str]


def is_name(value: t.Any) -> bool:
    """Whether ``value`` may name a Dataplane, a zone proxy or a proxy on a VM: a DNS subdomain (RFC 1123), as Kuma demands."""
    return isinstance(value, str) and len(value) <= MAXIMUM and bool(_RFC1123.match(value))


def is_loose_name(value: t.Any) -> bool:
    """Whether ``value`` may name a Mesh, a zone or any other resource."""
    return isinstance(value, str) and len(value) <= MAXIMUM and bool(_LOOSE.match(value))


def is_type(value: t.Any) -> bool:
    """Whether ``value`` may be a type of resources, which becomes part of a path where the control plane lists none."""
    return isinstance(value, str) and len(value) <= MAXIMUM and bool(_TYPE.match(value))


def is_run(value: t.Any) -> bool:
    """Whether ``value`` may identify the run of a roll, whose files are in a directory of this name."""
    return isinstance(value, str) and len(value) <= MAXIMUM and bool(_RUN.match(value))


def cover_name(name: str) -> str:
    return name + COVER_SUFFIX


def base_name(name: str) -> str:
    """The name of the main proxy, of its own or of its cover's."""
    return name[: -len(COVER_SUFFIX)] if name.endswith(COVER_SUFFIX) and len(name) > len(COVER_SUFFIX) else name


_CHECKS: t.Dict[str, t.Tuple[t.Callable[[t.Any], bool], str]] = {
    NAME: (is_name, EXPECTED),
    LOOSE: (is_loose_name, EXPECTED_LOOSE),
    TYPE: (is_type, EXPECTED_TYPE),
    RUN: (is_run, EXPECTED_RUN),
}


def checked(name: str) -> str:
    """``name``, for what makes a path of it. Raises ValueError when it cannot be the name of a proxy."""
    if not is_name(name):
        raise ValueError("the name of a proxy is %s, expected %s" % (shown(name), EXPECTED))
    return name


def fault(value: t.Any, rule: str) -> str:
    """What is wrong with ``value`` by ``NAME``, ``LOOSE``, ``TYPE`` or ``RUN``: ``is '..', expected a ...``. Empty when it is all right."""
    check, expected = _CHECKS[rule]
    return "" if check(value) else "is %s, expected %s" % (shown(value), expected)


def faults(params: t.Mapping[str, t.Any], rules: Rules) -> t.List[t.Tuple[str, str]]:
    """Every option of ``params`` that cannot be what ``rules`` say, with what is wrong with it: ``("tokens[0].mesh", "is ..., ...")``.

    What is not given is none of them; the empty text is.
    """
    return [
        (place, wrong)
        for path, rule in rules.items()
        for place, value in _values(params, path.replace("[]", ".[]").split("."), "")
        for wrong in [fault(value, rule)]
        if wrong
    ]


def _values(value: t.Any, keys: t.Sequence[str], place: str) -> t.Iterator[t.Tuple[str, t.Any]]:
    if value is None:
        return
    if not keys:
        yield place, value
    elif keys[0] == "[]":
        for index, item in enumerate(value if isinstance(value, list) else []):
            yield from _values(item, keys[1:], "%s[%d]" % (place, index))
    elif isinstance(value, t.Mapping):
        yield from _values(value.get(keys[0]), keys[1:], "%s.%s" % (place, keys[0]) if place else keys[0])


def shown(value: t.Any) -> str:
    """A value in a message: quoted, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:76] + "...'"
