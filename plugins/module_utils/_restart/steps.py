# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The steps of a restart as a function of its state and the facts: which action is next, and what is to be remembered. Pure.

The state is a JSON object in a file. Every action can be done twice, and the facts tell whether it was done, so a machine
that was killed anywhere goes on from its file. Times are seconds since the VM booted; a state of an earlier boot is void.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.facts import Facts, Side, choose, holds, lacks

State = t.Dict[str, t.Any]

SETTLE = 2.0  # for endpoints to reach the clients
DRAIN_AT_LEAST = 2.0
IDLE_READINGS = 2
NAME_BUSY = 15.0  # the control plane keeps a Direct name busy for 10 s
NAME_FREE = 10.5  # a proxy that is started earlier waits for longer than that, because it asks less and less often
SLOW = 5.0
TOLD_AT_MOST = 3  # times that a side is told to drain
STOP_WITHIN = 90.0  # beside the drain time: systemd kills what has not ended 30 s after that
UNSURE = 3  # readings before a main proxy counts as not serving
# How long whatever is not bounded by a time of its own may take: starts, stops, looks.
SLACK = 180.0
PHASES = ("cover", "settle", "drain", "stop", "start", "ready")


class Step(t.NamedTuple):
    """``changes`` are remembered before the action, ``after`` once it is done; then ``pause`` seconds pass."""

    action: str = ""
    changes: t.Mapping[str, t.Any] = {}
    after: t.Mapping[str, t.Any] = {}
    pause: float = 0.0


def begin(request: t.Mapping[str, t.Any], boot: str, now: float, cover_ended: t.Optional[float]) -> State:
    """The state of a restart that has not begun. ``request`` is ``{id, strategy, reasons, drain_time, ready_timeout, poll}``."""
    return {
        "request": dict(request),
        "boot": boot,
        "stage": "begin",
        "since": now,
        "begun": now,
        "strategy": None,
        "reasons": [],
        "notes": [],
        "outcome": None,
        "problem": None,
        "journal": [],
        "served_by": None,
        "fell_back": False,
        "cover_lost": False,
        "connections_cut": 0,
        "cover_connections_cut": 0,
        "phases": {},
        "seconds": 0.0,
        "started": None,
        "version": {"before": None, "after": None},
        "before": None,
        "bound": [],
        "direct": False,
        "reshaped": False,
        "unsure": 0,
        "idle": 0,
        "told": 0,
        "drain_began": None,
        "settled": None,
        "cover_started": None,
        "cover_ended": cover_ended,
        "restored": False,
        "put_back": False,
    }


def longest(drain_time: float, ready_timeout: float) -> float:
    """After how many seconds a restart is over, however it goes, or something is wrong with the VM itself.

    An earlier cover, the proxy and its cover are drained, and a proxy that does not stop is waited for as long, twice with a fall back. The
    cover is waited for, and the proxy to be started and to be ready, twice with a fall back.
    """
    return 5 * (drain_time + ready_timeout) + SLACK


def decide(state: State, facts: Facts, now: float) -> Step:
    """The next step."""
    return _STAGES[state["stage"]](state, facts, now)


def finished(state: t.Mapping[str, t.Any]) -> bool:
    return bool(state["stage"] == "done")


def _go(state: State, now: float, stage: str, **changes: t.Any) -> Step:
    phases = dict(state["phases"])
    if state["stage"] in PHASES:
        phases[state["stage"]] = round(phases.get(state["stage"], 0.0) + now - state["since"], 2)
    fresh = {"unsure": 0, "idle": 0, "told": 0, "drain_began": None, "settled": None}
    return Step(changes={**fresh, "stage": stage, "since": now, "phases": phases, **changes})


def _end(state: State, facts: Facts, now: float, outcome: str, stage: str, **changes: t.Any) -> Step:
    """The outcome is known: whoever waits for it need not wait for what is left to do."""
    served = "main" if facts.main.serves else "cover" if facts.cover.serves else "none"
    known = {"outcome": outcome, "served_by": served, "seconds": round(now - state["begun"], 2)}
    return _go(state, now, stage, **{**known, **changes})


def _wait(state: State, **changes: t.Any) -> Step:
    return Step(changes=changes, pause=state["request"]["poll"])


def _is_old(state: State, side: Side) -> bool:
    return bool(side.pid) and state["before"] == side.identity


def _bound(state: State) -> t.FrozenSet[t.Tuple[str, int]]:
    """Where the proxy listened, or its cover since that took over."""
    return frozenset((address, port) for address, port in state["bound"])


def _missing(state: State, side: Side, other: t.Optional[Side]) -> t.List[str]:
    """What a side lacks to take over from the other, and from what that listened on earlier, should it not answer now."""
    # The cover is like the old proxy; only the one that was started after it may be another.
    reshaped = state["reshaped"] and state["stage"] == "ready"
    missing = lacks(side, other, reshaped)
    if not missing and not reshaped and state["strategy"] == "cover" and not holds(side, _bound(state)):
        return ["it does not listen everywhere where the other does"]
    return missing


def _begin(state: State, facts: Facts, now: float) -> Step:
    main, cover, request = facts.main, facts.cover, state["request"]
    if request.get("restore") and not state["put_back"]:
        # Before anything else, so that a cover proves what the proxy goes back to.
        return Step("restore_good", after={"put_back": True})
    known: t.Dict[str, t.Any] = {"before": main.identity if main.pid else None, "version": {"before": main.version or None, "after": None}}
    known.update(direct=main.direct, reshaped=facts.reshaped)
    answered = main.serves or main.gone
    if cover.accepts and not main.serves:
        answered = cover.serves
    if not answered and state["unsure"] < UNSURE:
        return _wait(state, unsure=state["unsure"] + 1)
    if not cover.gone:
        if main.serves or not cover.serves:
            return _go(state, now, "clear")
        note = "the cover of an earlier restart serves: the proxy is restarted behind it"
        return _go(state, now, "drain", strategy="cover", notes=[note], bound=sorted(cover.bound), **known)
    if not main.serves:
        reasons = [*request["reasons"], "it did not serve: %s" % "; ".join(lacks(main))]
        return _go(state, now, "stop", strategy="drained", reasons=reasons, connections_cut=main.cut, **known)
    strategy, reasons, problem = choose(request["strategy"], request["reasons"], facts)
    known.update(strategy=strategy, reasons=reasons)
    if problem:
        return _end(state, facts, now, "untouched", "done", problem=problem, **known)
    known["bound"] = sorted(main.bound)
    return Step("keep_good", after=_go(state, now, strategy if strategy == "cover" else "drain", **known).changes)


def _clear(state: State, facts: Facts, now: float) -> Step:
    """A cover that an earlier restart left behind goes first."""
    if facts.cover.gone:
        return _go(state, now, "begin", cover_ended=now)
    if facts.cover.serves and not facts.main.serves:
        return _go(state, now, "begin")
    if facts.cover.accepts and not facts.main.serves and state["unsure"] < UNSURE:
        return _wait(state, unsure=state["unsure"] + 1)
    return _retire_cover(state, facts, now)


def _cover(state: State, facts: Facts, now: float) -> Step:
    main, cover, request = facts.main, facts.cover, state["request"]
    began = state["cover_started"]
    if began is None:
        busy = (state["cover_ended"] or -NAME_BUSY) + NAME_BUSY - now
        if busy > 0:
            return Step(pause=min(busy, 1.0))
        return Step("start_cover", after={"cover_started": now})
    missing = _missing(state, cover, main)
    if not missing and not main.serves and state["unsure"] < UNSURE:
        # Its admin interface may be too busy to answer: what it listens on is not known now.
        return _wait(state, unsure=state["unsure"] + 1)
    if not missing:
        return _go(state, now, "settle", bound=sorted(cover.bound))
    if cover.gone:
        problem = "the cover ended before it was ready; the proxy was not touched"
    elif now - began >= request["ready_timeout"]:
        problem = "the cover was not ready after %g s; the proxy was not touched: %s" % (request["ready_timeout"], "; ".join(missing))
    else:
        return _wait(state)
    return _give_up_cover(state, facts, now, problem)


def _give_up_cover(state: State, facts: Facts, now: float, problem: str) -> Step:
    return _end(state, facts, now, "untouched", "retire", problem=problem, journal_of="cover")


def _settle(state: State, facts: Facts, now: float) -> Step:
    if facts.cover.gone:
        return _give_up_cover(state, facts, now, "the cover ended before the proxy was touched")
    if _missing(state, facts.cover, facts.main):
        return _go(state, now, "cover")
    if now - state["since"] < SETTLE:
        return _wait(state)
    return _go(state, now, "drain")


def _drain(state: State, facts: Facts, now: float) -> Step:
    main, covered = facts.main, state["strategy"] == "cover"
    if main.gone or (main.pid and not _is_old(state, main)):
        # It ended, or was started again, by itself.
        return _go(state, now, "stop")
    if covered and not holds(facts.cover, _bound(state)):
        if main.serves:
            return _give_up_cover(state, facts, now, "the cover was lost before the proxy was drained")
        # It accepts no connection any more, so that waiting for those that it has costs more than they are worth.
        problem = "the cover was lost while the proxy was drained; the proxy was restarted at once"
        return _go(state, now, "stop", cover_lost=True, problem=problem, journal_of="cover", connections_cut=main.cut)
    step, idle = _drained(state, main, "drain_main", now)
    if step is not None:
        return step
    return _go(state, now, "stop", connections_cut=0 if idle else main.cut)


def _drained(state: State, side: Side, action: str, now: float) -> t.Tuple[t.Optional[Step], bool]:
    """The next step until a side is idle or its time is over; None when that is so, and whether it is idle."""
    began = state["drain_began"] if state["drain_began"] is not None else now
    if not side.stopped and state["told"] < TOLD_AT_MOST:
        return Step(action, {"drain_began": began, "idle": 0}, {"told": state["told"] + 1}), False
    idle = state["idle"] + 1 if side.idle else 0
    if idle >= IDLE_READINGS and now - began >= DRAIN_AT_LEAST:
        return None, True
    if now - began >= state["request"]["drain_time"]:
        return None, False
    return _wait(state, idle=idle, drain_began=began), False


def _stop(state: State, facts: Facts, now: float) -> Step:
    main = facts.main
    if main.gone or (main.pid and not _is_old(state, main)):
        return _go(state, now, "start")
    if now - state["since"] >= state["request"]["drain_time"] + STOP_WITHIN:
        return _not_stopped(state, facts, now)
    return Step("stop_main", {"direct": state["direct"] or main.direct}, pause=0.1 if now - state["since"] < SLOW else 1.0)


def _not_stopped(state: State, facts: Facts, now: float) -> Step:
    """systemd refuses, or does not answer: whoever waits is told, and it goes on being tried."""
    main = facts.main
    problem = "the proxy does not stop: its unit is %s, with process %d, %.0f s after it was told to" % (
        main.state,
        main.pid,
        now - state["since"],
    )
    if main.stopped:
        problem += "; it is drained and accepts no connections any more"
    if state["problem"]:
        problem = "%s; %s" % (state["problem"], problem)
    return _end(state, facts, now, "failed", "stranded", problem=problem, journal_of="main")


def _start(state: State, facts: Facts, now: float) -> Step:
    main = facts.main
    if main.pid:
        return _go(state, now, "stop" if _is_old(state, main) else "ready")
    name_free = state["since"] + (NAME_FREE if state["direct"] else 0.0)
    if now < name_free:
        return Step(pause=min(name_free - now, 1.0))
    if now - name_free >= state["request"]["ready_timeout"]:
        return _not_ready(state, facts, now, ["its unit is %s" % main.state])
    return Step("start_main", pause=0.1)


def _ready(state: State, facts: Facts, now: float) -> Step:
    main, cover = facts.main, facts.cover
    covered = state["strategy"] == "cover"
    lost = covered and not holds(cover, _bound(state))
    missing = _missing(state, main, cover if covered and not lost and cover.serves else None) if not lost else lacks(main)
    if missing:
        if now - state["since"] >= state["request"]["ready_timeout"]:
            return _not_ready(state, facts, now, missing)
        return Step("start_main", pause=0.5) if main.gone else _wait(state, settled=None)
    settled = state["settled"] if state["settled"] is not None else now
    if covered and not lost and now - settled < SETTLE:
        return _wait(state, settled=settled)
    changes: t.Dict[str, t.Any] = {"started": main.started, "version": {**state["version"], "after": main.version or None}}
    if lost and not state["cover_lost"]:
        changes.update(cover_lost=True, problem="the cover was lost before the proxy served again", journal_of="cover")
    outcome = "failed" if state["fell_back"] or lost else "restarted"
    return _end(state, facts, now, outcome, "retire", **changes)


def _not_ready(state: State, facts: Facts, now: float, missing: t.Sequence[str]) -> Step:
    """The proxy did not come back: to what it was before, else the cover goes on alone."""
    if not state["fell_back"]:
        problem = "the proxy was not ready %g s after its start: %s" % (state["request"]["ready_timeout"], "; ".join(missing))
        if facts.good:
            return _go(state, now, "fall_back", fell_back=True, problem=problem, journal_of="main")
        problem += "; what it ran with before is not known, so that it could not be put back"
        return _end(state, facts, now, "failed", "stranded", problem=problem, journal_of="main")
    problem = "%s; with what it ran with before it was not ready either: %s" % (state["problem"], "; ".join(missing))
    return _end(state, facts, now, "failed", "stranded", problem=problem)


def _fall_back(state: State, facts: Facts, now: float) -> Step:
    if not state["restored"]:
        return Step("restore_good", after={"restored": True})
    # What runs now is what has to go.
    return _go(state, now, "stop", before=facts.main.identity if facts.main.pid else None, direct=facts.main.direct)


def _stranded(state: State, facts: Facts, now: float) -> Step:
    """The proxy does not get ready. It may when the control plane comes back; until then the cover, if there is one, serves."""
    main, cover = facts.main, facts.cover
    if main.gone:
        return Step("start_main", pause=SLOW)
    if main.stopped and _is_old(state, main):
        # It could not be stopped, and nothing else opens its listeners again.
        return Step("stop_main", {"settled": None, "served_by": "cover" if cover.serves else "none"}, pause=SLOW)
    if lacks(main, cover if cover.serves else None, state["reshaped"]):
        return Step(changes={"settled": None, "served_by": "cover" if cover.serves else "none"}, pause=SLOW)
    settled = state["settled"] if state["settled"] is not None else now
    if now - settled < SETTLE:
        return _wait(state, settled=settled)
    return _go(state, now, "retire", served_by="main", started=main.started, version={**state["version"], "after": main.version or None})


def _retire(state: State, facts: Facts, now: float) -> Step:
    """The cover goes, but never before the proxy serves."""
    if facts.cover.gone:
        return _go(state, now, "done", cover_ended=now if state["cover_started"] is not None else state["cover_ended"])
    if facts.cover.accepts and not facts.main.serves:
        if state["unsure"] < UNSURE:
            return _wait(state, unsure=state["unsure"] + 1)
        return _go(state, now, "stranded", served_by="cover")
    return _retire_cover(state, facts, now)


def _retire_cover(state: State, facts: Facts, now: float) -> Step:
    cover = facts.cover
    if not cover.live and not cover.problem:
        # It never had a configuration, or is on its way out.
        return Step("stop_cover", pause=0.1)
    step, idle = _drained(state, cover, "drain_cover", now)
    if step is not None:
        return step
    return Step("stop_cover", {"cover_connections_cut": 0 if idle else cover.cut}, pause=0.1)


_STAGES: t.Dict[str, t.Callable[[State, Facts, float], Step]] = {
    "begin": _begin,
    "clear": _clear,
    "cover": _cover,
    "settle": _settle,
    "drain": _drain,
    "stop": _stop,
    "start": _start,
    "ready": _ready,
    "fall_back": _fall_back,
    "stranded": _stranded,
    "retire": _retire,
}
