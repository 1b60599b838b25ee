# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Who registers a Dataplane: the play (Indirect), or kuma-dp, which brings a file (Direct). Pure functions.

The file of a Direct proxy is written by the play, or is a template of the user's that kuma-dp fills in. Either way it says what the
inventory says, so that names, ports and outbounds are checked and kept as those of an Indirect proxy are.
"""

from __future__ import annotations

import json
import re
import typing as t

try:
    import yaml
except ImportError:  # only what runs on the controller reads templates
    yaml = None  # type: ignore[assignment, unused-ignore]

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import fence, resource, schema
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import mustache, proxy_ports
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.reader import Reader

DIRECT, INDIRECT = "direct", "indirect"
LIFECYCLES = (INDIRECT, DIRECT)
KEYS = frozenset({"lifecycle", "dataplane_template", "dataplane_vars"})
# Variables of kuma-dp that contradict a Dataplane file (trap 25).
CONTRADICTIONS = (
    "KUMA_DATAPLANE_MESH",
    "KUMA_DATAPLANE_NAME",
    "KUMA_DATAPLANE_RUNTIME_RESOURCE",
    "KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH",
)
# One argument holds all variables, separated by commas, and systemd splits at blanks.
_UNFIT = re.compile(r"[\s,\"'\\$\x00-\x1f\x7f]")
# A roll lifts its own fences by itself.
_ROLL = "rollout-"

Json = t.Dict[str, t.Any]


def read(reader: Reader, own: t.Mapping[str, t.Any], host: t.Mapping[str, t.Any], prefix: str) -> Json:
    """``{lifecycle, template, vars, search_dirs}`` of one proxy; ``own`` are its variables, ``host`` those of its VM."""
    lifecycle = own.get("lifecycle") or host.get("lifecycle") or INDIRECT
    if lifecycle not in LIFECYCLES:
        reader.fault(prefix + "lifecycle", lifecycle, "indirect or direct")
        lifecycle = INDIRECT
    template = own.get("dataplane_template") or host.get("dataplane_template") or ""
    if not isinstance(template, str):
        reader.fault(prefix + "dataplane_template", template, "the path of a file on the controller")
        template = ""
    given = reader.merged(prefix + "dataplane_vars", host.get("dataplane_vars"), own.get("dataplane_vars"))
    values = {str(key): _value(reader, str(key), value, prefix) for key, value in given.items()}
    if lifecycle == INDIRECT and (own.get("dataplane_template") or own.get("dataplane_vars")):
        used = "dataplane_template" if own.get("dataplane_template") else "dataplane_vars"
        reader.fault(prefix + used, own[used], "none, or %slifecycle: direct, for only kuma-dp fills templates in" % prefix)
    elif lifecycle == DIRECT and values and not template:
        reader.fault(prefix + "dataplane_vars", given, "none, or a %sdataplane_template that they are for" % prefix)
    if lifecycle == DIRECT:
        for name in sorted(set(CONTRADICTIONS).intersection(host.get("environment") or [])):
            reader.fault("kuma_dp_environment.%s" % name, "set", "nothing: kuma-dp takes it from the Dataplane file, and refuses both")
    return {
        "lifecycle": lifecycle,
        "template": template if lifecycle == DIRECT else "",
        "vars": values,
        "search_dirs": host.get("search_dirs") or [],
    }


def _value(reader: Reader, key: str, value: t.Any, prefix: str) -> str:
    field = "%sdataplane_vars.%s" % (prefix, key)
    if not mustache.NAME.match(key):
        reader.fault(field, value, "a name of letters, digits, _ and -")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or str(value) == "":
        reader.fault(field, value, "a text or a number; put texts such as yes in quotes")
        return ""
    if _UNFIT.search(str(value)):
        reader.fault(field, value, "no blanks, commas, quotes, backslashes or dollars, which do not survive the command line of kuma-dp")
    return str(value)


def laid_ports(services: t.Iterable[str], observed: t.Mapping[str, t.Any]) -> t.Dict[str, int]:
    """``{service: local port}`` as applications on the VM were told, of the ``services`` that one proxy calls.

    The control plane does not know the ports of a Direct proxy that does not run.
    """
    told = observed.get("outbounds") or {}
    keys: t.Dict[str, t.List[str]] = {}
    for service in services:
        keys.setdefault("KUMA_OUTBOUND_%s_PORT" % re.sub(r"[^A-Z0-9]", "_", service.upper()), []).append(service)
    return {names[0]: int(told[key]) for key, names in keys.items() if len(names) == 1 and str(told.get(key) or "").isdigit()}


class Planned(t.NamedTuple):
    """``dataplane`` as it will be registered, ``template`` the text of the template if there is one, ``arguments`` for kuma-dp."""

    dataplane: Json
    template: str = ""
    arguments: str = ""


def values(proxy: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    """The variables of a template that the play knows: ``name``, ``mesh``, ``address``, ``workload``, ``admin_port``, ``outbound_<service>``."""
    found = {
        "name": str(proxy["name"]),
        "mesh": str(proxy["mesh"]),
        "address": str(proxy["address"]),
        "admin_port": str(proxy["ports"].get("admin") or proxy_ports.DEFAULT_PORTS["admin"]),
    }
    if proxy.get("workload"):
        found["workload"] = str(proxy["workload"])
    for outbound in proxy["outbounds"]:
        found["outbound_" + re.sub(r"[^A-Za-z0-9]", "_", outbound["service"])] = str(outbound["port"])
    return found


def plan(
    proxy: t.Mapping[str, t.Any],
    desired: Json,
    text: t.Optional[str],
    release: Numbers,
    labels: bool,
) -> t.Tuple[Planned, t.List[str]]:
    """The file of a Direct proxy, and what is wrong with it.

    ``proxy`` is from the plan of the fleet, ``desired`` the Dataplane that the inventory asks for, ``text`` its template (None without one or
    when it could not be read). ``labels`` is false where labels do not survive.
    """
    where = "%s: %sdataplane_template %s" % (proxy["host"], proxy["field"], proxy["template"])
    if not proxy["template"]:
        problems = []
        if mustache.OPEN in json.dumps(desired):
            problems.append(
                "%s: the Dataplane of %s has {{ in it, expected none: kuma-dp fills its file in as a template"
                % (proxy["host"], proxy["name"])
            )
        return Planned(desired), problems
    if text is None:
        searched = " in " + ", ".join(proxy["search_dirs"]) if proxy["search_dirs"] else ""
        return Planned(desired), ["%s was not found on the controller, expected a file%s" % (where, searched)]
    known = values(proxy)
    problems = ["%s: %sdataplane_vars.%s is set, expected another name: the play gives it a value itself" % (proxy["host"], proxy["field"], name)
                for name in sorted(set(known) & set(proxy["vars"]))]  # fmt: skip
    known = {**proxy["vars"], **known}
    template = mustache.parse(text)
    faults = mustache.problems(template, known)
    if faults:
        return Planned(desired, text), problems + ["%s: %s" % (where, fault) for fault in faults]
    used = sorted({tag.name for tag in template.tags})
    arguments = "--dataplane-var=" + ",".join("%s=%s" % (name, known[name]) for name in used) if used else ""
    try:
        rendered = _parse(mustache.render(template, known))
    except ValueError as error:
        return Planned(desired, text, arguments), [*problems, "%s is no YAML once it is filled in: %s" % (where, error)]
    problems.extend("%s: %s" % (where, fault) for fault in _faults(rendered, desired, release, labels))
    return Planned(rendered if isinstance(rendered, dict) else desired, text, arguments), problems


def _parse(text: str) -> t.Any:
    """Raises ValueError with a message in one line."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _faults(rendered: t.Any, desired: Json, release: Numbers, labels: bool) -> t.List[str]:
    """What a filled-in template lacks of ``desired``, or has that the control plane would drop. It may say more than ``desired``."""
    if not isinstance(rendered, dict) or rendered.get("type") != "Dataplane" or not isinstance(rendered.get("networking"), dict):
        return ["it is no Dataplane once it is filled in, expected type: Dataplane and networking"]
    found = [
        "%s is %s, which a control plane of this version would drop" % (problem["field"], problem["found"])
        for problem in schema.dropped_fields(rendered, release)
    ]
    try:
        held = resource.normalise(rendered, release)
    except (AttributeError, TypeError, ValueError):
        return [*found, "its fields have other types than those of a Dataplane"]
    wanted = resource.normalise(desired, release)
    if not labels:
        wanted.pop("labels", None)
    return found + _missing(wanted, held, "")


def _missing(wanted: t.Any, held: t.Any, path: str) -> t.List[str]:
    if isinstance(wanted, dict) and isinstance(held, dict):
        return [
            fault
            for key, value in sorted(wanted.items())
            for fault in _missing(value, held.get(key), "%s.%s" % (path, key) if path else key)
        ]
    if isinstance(wanted, list) and isinstance(held, list) and len(wanted) == len(held):
        return [fault for index, pair in enumerate(zip(wanted, held)) for fault in _missing(pair[0], pair[1], "%s[%d]" % (path, index))]
    if wanted == held:
        return []
    return ["%s is %s, expected %s as in the inventory" % (path, _shown(held), _shown(wanted))]


def _shown(value: t.Any) -> str:
    if value is None:
        return "not set"
    text = json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def preset(dataplane: Json, initial_state: str) -> Json:
    """The Dataplane as the play writes it into a file: with ``NotReady`` nobody calls a proxy in the moment before it listens.

    Each start of the proxy registers it like that, and the control plane makes it Ready when it has seen it healthy.
    """
    return resource.body_for_create(dataplane, initial_state)


def hold(proxy: t.Mapping[str, t.Any], overview: t.Optional[t.Mapping[str, t.Any]], fenced: bool) -> str:
    """Why a proxy must not be restarted now; empty when it may be."""
    mark = fence.mark_of((overview or {}).get("labels"))
    if proxy["lifecycle"] == DIRECT and fenced and not (mark is not None and mark.reason.startswith(_ROLL)):
        return (
            "%s is fenced and Direct, and its restart would bring it back into traffic: lift the fence first, or stop the proxy"
            % proxy["name"]
        )
    return ""
