# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of the ten labs it is: the first that is free, the one that LAB_ID names, or the only one there is."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.lab.settings import LabError, Settings


@contextlib.contextmanager
def locked(settings: Settings, wait: bool = True) -> Iterator[None]:
    """Keep others from setting this lab up or taking it down. Without `wait` a BlockingIOError when somebody just does."""
    settings.lock.parent.mkdir(mode=0o755, exist_ok=True)
    with settings.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextlib.contextmanager
def first_free(labs: Sequence[Settings], objections: Callable[[Settings], list[str]], wait: bool = False) -> Iterator[Settings]:
    """The first lab that nothing speaks against, locked inside the `with` block: who starts at the same moment gets another one.

    `objections` are asked for with the lock held. Raises LabError with what speaks against each when there is none.
    """
    found: dict[int, list[str]] = {}
    for settings in labs:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(settings, wait))
            except BlockingIOError:
                reasons = ["another process is just setting it up or taking it down"]
            else:
                reasons = objections(settings)
            if not reasons:
                yield settings
                return
        found[settings.lab_id] = reasons
    raise LabError(_refusal(found))


def only(labs: Mapping[int, str]) -> int | None:
    """The only lab of those that exist, given with a word about each; None when there is none. Raises LabError when there are several."""
    if len(labs) > 1:
        lines = "".join(f"\n  {number}: {what}" for number, what in labs.items())
        raise LabError(f"there are {len(labs)} labs on this machine; set LAB_ID to the one that is meant:{lines}")
    return next(iter(labs), None)


def _refusal(found: Mapping[int, list[str]]) -> str:
    if len(found) == 1:
        [(number, reasons)] = found.items()
        remedy = "end or remove what is in the way, set LAB_ID to another number, or leave it out to get a lab that is free"
        return f"lab {number} is taken: {'; '.join(reasons)}. Remedy: {remedy}"
    lines = "".join(f"\n  {number}: {'; '.join(reasons)}" for number, reasons in found.items())
    return f"none of the {len(found)} labs is free; end or remove what is in the way of one of them:{lines}"
