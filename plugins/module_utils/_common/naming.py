# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What may be a name, a version or a directory. They become segments of URLs, paths of files, and names of units, so they pass here first.

Standard library only.
"""

from __future__ import annotations

import re
import typing as t
import unicodedata

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import redact

MAXIMUM = 253
# The longest unit is kuma-dp-restart@<name>.service, and systemd takes 255 characters. What is written beside files of this name fits as well.
MAXIMUM_PROXY = 231
# The name of a cover is that of its proxy with this behind it. Inventories name nothing else so.
COVER_SUFFIX = "-cover"
# Below it each proxy has its sockets, in the RuntimeDirectory of its unit. No name has a +, so that a cover is nobody else.
RUN_DIR = "/run/kuma-dp"
COVER_MARK = "+"
# kuma-dp cuts the path of a socket after 98 characters, and those of a long name become one (trap 59). kuma-mh tells that of the metrics
# from kuma-mesh-metric-config. A cover has one character less, which is enough for all but this one, and it is not scraped.
MAXIMUM_JOINING = 98 - len(RUN_DIR + "/") - len("/kuma-mh")
# Who may do everything, a user and a group, unless the control plane is told otherwise.
ADMIN = "mesh-system:admin"

_RFC1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
# What control planes up to 2.14 allow as the name of a Mesh and of older resources, but for those that begin with a dash or a dot.
_LOOSE = re.compile(r"[a-z0-9][-a-z0-9_.]*\Z")

# What CamelCase words of Kuma's are made of; the control plane says itself which of them it knows.
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")
_RUN = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]*\Z")
_VERSION = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.+]*\Z")
# The link to the version that starts next is beside the versions.
CURRENT = "current"
# Of what means nothing to systemd in a unit: no blanks, quotes, $, %, \ or wildcards.
_PART = re.compile(r"[-A-Za-z0-9_.+@:,=~]+\Z")
_MAXIMUM_PART, _MAXIMUM_PATH = 255, 1024  # bytes
_ACCOUNT = re.compile(r"([A-Za-z_][-A-Za-z0-9_.]{0,31}|[0-9]{1,10})\Z")
_KEY_ID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]{0,99}\Z")
_UNIT = re.compile(r"[-A-Za-z0-9:_.\\@]{1,255}\Z")

EXPECTED = "a lower-case DNS name of at most %d characters, such as web-1" % MAXIMUM
EXPECTED_PROXY = "a lower-case DNS name of at most %d characters, such as web-1" % MAXIMUM_PROXY
EXPECTED_LOOSE = (
    "a name of at most %d lower-case letters, digits, - _ and . that begins with a letter or a digit, such as default" % MAXIMUM
)
EXPECTED_TYPE = "the type of a resource, such as MeshTimeout"
EXPECTED_RUN = "the identifier of a run, as state=start returned it"
EXPECTED_VERSION = "the name of a release other than %s, such as 2.14.3" % CURRENT
EXPECTED_PATH = (
    "an absolute path without . and .. among its parts, of at most %d letters, digits and - _ . + @ : , = ~, such as /etc/kuma"
    % _MAXIMUM_PATH
)
EXPECTED_PLACE = "a path of at most %d characters, %d bytes in each part, and no control characters" % (_MAXIMUM_PATH, _MAXIMUM_PART)
EXPECTED_ACCOUNT = "the name of a user or group, such as kuma-dp"
EXPECTED_KEY_ID = "the ID of a key, at most 100 letters, digits and - _ ., such as 2"
EXPECTED_UNIT = "the name of a unit, such as web.service"

# A Dataplane or zone proxy, one of a VM, any other resource, a type of resources, a roll.
NAME, PROXY, LOOSE, TYPE, RUN = "name", "proxy", "loose", "type", "run"
# A key that signs tokens, which is part of the name of a Secret.
KEY_ID = "key_id"
# A release, a file or directory of a VM that we make or name in a unit, any other file, a user or group, a unit of somebody else's.
VERSION, PATH, PLACE, ACCOUNT, UNIT = "version", "path", "place", "account", "unit"
# The options of a module that become part of a URL or of a path, by where they are (``names[]``, ``tokens[].mesh``), with what each may be.
Rules = t.Mapping[str, str]


def is_name(value: t.Any) -> bool:
    """Whether ``value`` may name a Dataplane, a zone proxy or a proxy on a VM: a DNS subdomain (RFC 1123), as Kuma demands."""
    return isinstance(value, str) and len(value) <= MAXIMUM and bool(_RFC1123.match(value))


def is_proxy_name(value: t.Any) -> bool:
    """Whether ``value`` may name a proxy on a VM, where it is the name of units and files as well."""
    return is_name(value) and len(value) <= MAXIMUM_PROXY


def is_loose_name(value: t.Any) -> bool:
    """Whether ``value`` may name a Mesh, a zone or any other resource."""
    return isinstance(value, str) and len(value) <= MAXIMUM and bool(_LOOSE.match(value))


def is_type(value: t.Any) -> bool:
    """Whether ``value`` may be a type of resources, which becomes part of a path where the control plane lists none."""
    return isinstance(value, str) and len(value) <= MAXIMUM and bool(_TYPE.match(value))


def is_run(value: t.Any) -> bool:
    """Whether ``value`` may identify the run of a roll, whose files are in a directory of this name."""
    return isinstance(value, str) and len(value) <= MAXIMUM and bool(_RUN.match(value))


def is_version(value: t.Any) -> bool:
    """Whether ``value`` may be a release, which lies in a directory of this name."""
    return isinstance(value, str) and len(value) <= _MAXIMUM_PART and bool(_VERSION.match(value)) and value != CURRENT


def is_path(value: t.Any) -> bool:
    """Whether ``value`` may be a path of a VM that units or files of ours name. Slashes that say nothing do not matter."""
    if not isinstance(value, str) or not value.startswith("/") or len(value) > _MAXIMUM_PATH:
        return False
    parts = [part for part in value.split("/") if part]
    return bool(parts) and all(_PART.match(part) and part not in (".", "..") and len(part) <= _MAXIMUM_PART for part in parts)


def is_place(value: t.Any) -> bool:
    """Whether ``value`` may be a path that somebody chose for himself. Nothing is a place, too: whoever wants one says so."""
    if not isinstance(value, str) or len(value) > _MAXIMUM_PATH:
        return False
    # Cc are control characters, Cs are halves of characters, which no file has.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        return False
    return all(len(part.encode("utf-8")) <= _MAXIMUM_PART for part in value.split("/"))


def is_account(value: t.Any) -> bool:
    """Whether ``value`` may be a user or a group, by its name or number."""
    return isinstance(value, str) and bool(_ACCOUNT.match(value))


def is_key_id(value: t.Any) -> bool:
    """Whether ``value`` may identify a key that signs tokens."""
    return isinstance(value, str) and bool(_KEY_ID.match(value))


def is_unit(value: t.Any) -> bool:
    """Whether ``value`` may be a unit."""
    return isinstance(value, str) and bool(_UNIT.match(value))


def cover_name(name: str) -> str:
    return name + COVER_SUFFIX


def work_dir(name: str) -> str:
    """The directory of a running proxy on its VM, with its sockets."""
    return "%s/%s" % (RUN_DIR, name)


def cover_work_dir(name: str) -> str:
    """The directory of the cover of the proxy ``name``. It is short: the paths of sockets have a limit."""
    return work_dir(name) + COVER_MARK


def base_name(name: str) -> str:
    """The name of the main proxy, of its own or of its cover's."""
    return name[: -len(COVER_SUFFIX)] if name.endswith(COVER_SUFFIX) and len(name) > len(COVER_SUFFIX) else name


_CHECKS: t.Dict[str, t.Tuple[t.Callable[[t.Any], bool], str]] = {
    NAME: (is_name, EXPECTED),
    PROXY: (is_proxy_name, EXPECTED_PROXY),
    LOOSE: (is_loose_name, EXPECTED_LOOSE),
    TYPE: (is_type, EXPECTED_TYPE),
    RUN: (is_run, EXPECTED_RUN),
    VERSION: (is_version, EXPECTED_VERSION),
    PATH: (is_path, EXPECTED_PATH),
    PLACE: (is_place, EXPECTED_PLACE),
    ACCOUNT: (is_account, EXPECTED_ACCOUNT),
    UNIT: (is_unit, EXPECTED_UNIT),
    KEY_ID: (is_key_id, EXPECTED_KEY_ID),
}


def checked(name: str) -> str:
    """``name``, for what makes a path of it. Raises ValueError when it cannot be the name of a proxy."""
    if not is_proxy_name(name):
        raise ValueError("the name of a proxy is %s, expected %s" % (shown(name), EXPECTED_PROXY))
    return name


def too_long(name: str) -> str:
    """Why a proxy of this name cannot join: ``has 80 characters, expected ...``. Empty when it can."""
    if len(name) <= MAXIMUM_JOINING:
        return ""
    return (
        "has %d characters, expected at most %d: kuma-dp cuts the paths of its sockets in %s/<name> after 98 characters, and with a longer name "
        "its admin interface, its access log and its metrics would be one socket" % (len(name), MAXIMUM_JOINING, RUN_DIR)
    )


def expected(rule: str) -> str:
    """What a value has to be by a rule such as ``NAME``."""
    return _CHECKS[rule][1]


def fault(value: t.Any, rule: str) -> str:
    """What is wrong with ``value`` by a rule such as ``NAME``: ``is '..', expected a ...``. Empty when it is all right."""
    check, wanted = _CHECKS[rule]
    return "" if check(value) else "is %s, expected %s" % (shown(value), wanted)


def faults(params: t.Mapping[str, t.Any], rules: Rules) -> t.List[t.Tuple[str, str]]:
    """Every option of ``params`` that cannot be what ``rules`` say, with what is wrong with it: ``("tokens[0].mesh", "is ..., ...")``.

    What is not given is none of them; the empty text is.
    """
    return [(place, fault(value, rule)) for place, value, rule in unfit(params, rules)]


def unfit(params: t.Mapping[str, t.Any], rules: Rules) -> t.List[t.Tuple[str, t.Any, str]]:
    """The same, as what is there and the rule that it breaks: ``("tokens[0].mesh", "..", LOOSE)``."""
    return [
        (place, value, rule)
        for path, rule in rules.items()
        for place, value in _values(params, path.replace("[]", ".[]").split("."), "")
        if fault(value, rule)
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
    """A value in a message: quoted, cut where it is long, and without the secrets that were put in the wrong place."""
    text = repr(redact(value)) if isinstance(value, str) else redact(repr(value))
    return text if len(text) <= 80 else text[:76] + "...'"
