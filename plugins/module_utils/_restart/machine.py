# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Carries out the steps of a restart on a VM, from a state file that survives it. All input and output is the world's."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import steps
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.facts import Facts

GRACE = 0.5  # between telling connections to close and accepting no more
BY_REBOOT = "finished by a reboot of the VM"


class World(t.Protocol):
    """What the machine needs of the VM. ``side`` is ``main`` or ``cover``."""

    boot: str

    def now(self) -> float:
        """Seconds since the VM booted."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""

    def look(self, stage: str) -> Facts:
        """Both sides as they are; ``stage`` tells what is of interest."""

    def load(self) -> t.Optional[steps.State]:
        """The state that was saved last, if any."""

    def save(self, state: t.Mapping[str, t.Any]) -> None:
        """Keep the state, so that a crash leaves either the old or the new one."""

    def request(self) -> t.Optional[t.Dict[str, t.Any]]:
        """The request that waits, if any."""

    def forget_request(self) -> None:
        """The request is taken up."""

    def own_request(self) -> t.Dict[str, t.Any]:
        """What to do when an operator starts the machine without a request."""

    def prepare_cover(self) -> t.List[str]:
        """Write the cover's files; returns notes about the VM."""

    def again(self) -> bool:
        """Whether systemd started the machine again, because an earlier process was killed."""

    def forget_cover(self) -> None:
        """Delete the token of the cover, which is gone."""

    def forget_old_token(self) -> None:
        """Delete the token that the proxy was started with before."""

    def start(self, side: str) -> None:
        """Start the unit of a side."""

    def stop(self, side: str) -> None:
        """Tell kuma-dp that its connections are drained, so that it stops without sleeping, and stop it."""

    def tell(self, side: str, path: str) -> None:
        """POST to the side's admin interface; an error is logged."""

    def journal(self, side: str) -> t.List[str]:
        """The last lines that a side logged."""

    def keep_good(self) -> None:
        """Remember what the running main proxy was started with."""

    def restore_good(self) -> None:
        """Put back what was remembered."""

    def log(self, text: str) -> None:
        """Say something in the journal of the machine."""


class Machine:
    """One restart of one proxy, from its beginning or from where an earlier process was killed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.state: steps.State = {}

    def run(self, until: t.Container[str] = ()) -> steps.State:
        """Returns the state when nothing is left to do, or one of the stages ``until`` is reached."""
        self.state = self._resume() or self._begin()
        while not steps.finished(self.state) and self.state["stage"] not in until:
            self._advance()
        return self.state

    def _resume(self) -> t.Optional[steps.State]:
        state = self.world.load()
        if state is None or state["boot"] != self.world.boot:
            return None
        waiting = self.world.request()
        if steps.finished(state):
            # Killed after its last step: nobody has asked for another restart.
            return state if waiting is None and self.world.again() else None
        if waiting is not None and waiting["id"] == state["request"]["id"]:
            self.world.forget_request()
        self.world.log("goes on at %s" % state["stage"])
        return state

    def _begin(self) -> steps.State:
        before = self.world.load()
        request = self.world.request()
        ended = before["cover_ended"] if before is not None and before["boot"] == self.world.boot else None
        state = steps.begin(request or self.world.own_request(), self.world.boot, self.world.now(), ended)
        self.world.save(state)
        if request is not None:
            self.world.forget_request()
        return state

    def _advance(self) -> None:
        step = steps.decide(self.state, self.world.look(self.state["stage"]), self.world.now())
        self._remember(step.changes)
        if step.action:
            self._act(step.action)
        self._remember(step.after)
        if step.pause:
            self.world.sleep(step.pause)

    def _remember(self, changes: t.Mapping[str, t.Any]) -> None:
        changes = dict(changes)
        side = changes.pop("journal_of", None)
        if side:
            changes["journal"] = self.world.journal(side)
        if all(self.state[key] == value for key, value in changes.items()):
            return
        if "stage" in changes and changes["stage"] != self.state["stage"]:
            self.world.log("%s -> %s%s" % (self.state["stage"], changes["stage"], _why(changes)))
            if changes["stage"] == "done":
                # Before the state is saved, for nothing is done after that.
                self.world.forget_cover()
                self.world.forget_old_token()
        self.state = {**self.state, **changes}
        self.world.save(self.state)

    def _act(self, action: str) -> None:
        world = self.world
        verb, _underscore, side = action.partition("_")
        if action == "keep_good":
            world.keep_good()
        elif action == "restore_good":
            world.restore_good()
        elif action == "start_cover":
            self._remember({"notes": self.state["notes"] + [note for note in world.prepare_cover() if note not in self.state["notes"]]})
            world.start(side)
        elif verb == "start":
            world.start(side)
        elif verb == "stop":
            world.stop(side)
        else:
            self._drain(side)

    def _drain(self, side: str) -> None:
        """Keep-alive connections are told to close first, so that their next request opens one to the other side."""
        self.world.tell(side, "/drain_listeners?graceful&skip_exit")
        self.world.sleep(GRACE)
        self.world.tell(side, "/drain_listeners")


def _why(changes: t.Mapping[str, t.Any]) -> str:
    parts = [str(changes[key]) for key in ("outcome", "problem") if changes.get(key)]
    return " (%s)" % ": ".join(parts) if parts else ""


def outcome_of(state: t.Mapping[str, t.Any], boot: str) -> t.Dict[str, t.Any]:
    """Stage, outcome and problem of a restart as an onlooker in boot ``boot`` may understand them."""
    if state["boot"] != boot and not steps.finished(state):
        return {"stage": "done", "outcome": state["outcome"] or "restarted", "problem": state["problem"] or BY_REBOOT}
    return {"stage": state["stage"], "outcome": state["outcome"], "problem": state["problem"]}
