# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The settings and the hosts of a rolling restart, checked. Pure functions."""

from __future__ import annotations

import dataclasses
import fractions
import functools
import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming

STRATEGIES = ("auto", "cover", "drained")
KINDS = ("restart", "upgrade", "leave")


@dataclasses.dataclass(frozen=True)
class Settings:
    """``limit``, ``budget``, ``stages`` and ``max_failures`` are counts or percentages of what they are about; times are seconds.

    ``limit``: hosts of one service in flight. ``budget``: instances of one service that may not serve. ``canaries``: successes that each
    group of like hosts needs before the rest of it follows. ``hooked``: tasks of the user run before each restart.
    ``host_timeout``: after which a host without a result has failed.
    """

    limit: str = "25%"
    budget: str = "25%"
    canaries: int = 1
    soak: float = 10.0
    stages: t.Tuple[str, ...] = ("5%", "20%")
    max_in_flight: int = 10
    max_failures: str = "0"
    allow_singleton: bool = False
    force: bool = False
    hooked: bool = False
    pause_timeout: float = 300.0
    gate_timeout: float = 120.0
    min_healthy: float = 0.0
    strategy: str = "auto"
    host_timeout: float = 3600.0
    propagation_delay: float = 3.0
    propagation_timeout: float = 30.0

    def as_json(self) -> t.Dict[str, t.Any]:
        return dict(dataclasses.asdict(self), stages=list(self.stages))


_AMOUNT = re.compile(r"(\d+)|(\d+(?:\.\d+)?)\s*%")
_NUMBERS = ("soak", "pause_timeout", "gate_timeout", "min_healthy", "host_timeout", "propagation_delay", "propagation_timeout")
_LEAST = {"canaries": 0, "max_in_flight": 1}


@functools.lru_cache(maxsize=256)
def _amount(text: str) -> t.Tuple[fractions.Fraction, bool]:
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"found {text!r}, expected a count such as 2 or a share such as 25%")
    if match.group(1):
        return fractions.Fraction(match.group(1)), False
    percent = fractions.Fraction(match.group(2))
    if percent > 100:
        raise ValueError(f"found {text!r}, expected at most 100%")
    return percent / 100, True


def share(text: str, whole: int) -> int:
    """A count as it is, a percentage of ``whole`` rounded down."""
    value, relative = _amount(text)
    return int(value * whole if relative else value)


def read(given: t.Mapping[str, t.Any]) -> Settings:
    """Settings from what a user gave; what is left out is a default. Raises ValueError with everything that is wrong."""
    names = {field.name for field in dataclasses.fields(Settings)}
    problems: t.List[str] = []
    values: t.Dict[str, t.Any] = {}
    for name, value in given.items():
        if name not in names:
            problems.append(f"settings.{name} is unknown, expected one of {', '.join(sorted(names))}")
            continue
        if value is None:
            continue
        try:
            values[name] = _value(name, value)
        except ValueError as error:
            problems.append(f"settings.{name}: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return Settings(**values)


def _value(name: str, value: t.Any) -> t.Any:
    if name in ("limit", "budget", "max_failures"):
        text = str(value)
        number, _relative = _amount(text)
        if name == "limit" and number == 0:
            raise ValueError(f"found {text!r}, expected at least one host")
        return text.strip()
    if name == "stages":
        entries = value if isinstance(value, (list, tuple)) else [value]
        stages = tuple(str(entry).strip() for entry in entries)
        for stage in stages:
            _amount(stage)
        return stages
    if name in ("allow_singleton", "force", "hooked"):
        return _boolean(value)
    if name == "strategy":
        if value not in STRATEGIES:
            raise ValueError(f"found {value!r}, expected one of {', '.join(STRATEGIES)}")
        return value
    return _number(name, value)


def _boolean(value: t.Any) -> bool:
    text = str(value).strip().lower()
    if text not in ("true", "false", "yes", "no", "1", "0", "on", "off"):
        raise ValueError(f"found {value!r}, expected true or false")
    return text in ("true", "yes", "1", "on")


def _number(name: str, value: t.Any) -> t.Any:
    try:
        number = float(value) if name in _NUMBERS else int(str(value))
    except (TypeError, ValueError):
        raise ValueError(f"found {value!r}, expected a number") from None
    least = _LEAST.get(name, 0)
    if not least <= number < 1e9:
        raise ValueError(f"found {value!r}, expected {least} or more")
    return number


def check_hosts(hosts: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Whether each is there once and has all that is needed. Raises ValueError with everything that is wrong."""
    problems: t.List[str] = []
    names: t.Dict[str, str] = {}
    seen: t.Set[str] = set()
    for index, host in enumerate(hosts):
        if not host.get("host"):
            problems.append(f"hosts[{index}].host is missing, expected the name of the host")
            continue
        name = str(host["host"])
        if name in seen:
            problems.append(f"hosts[{index}]: {name} is given twice")
        seen.add(name)
        for proxy in host.get("proxies") or []:
            problem = _problem_of_proxy(proxy, names)
            if problem:
                problems.append(f"hosts[{index}] ({name}): {problem}")
            names.setdefault(str(proxy.get("name") or "") if isinstance(proxy, dict) else "", name)
    if problems:
        raise ValueError("; ".join(problems))


def _problem_of_proxy(proxy: t.Any, names: t.Mapping[str, str]) -> str:
    """What is wrong with one; ``names`` has the host of each proxy before it."""
    name = str(proxy.get("name") or "") if isinstance(proxy, dict) else ""
    if not name:
        return "a proxy has no name"
    fault = naming.fault(name, naming.PROXY)
    if fault:
        return f"the name of a proxy {fault}"
    if name in names:
        return f"proxy {name} is one of {names[name]}, too"
    if proxy.get("strategy", "auto") not in STRATEGIES:
        return f"strategy of {name} is {proxy['strategy']!r}, expected one of {', '.join(STRATEGIES)}"
    return ""
