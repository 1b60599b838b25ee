# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Many files of a VM in one step: checked as a whole, then written so that each is either the old or the new one.

When anything fails, the files that were replaced already are put back.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import stat
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import removal, safely


class Problems(Exception):
    """What is wrong with the wishes; ``problems`` are sentences. Nothing was written."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class WriteFailed(Exception):
    """Writing failed and everything was put back."""


class Wish(t.NamedTuple):
    """One path as it should be. ``kind`` is directory, file, secret, link or absent; a secret without content keeps its own.

    ``only_empty``: an absent directory is only removed when nothing is in it. ``shown``: the secret is an environment file, of which a diff
    may show the names, and the values of these.
    """

    kind: str
    path: str
    content: t.Optional[bytes] = None
    target: t.Optional[str] = None
    mode: t.Optional[int] = None
    owner: t.Optional[str] = None
    group: t.Optional[str] = None
    only_empty: bool = False
    shown: t.Optional[t.Tuple[str, ...]] = None


class Found(t.NamedTuple):
    """One path as it is; ``kind`` is directory, file, link, absent or other."""

    kind: str
    content: t.Optional[bytes] = None
    target: t.Optional[str] = None
    mode: t.Optional[int] = None
    uid: t.Optional[int] = None
    gid: t.Optional[int] = None


class Change(t.NamedTuple):
    """A path that differs; ``attributes_only`` when its content is right."""

    wish: Wish
    found: Found
    attributes_only: bool


def wishes_of(params: t.Mapping[str, t.Any]) -> t.List[Wish]:
    """The options of proxy_files as wishes, directories from the root downwards; without removals, which are for ``removal``."""
    wishes = [_wish("directory", item) for item in sorted(params["directories"], key=lambda item: str(item["path"]))]
    for kind, option in (("file", "files"), ("secret", "secrets")):
        wishes.extend(_wish(kind, item) for item in params[option])
    wishes.extend(Wish("link", removal.tidy(item["path"]), target=item["target"]) for item in params["links"])
    return wishes


def removals_of(params: t.Mapping[str, t.Any]) -> t.Tuple[t.List[Wish], t.List[str]]:
    """The options of proxy_files that remove, as wishes, and what is wrong with them."""
    found, problems = removal.plan(params)
    return [Wish("absent", item.path, only_empty=item.only_empty) for item in found], problems


def _wish(kind: str, item: t.Mapping[str, t.Any]) -> Wish:
    content = item["content"].encode("utf-8") if item.get("content") is not None else None
    mode = int(item["mode"], 8) if re.match(r"[0-7]{3,4}\Z", str(item.get("mode") or "")) else None
    # A mode that is none is left to `problems`, which has no other way to see it.
    if mode is None and item.get("mode"):
        mode = -1
    shown = tuple(item["shown"]) if item.get("shown") is not None else None
    return Wish(kind, removal.tidy(item["path"]), content, None, mode, item.get("owner"), item.get("group"), shown=shown)


def look(path: str) -> Found:
    """What is there; the content of a file that is not to be read is None, which is nobody's wish. Raises OSError."""
    try:
        status = safely.status(path)
        kind = safely.kind_of(status)
        found = Found("other", mode=stat.S_IMODE(status.st_mode), uid=status.st_uid, gid=status.st_gid)
        if kind == "link":
            return found._replace(kind=kind, target=safely.target(path))
        if kind == "file":
            return found._replace(kind=kind, content=_content(path))
    except (FileNotFoundError, NotADirectoryError):
        return Found("absent")
    return found._replace(kind=kind) if kind == "directory" else found


def _content(path: str) -> t.Optional[bytes]:
    try:
        return safely.read(path)
    except safely.Refused:
        return None


def user_id(name: t.Optional[str]) -> t.Optional[int]:
    """The UID of a name or number; None when it was not given. Raises KeyError for an unknown name."""
    if name is None:
        return None
    return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid


def group_id(name: t.Optional[str]) -> t.Optional[int]:
    if name is None:
        return None
    return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid


def plan(wishes: t.Sequence[Wish], check_mode: bool = False, known: t.Sequence[str] = ()) -> t.List[Change]:
    """What differs, in the order of the wishes. Raises Problems when any wish cannot be fulfilled, or when problems are ``known``.

    In check mode an owner may be missing, because an earlier task would have created it.
    """
    problems = [*known, *_problems(wishes, check_mode)]
    if problems:
        raise Problems(problems)
    changes = []
    for wish in wishes:
        found = look(wish.path)
        content = found.content if wish.kind == "secret" and wish.content is None else wish.content
        if (_kind_of(wish), content, wish.target) != (found.kind, found.content, found.target):
            changes.append(Change(wish, found, False))
        elif wish.kind not in ("link", "absent") and _attributes_differ(wish, found):
            changes.append(Change(wish, found, True))
    return changes


def _kind_of(wish: Wish) -> str:
    return "file" if wish.kind == "secret" else wish.kind


def _attributes_differ(wish: Wish, found: Found) -> bool:
    if wish.mode is not None and wish.mode != found.mode:
        return True
    try:
        uid, gid = user_id(wish.owner), group_id(wish.group)
    except KeyError:
        return True
    return (uid is not None and uid != found.uid) or (gid is not None and gid != found.gid)


def _problems(wishes: t.Sequence[Wish], check_mode: bool) -> t.List[str]:
    problems = []
    seen: t.Set[str] = set()
    directories = {wish.path for wish in wishes if wish.kind == "directory"}
    removed = {wish.path for wish in wishes if wish.kind == "absent"}
    for wish in wishes:
        fault = removal.problem(wish.path)
        if fault:
            problems.append("%s %s" % (wish.path, fault))
            continue
        if wish.path in seen:
            problems.append("%s is given twice" % wish.path)
        seen.add(wish.path)
        if wish.kind == "absent":
            # Whether it may go at all is known before; nobody ever means these.
            if wish.path.count("/") < 2:
                problems.append("%s is too near to the root to be removed" % wish.path)
            continue
        if wish.mode == -1:
            problems.append("%s: its mode is not octal, expected three or four digits such as '0640'" % wish.path)
        try:
            problems.extend(_kind_problems(wish, look(wish.path)))
        except OSError as exc:
            problems.append("%s cannot be looked at: %s" % (wish.path, exc))
        parent = os.path.dirname(wish.path)
        if parent not in directories and not safely.is_directory(parent):
            problems.append("%s: there is no directory %s, expected it to exist or among the directories" % (wish.path, parent))
        if parent in removed:
            problems.append("%s is in %s, which is to be removed" % (wish.path, parent))
        if not check_mode:
            if not _known(user_id, wish.owner):
                problems.append("%s: there is no user %s" % (wish.path, wish.owner))
            if not _known(group_id, wish.group):
                problems.append("%s: there is no group %s" % (wish.path, wish.group))
    return problems


def _known(find: t.Callable[[t.Optional[str]], t.Optional[int]], name: t.Optional[str]) -> bool:
    try:
        find(name)
    except (KeyError, ValueError):  # the latter for what can be no name at all
        return False
    return True


def _kind_problems(wish: Wish, found: Found) -> t.List[str]:
    if found.kind == "other":
        return ["%s is neither a file nor a directory nor a link" % wish.path]
    if wish.kind != "directory" and found.kind == "directory":
        return ["%s is a directory, expected a %s" % (wish.path, wish.kind)]
    if wish.kind == "secret" and wish.content is None and found.kind != "file":
        return ["%s does not exist, expected its content" % wish.path]
    if wish.kind == "directory" and found.kind not in ("directory", "absent"):
        return ["%s is a %s, expected a directory" % (wish.path, found.kind)]
    return []


def apply(changes: t.Sequence[Change]) -> None:
    """Write the changes. Every new file is complete on disk before the first one takes its place.

    Raises WriteFailed after putting everything back.
    """
    with contextlib.ExitStack() as undo, contextlib.ExitStack() as finish:
        try:
            for change in changes:
                if change.wish.kind == "directory":
                    _make_directory(change, undo)
            staged = [(change, _stage(change, undo)) for change in changes if _is_staged(change)]
            # What imports a file that is new is replaced after it: programs start at any time.
            for change, temporary in sorted(staged, key=lambda pair: pair[0].found.kind != "absent"):
                _replace(change, temporary, undo, finish)
            for change in changes:
                if change.attributes_only and change.wish.kind != "directory":
                    undo.callback(_restore_attributes, change.wish.path, change.found)
                    _set_attributes(change.wish.path, change.wish)
            for directory in sorted({os.path.dirname(change.wish.path) for change in changes}):
                safely.sync_directory(directory)
        except (OSError, KeyError) as exc:
            undo.close()
            raise WriteFailed("%s: everything was put back" % exc) from exc
        undo.pop_all()
    for change in changes:
        if change.wish.kind == "absent":
            _remove(change.wish)


def _is_staged(change: Change) -> bool:
    return change.wish.kind in ("file", "secret", "link") and not change.attributes_only


def _make_directory(change: Change, undo: contextlib.ExitStack) -> None:
    path = change.wish.path
    if change.found.kind == "absent":
        safely.make_directory(path)
        undo.callback(_quietly, safely.remove_directory, path)
    else:
        undo.callback(_restore_attributes, path, change.found)
    _set_attributes(path, change.wish)


def _stage(change: Change, undo: contextlib.ExitStack) -> str:
    """The new content under a temporary name beside its place, with its final owner and mode."""
    wish = change.wish
    if wish.kind == "link":
        temporary = safely.stage_link(wish.path, str(wish.target))
    else:
        # What nobody asked for stays as it is.
        found = change.found if change.found.kind == "file" else Found("absent")
        uid, gid = user_id(wish.owner), group_id(wish.group)
        mode = wish.mode if wish.mode is not None else found.mode
        owner, group = _number(found.uid if uid is None else uid), _number(found.gid if gid is None else gid)
        temporary = safely.stage(wish.path, wish.content or b"", mode if mode is not None else 0o644, owner, group)
    undo.callback(_quietly, safely.remove, temporary)
    return temporary


def _replace(change: Change, temporary: str, undo: contextlib.ExitStack, finish: contextlib.ExitStack) -> None:
    path = change.wish.path
    if change.found.kind == "absent":
        undo.callback(_quietly, safely.remove, path)
    else:
        # A second name of the old file, so that it can come back with its times.
        backup = temporary + ".old"
        safely.second_name(path, backup)
        finish.callback(_quietly, safely.remove, backup)
        undo.callback(safely.move, backup, path)
    safely.move(temporary, path)


def _set_attributes(path: str, wish: Wish) -> None:
    safely.set_attributes(path, wish.mode, _number(user_id(wish.owner)), _number(group_id(wish.group)))


def _restore_attributes(path: str, found: Found) -> None:
    safely.set_attributes(path, found.mode or 0, _number(found.uid), _number(found.gid))


def _number(number: t.Optional[int]) -> int:
    """As the kernel wants it: an owner of -1 stays who it is."""
    return -1 if number is None else number


def _remove(wish: Wish) -> None:
    with contextlib.suppress(FileNotFoundError):  # gone with a directory above it
        if wish.only_empty:
            safely.remove_directory(wish.path)
        else:
            safely.remove_tree(wish.path)


def _quietly(function: t.Callable[[str], None], path: str) -> None:
    with contextlib.suppress(OSError):
        function(path)
