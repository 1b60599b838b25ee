# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Who may use and who may change a release that was unpacked: everybody, and root alone. Not the umask of a VM, nor an archive, has a say in it."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely

DIRECTORY, PROGRAM, FILE = 0o755, 0o755, 0o644
_LENDING = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_USABLE = 0o555
# More than any release has; whoever fills its directory with more gets no further.
_ENTRIES = 20000


def of_file(mode: int) -> int:
    """The mode of a file that its archive has with ``mode``."""
    return PROGRAM if mode & 0o111 else FILE


def usable(path: str) -> bool:
    """Whether everybody may run a program, or look into a directory. What 0.1.0 unpacked has 0555."""
    try:
        return safely.status(path, follow=True).st_mode & _USABLE == _USABLE
    except OSError:
        return False


def dangerous(directory: str) -> t.Dict[str, int]:
    """The directories and files in and below ``directory`` that others than root may change, or that lend rights, with the mode they should have.

    Raises OSError.
    """
    found: t.Dict[str, int] = {}
    left, seen = [directory], 0
    while left:
        path = left.pop()
        status = safely.status(path)
        kind = safely.kind_of(status)
        seen += 1
        if seen > _ENTRIES:
            raise safely.Refused(directory, "holds more than %d files and directories, expected a release" % _ENTRIES)
        if kind == "directory":
            left.extend(os.path.join(path, name) for name in safely.names(path))
        if kind in ("directory", "file") and (safely.others_write(status) or status.st_mode & _LENDING):
            found[path] = stat.S_IMODE(status.st_mode) & DIRECTORY
    return found
