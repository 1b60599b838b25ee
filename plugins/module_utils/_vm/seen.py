# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What is at the paths of a VM, told so that a controller can compare it: digests instead of contents, and none of what is secret."""

from __future__ import annotations

import functools
import grp
import hashlib
import hmac
import os
import pwd
import stat
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import removal, safely

Seen = t.Dict[str, t.Any]
_KINDS = ("link", "directory", "file")


def kind_of(path: str) -> str:
    """file, directory, link, other or absent. What cannot be looked at is other: nobody may take it for absent."""
    return _look(path)[0]


def _look(path: str) -> t.Tuple[str, t.Optional[os.stat_result]]:
    try:
        status = safely.status(path)
    except (FileNotFoundError, NotADirectoryError):
        return "absent", None
    except OSError:
        return "other", None
    kind = safely.kind_of(status)
    return kind if kind in _KINDS else "other", status


def problems(option: str, paths: t.Iterable[str]) -> t.List[str]:
    """What is wrong with the paths of an option."""
    return ["%s: %s %s" % (option, path, removal.problem(removal.tidy(path))) for path in paths if removal.problem(removal.tidy(path))]


def describe(paths: t.Iterable[str], secrets: t.Iterable[str] = (), key: str = "") -> t.Dict[str, Seen]:
    """``{path: {kind, mode, owner, group, sha256 of a file, target of a link}}``, of ``secrets`` without the last two.

    The mode is text such as 0644, owners are names, or numbers as text where nobody has them. What is absent has its kind alone. With a
    ``key`` the digests are of no use to who does not have it.
    """
    owner, group = functools.lru_cache(None)(user_name), functools.lru_cache(None)(group_name)
    hidden = set(secrets)
    found = {}
    for path in [*paths, *hidden]:
        kind, status = _look(path)
        found[path] = {"kind": kind}
        if status is not None:
            mode = "%04o" % stat.S_IMODE(status.st_mode)
            found[path].update(mode=mode, owner=owner(status.st_uid), group=group(status.st_gid))
            if path not in hidden:
                found[path].update(_content(path, kind, key))
    return found


def _content(path: str, kind: str, key: str) -> t.Dict[str, str]:
    """Its digest or target; nothing for other kinds, and for what went away meanwhile or may not be read."""
    try:
        if kind == "file":
            return {"sha256": digest_of(safely.read(path), key)}
        return {"target": safely.target(path)} if kind == "link" else {}
    except OSError:
        return {}


def digest_of(content: bytes, key: str = "") -> str:
    """The digest that a file with this content has."""
    digest = hmac.new(key.encode("utf-8"), digestmod="sha256") if key else hashlib.sha256()
    digest.update(content)
    return str(digest.hexdigest())


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
