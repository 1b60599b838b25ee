# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What is shown of the files that are about to change: before and after, and nothing of a secret."""

from __future__ import annotations

import grp
import pwd
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import HIDDEN, redact, redact_document
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.files import Change, Found, Wish
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import parse_environment

CHANGED = "(hidden, changed)"
Diff = t.Dict[str, str]


def diff(changes: t.Sequence[Change]) -> t.List[Diff]:
    """Before and after of each change; nothing of a secret but its size, and of an environment file the names of its variables."""
    result = []
    for change in changes:
        wish, found = change.wish, change.found
        before, after = _shown(wish, found), _wanted(wish)
        if wish.shown is not None:
            before, after = _variables(wish, found)
        if change.attributes_only:
            before, after = _attributes(found), _attributes_wanted(wish, found)
        result.append({"before_header": wish.path, "after_header": wish.path, "before": before, "after": after})
    return result


def _shown(wish: Wish, found: Found) -> str:
    if found.kind == "absent":
        return ""
    if wish.kind == "secret":
        return "(secret, %d bytes)\n" % len(found.content or b"")
    if wish.kind == "absent" and found.kind == "file":
        # It may be a secret; a removal does not say.
        return "(file, %d bytes)\n" % len(found.content or b"")
    if found.kind == "file":
        return _text(found.content or b"")
    return "(link to %s)\n" % found.target if found.kind == "link" else "(%s)\n" % found.kind


def _wanted(wish: Wish) -> str:
    if wish.kind == "absent":
        return ""
    if wish.kind == "secret":
        return "(new secret, %d bytes)\n" % len(wish.content or b"")
    if wish.kind == "file":
        return _text(wish.content or b"")
    return "(link to %s)\n" % wish.target if wish.kind == "link" else "(%s)\n" % wish.kind


def _variables(wish: Wish, found: Found) -> t.Tuple[str, str]:
    """An environment file before and after: a line for each variable, and no value but those that may be shown."""
    old, new = (parse_environment((content or b"").decode("utf-8", "replace")) for content in (found.content, wish.content))

    def line(name: str, value: str, changed: bool) -> str:
        if name in (wish.shown or ()):
            return "%s=%s\n" % (name, redact(value))
        return "%s=%s\n" % (name, CHANGED if changed else HIDDEN)

    before = [line(name, value, False) for name, value in sorted(old.items())]
    after = [line(name, value, old.get(name, value) != value) for name, value in sorted(new.items())]
    return "".join(before) if found.kind == "file" else _shown(wish, found), "".join(after)


def _text(content: bytes) -> str:
    try:
        return redact_document(content.decode("utf-8"))
    except UnicodeDecodeError:
        return "(binary, %d bytes)\n" % len(content)


def _attributes(found: Found) -> str:
    return "mode: %04o\nowner: %s\ngroup: %s\n" % (found.mode or 0, _name(pwd.getpwuid, found.uid), _name(grp.getgrgid, found.gid))


def _attributes_wanted(wish: Wish, found: Found) -> str:
    mode = wish.mode if wish.mode is not None else found.mode
    owner = wish.owner or _name(pwd.getpwuid, found.uid)
    return "mode: %04o\nowner: %s\ngroup: %s\n" % (mode or 0, owner, wish.group or _name(grp.getgrgid, found.gid))


def _name(find: t.Callable[[int], t.Any], number: t.Optional[int]) -> str:
    try:
        return str(find(number or 0)[0])
    except KeyError:
        return str(number)
