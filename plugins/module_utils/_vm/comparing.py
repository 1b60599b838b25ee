# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Which paths ``proxy_files`` would change, by what ``proxy_info`` saw: pure, so that a controller can leave out a visit that changes nothing."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import files, removal
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.seen import digest_of

Params = t.Mapping[str, t.Any]
# The options that say what there is to be, and those that say what is not.
WISHES = ("directories", "files", "secrets", "links")
# What these remove depends on more than the paths themselves.
_UNTOLD = ("absent_releases", "absent_unfinished", "absent_if_empty")
# A kind that is nobody's wish.
_UNSEEN: t.Mapping[str, str] = {"kind": "unseen"}


def paths_of(params: Params) -> t.Tuple[t.List[str], t.List[str]]:
    """What ``proxy_info`` has to look at for :func:`differs`, given the options of ``proxy_files``: its ``paths`` and ``secret_paths``.

    Environment files are among the ``paths``: there is no telling without their digests whether they differ.
    """
    secrets = params.get("secrets") or []
    plain = [str(item["path"]) for option in WISHES if option != "secrets" for item in params.get(option) or []]
    plain += [str(item["path"]) for item in secrets if item.get("shown") is not None]
    return plain + [str(path) for path in params.get("absent") or []], [str(item["path"]) for item in secrets if item.get("shown") is None]


def differs(params: Params, seen: t.Mapping[str, t.Mapping[str, t.Any]], key: str = "") -> t.List[str]:
    """The paths that ``proxy_files`` would change or complain of, in its order, given its options and ``host.paths`` of ``proxy_info``,
    which was told ``key`` for its digests.

    What ``seen`` does not tell counts as differing: paths that are not in it, a secret with content of which it has no digest, owners that
    are given by a number and seen by a name (but for root), and everything of ``absent_releases``, ``absent_unfinished`` and
    ``absent_if_empty``.
    """
    found = {removal.tidy(path): facts for path, facts in seen.items()}
    wishes = files.wishes_of({option: [_as_text(item) for item in params.get(option) or []] for option in WISHES})
    wishes.extend(files.Wish("absent", removal.tidy(str(path))) for path in params.get("absent") or [])
    times = collections.Counter(wish.path for wish in wishes)
    different = [
        wish.path
        for wish in wishes
        if times[wish.path] > 1 or removal.problem(wish.path) or _is_different(wish, found.get(wish.path, _UNSEEN), key)
    ]
    return different + [removal.tidy(str(path)) for option in _UNTOLD for path in params.get(option) or []]


def _as_text(item: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Its values as the module gets them."""
    return {key: value if value is None or key == "shown" else str(value) for key, value in item.items()}


def _is_different(wish: files.Wish, seen: t.Mapping[str, t.Any], key: str) -> bool:
    if wish.kind in ("absent", "link"):
        return (wish.kind, wish.target) != (seen["kind"], seen.get("target") if wish.kind == "link" else None)
    if seen["kind"] != ("file" if wish.kind == "secret" else wish.kind):
        return True
    if wish.kind != "directory" and wish.content is not None and digest_of(wish.content, key) != seen.get("sha256"):
        return True
    if wish.mode is not None and wish.mode != int(seen["mode"], 8):
        return True
    return not (_is_same_owner(wish.owner, seen["owner"]) and _is_same_owner(wish.group, seen["group"]))


def _is_same_owner(wanted: t.Optional[str], seen: str) -> bool:
    """Whether a user or group is the wanted one; where none is wanted, anybody is."""
    return wanted is None or wanted == seen or {wanted, seen} == {"0", "root"}
