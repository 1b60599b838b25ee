# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Do the other instances of a service still live? The control plane says that a machine without power is connected for minutes.

So a roll has each of them answer now and then: their Envoy, asked through the control plane. Only who answered before in this run and
does not any more counts as lost; where proxies cannot be asked at all, nothing is known and nothing changes.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied, ApiError, Client, NotFound, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.concurrently import concurrently
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import api
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import admission, view

AGE = 10.0  # seconds that an answer counts
AGAIN = 5.0  # seconds after which one is asked again
PATIENCE = 3  # times in a row that nothing is learnt of one before it is not asked any more
# A service of more is not asked: one instance more or less is not what its budget is about, and a request for each would be.
MOST = 50

ALIVE, SILENT, UNKNOWN, DENIED = "alive", "silent", "unknown", "denied"

Json = t.Dict[str, t.Any]
Siblings = t.Dict[str, t.Dict[str, str]]


def nothing() -> Json:
    """What is known at first: ``heard`` and ``silent`` map instances to epoch seconds, ``mute`` cannot be asked,
    ``unsure`` counts how often in a row nothing was learnt of one."""
    return {"heard": {}, "silent": {}, "mute": [], "unsure": {}, "denied": False}


def siblings(overviews: t.Sequence[t.Mapping[str, t.Any]], services: t.AbstractSet[str]) -> Siblings:
    """``{service: {instance: whom to ask}}`` of the connected instances of these services: the Dataplane of the main proxy, or of its
    cover. Of a zone proxy that is not a Dataplane it is the path of its resource."""
    found: Siblings = {}
    for overview in overviews:
        if not status.online(overview):
            continue
        name = str(overview["name"])
        instance = naming.base_name(name)
        address = api.path_of(overview, "") if overview.get("zoneProxy") else name
        for service, (kind, _serving) in view.offers(overview).items():
            if kind in (admission.CALLED, admission.ZONE) and service in services:
                own = found.setdefault(service, {})
                if instance == name or instance not in own:
                    own[instance] = address
    return {service: own for service, own in found.items() if len(own) <= MOST}


def due(pulse: Json, known: Siblings, flying: t.AbstractSet[str], now: float) -> t.Dict[str, str]:
    """``{instance: Dataplane}`` to ask now. Who is being restarted is not asked."""
    if pulse["denied"]:
        return {}
    wanted: t.Dict[str, str] = {}
    for own in known.values():
        for instance, name in own.items():
            last = max(pulse["heard"].get(instance, 0.0), pulse["silent"].get(instance, 0.0))
            if instance not in flying and instance not in pulse["mute"] and now - last >= AGAIN:
                wanted[instance] = name
    return wanted


def listen(client: Client, mesh: str, wanted: t.Mapping[str, str]) -> t.Dict[str, str]:
    """What became of asking each: ALIVE, SILENT, UNKNOWN (the control plane itself did not answer) or DENIED."""
    answers = concurrently(lambda name: _ask(client, mesh, name), list(wanted.values()))
    return dict(zip(wanted, answers))


def _ask(client: Client, mesh: str, name: str) -> str:
    try:
        client.get(f"{name}/clusters" if name.startswith("/") else api_path("meshes", mesh, "dataplanes", name, "clusters"))
    except AccessDenied:
        return DENIED
    except NotFound:
        return UNKNOWN
    except ApiError as error:
        return SILENT if error.kind in ("server", "invalid") else UNKNOWN
    return ALIVE


def update(pulse: Json, answers: t.Mapping[str, str], now: float) -> Json:
    """``pulse`` with what was heard ``now``."""
    heard, silent, mute, unsure = dict(pulse["heard"]), dict(pulse["silent"]), set(pulse["mute"]), dict(pulse["unsure"])
    for instance, answer in answers.items():
        unsure[instance] = unsure.get(instance, 0) + 1 if answer == UNKNOWN else 0
        if answer == ALIVE:
            heard[instance] = now
            silent.pop(instance, None)
        elif answer == SILENT and instance in heard:
            silent[instance] = now
        elif answer == SILENT or unsure[instance] >= PATIENCE:
            mute.add(instance)
    denied = pulse["denied"] or DENIED in answers.values()
    return {"heard": heard, "silent": silent, "mute": sorted(mute), "unsure": unsure, "denied": denied}


def lost(pulse: Json, own: t.Mapping[str, str]) -> t.Set[str]:
    """The instances of a service that answered before and do not any more."""
    return set(own) & set(pulse["silent"])


def unheard(pulse: Json, known: Siblings, services: t.Iterable[str], flying: t.AbstractSet[str], now: float) -> t.List[str]:
    """The instances of these services of which nothing was heard lately although they can be asked: nobody is restarted before."""
    if pulse["denied"]:
        return []
    return sorted(
        {
            instance
            for service in services
            for instance in known.get(service, {})
            if instance not in flying
            and instance not in pulse["mute"]
            and now - max(pulse["heard"].get(instance, 0.0), pulse["silent"].get(instance, 0.0)) > AGE
        }
    )


def hint(kept: t.Mapping[str, t.Any]) -> str:
    """For a verdict: who is lost without the control plane knowing it; empty when nobody is."""
    pulse = kept.get("pulse") or nothing()
    names = sorted(set().union(*(lost(pulse, own) for own in (kept.get("siblings") or {}).values())))
    if not names:
        return ""
    return f"; {', '.join(names[:5])} answered before and not any more, although the control plane says connected: see whether the machine runs"
