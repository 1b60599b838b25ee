# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The lines at the end of a play: every host once, whatever became of it, and each reason once. Pure functions."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some

_LONGEST = 400
_HOSTS = 10
_UNKNOWN = "an earlier task failed, see above"


@dataclass(frozen=True)
class Outcome:
    """Of one host: ``failed`` says why it did, and is None otherwise.

    ``names`` are its proxies where they are worth telling, ``healed``, ``pending`` and ``others`` are lines about single proxies,
    ``outbounds`` is ``{service: address:port}``.
    """

    host: str
    failed: t.Optional[str] = None
    changed: bool = False
    unreachable: bool = False
    names: t.Sequence[str] = ()
    healed: t.Sequence[str] = ()
    pending: t.Sequence[str] = ()
    others: t.Sequence[str] = ()
    outbounds: t.Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.host} ({', '.join(self.names)})" if self.names else self.host


def joined(outcomes: t.Sequence[Outcome], check: bool, labels_lost: t.Sequence[str] = (), what: str = "") -> t.List[str]:
    """After a join. ``what`` the hosts have, where it is not told by itself, such as zone proxies."""
    fine = [outcome for outcome in outcomes if outcome.failed is None]
    verb = "would join or change" if check else "joined or changed"
    lines = [
        _counted(f"{what} that {verb}" if what else verb, [outcome.label for outcome in fine if outcome.changed]),
        _counted("unchanged", [outcome.label for outcome in fine if not outcome.changed]),
    ]
    ports = {service: port for outcome in fine for service, port in outcome.outbounds.items()}
    if ports:
        lines.append("outbound ports: " + ", ".join(f"{service}={port}" for service, port in sorted(ports.items())))
    if labels_lost:
        written = "would be written" if check else "written"
        lines.append(_counted(f"labels {written} again that the control plane had lost", labels_lost))
    # Also of hosts that fail afterwards.
    lines += _listed(
        f"SERVED NOBODY ({{}}), {'would be' if check else 'were'} restarted with what {'is' if check else 'was'} laid down:",
        [line for outcome in outcomes for line in outcome.healed],
    )
    lines += _listed(
        "RESTART PENDING ({}), these run with what they were started with; the playbook meshfleet.kuma.rolling_restart restarts them:",
        [line for outcome in fine for line in outcome.pending],
    )
    lines += _listed("not in the inventory, left alone ({}):", [line for outcome in fine for line in outcome.others])
    return lines + failures(outcomes, "FAILED ({}):")


def left(outcomes: t.Sequence[Outcome], check: bool, revoked: int = 0) -> t.List[str]:
    """After leaving, when so many tokens were revoked."""
    fine = [outcome for outcome in outcomes if outcome.failed is None and not outcome.unreachable]
    lines = [
        _counted("would leave" if check else "left", [outcome.label for outcome in fine if outcome.changed]),
        _counted("had left before", [outcome.label for outcome in fine if not outcome.changed]),
    ]
    kept = [outcome.host for outcome in outcomes if outcome.failed is None and outcome.unreachable]
    if kept:
        lines.append(_counted("unreachable, Dataplane deleted, files still there", kept))
    if revoked:
        lines.append(f"tokens {'that would be revoked' if check else 'revoked'}: {revoked}")
    return lines + failures(
        outcomes,
        "FAILED ({}), their Dataplanes may still be registered; kuma_dp_leave_unreachable: true deletes those of dead VMs:",
    )


def moved(result: t.Mapping[str, t.Any], fenced: bool) -> t.List[str]:
    """After proxies left traffic, or came back: ``result`` is that of the module dataplane_maintenance."""
    actions: t.Dict[str, t.List[str]] = {}
    for item in result["results"]:
        actions.setdefault(item["action"], []).append(item["name"])
    # The others failed, and are told of as such.
    written, title = (actions.get("fenced", []), "out of traffic") if fenced else (actions.get("lifted", []), "back in traffic")
    lines = [_counted(title, written), _counted("unchanged", actions.get("unchanged", []))]
    if result["stale"]:
        lines.append("past their time: " + ", ".join(item["name"] for item in result["stale"]))
    if result["lost"]:
        lines.append("in maintenance, but in traffic again: " + ", ".join(result["lost"]))
    return lines


def failures(outcomes: t.Sequence[Outcome], title: str) -> t.List[str]:
    """The hosts that failed, those of one reason together."""
    reasons: t.Dict[str, t.List[str]] = {}
    for outcome in outcomes:
        if outcome.failed is not None:
            reasons.setdefault(short(outcome.failed, outcome.host), []).append(outcome.host)
    count = sum(map(len, reasons.values()))
    return [title.format(count), *(f"  {some(hosts, _HOSTS)}: {reason}" for reason, hosts in reasons.items())] if count else []


def short(message: str, host: str) -> str:
    """The first line of a message without the host that it begins with."""
    text = (message.strip().splitlines() or [_UNKNOWN])[0]
    text = text[len(host) + 2 :] if text.startswith(host + ": ") else text
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def reason(results: t.Iterable[t.Optional[t.Mapping[str, t.Any]]]) -> str:
    """Why a host failed, by the results of its tasks in their order; the last one that failed says it."""
    failed = [result for result in results if result and (result.get("failed") or result.get("unreachable"))]
    return str(failed[-1].get("msg") or "failed") if failed else _UNKNOWN


def _counted(title: str, names: t.Sequence[str]) -> str:
    return f"{title} ({len(names)}): {', '.join(names) or '-'}"


def _listed(title: str, lines: t.Sequence[str]) -> t.List[str]:
    return [title.format(len(lines)), *(f"  {line}" for line in lines)] if lines else []
