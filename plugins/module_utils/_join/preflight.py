# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Is this control plane fit for a join, and does this user have the rights? The fixed reads of a preflight."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.capabilities import DP_TOKENS, ZONE_TOKENS, Capabilities
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import AccessDenied, ApiError, NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import OLDEST, Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import together
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import exposure

DP, ZONE = "dp", "zone"
_XDS = {"host": ("bootstrapServer", "params", "xdsHost")}
# What speaks against tokens that the controller signs itself, by their sort (``DP``, ``ZONE``). Sorts that the control plane issues are missing.
Offline = t.Mapping[str, t.Callable[[Client], t.List[str]]]


class Preflight(t.NamedTuple):
    """What was found: facts about the control plane, what forbids a join, and what only deserves a warning."""

    capabilities: Capabilities
    control_plane: t.Dict[str, t.Any]
    problems: t.List[str]
    warnings: t.List[str]
    mesh: t.Mapping[str, t.Any]
    # The host that proxies are told for their stream; empty: the one by which they came.
    xds_host: str


def look(client: Client, mesh: str, wanted: t.Mapping[str, str], initial_state: str, offline: t.Optional[Offline] = None) -> Preflight:
    """Five reads: the index, the user, the configuration, the mesh, and what everybody may. Raises ApiError when there is no answer.

    ``wanted`` maps the kuma-dp versions that are about to run to a host that wants them. Who signs ``offline`` need not be
    allowed to issue tokens.
    """
    capabilities = client.capabilities()
    who = _who(client)
    config = client.control_plane()
    problems = _issuing(client, who, DP, offline or {})
    warnings = exposure.look(client)
    problems.extend(_unfit(capabilities, config))
    if config.get("hds_enabled") is False and initial_state == "NotReady":
        problems.append(
            "the control plane has its health checks (HDS) switched off, so nothing would ever make a proxy Ready: set "
            "KUMA_DP_SERVER_HDS_ENABLED=true there, or kuma_dp_initial_state: Ready"
        )
    if config.get("store") == "memory":
        warnings.append("The control plane keeps everything in memory: when it restarts, Indirect Dataplanes and signing keys are lost.")
    held, missing = _mesh(client, mesh)
    problems.extend(missing)
    warnings.extend(_skew(capabilities, config, wanted))
    return Preflight(capabilities, config, problems, warnings, held, _xds_host(client))


def versions(hosts: t.Iterable[t.Mapping[str, t.Any]]) -> t.Dict[str, str]:
    """The versions of kuma-dp that are about to run, each with a host that wants it."""
    found: t.Dict[str, str] = {}
    for host in hosts:
        version = (host.get("variables") or {}).get("version")
        if host["in_play"] and version:
            found.setdefault(str(version), host["host"])
    return found


def variable(error: ApiError) -> str:
    """Where the role takes the option from that the error is about: its user knows only the variable."""
    variables = {
        "connection": "The role takes url from kuma_dp_control_plane_url.",
        "timeout": "The role takes url from kuma_dp_control_plane_url, and timeout from kuma_dp_api_timeout.",
        "tls": "The role takes ca_path from kuma_dp_api_ca, or else from kuma_dp_control_plane_ca, client_cert from kuma_dp_api_client_cert, "
        "and client_key from kuma_dp_api_client_key.",
        "authentication": "The role takes token from kuma_dp_api_token.",
        "authorization": "The role takes token from kuma_dp_api_token.",
    }
    return " " + variables[error.kind] if error.kind in variables else ""


def message(problems: t.Sequence[str]) -> str:
    """The failure of a plan that has these problems."""
    lines = "\n".join("  %d. %s" % (number, problem) for number, problem in enumerate(problems, 1))
    return "The join was not begun, nothing was written. %d problem%s found:\n%s" % (
        len(problems),
        " was" if len(problems) == 1 else "s were",
        lines,
    )


def refused(plans: t.Mapping[str, t.Dict[str, t.Any]], *found: t.Mapping[str, t.Sequence[str]]) -> t.Dict[str, t.List[str]]:
    """Note in the plan of each host why it does not go on, and return it of all: ``{host: reasons}``, of none that does."""
    for host, plan in plans.items():
        plan["refused"] = list(dict.fromkeys(reason for reasons in found for reason in reasons.get(host, ())))
    return {host: plan["refused"] for host, plan in plans.items()}


def with_refused(problems: t.Sequence[str], refusals: t.Mapping[str, t.Sequence[str]]) -> t.List[str]:
    """Everything that speaks against a join, with ``{host: reasons}`` of hosts that are stopped alone; empty where others can go on."""
    if problems or (refusals and all(refusals.values())):
        return [*problems, *together(refusals)]
    return []


def _who(client: Client) -> t.Mapping[str, t.Any]:
    found = client.get("/who-am-i").body
    return found if isinstance(found, dict) else {}


def _issuing(client: Client, who: t.Mapping[str, t.Any], sort: str, offline: Offline) -> t.List[str]:
    """Why no tokens of this sort could be had that the control plane accepts."""
    if sort in offline:
        return offline[sort](client)
    what = "dataplane" if sort == DP else sort
    if client.control_plane(DP_TOKENS if sort == DP else ZONE_TOKENS).get("issuer") is False:
        role = "kuma_dp" if sort == DP else "kuma_zone_proxy"
        return [
            "the control plane issues no %s tokens, for its enableIssuer is false: have them signed on the controller, "
            "with %s_token_signing_key_file and %s_token_signing_kid" % (what, role, role)
        ]
    config = client.control_plane()
    allowed_users = set(config.get(sort + "_token_users") or [naming.ADMIN])
    allowed_groups = set(config.get(sort + "_token_groups") or [naming.ADMIN])
    groups = set(who.get("groups") or [])
    if who.get("name") in allowed_users or groups & allowed_groups:
        return []
    found = "kuma_dp_api_token belongs to %s (%s)" % (who.get("name"), ", ".join(sorted(groups)) or "no group")
    return ["%s, which may not issue %s tokens: use a token of %s" % (found, what, ", ".join(sorted(allowed_users | allowed_groups)))]


def look_for_zone(client: Client, mesh: str, wanted: t.Mapping[str, str], offline: t.Optional[Offline] = None) -> Preflight:
    """The same for zone proxies, which up to 2.x have no mesh and no health checks. Raises ApiError when there is no answer."""
    capabilities = client.capabilities()
    who = _who(client)
    config = client.control_plane()
    problems = _issuing(client, who, DP if capabilities.model == "v3" else ZONE, offline or {})
    warnings = exposure.look(client)
    problems.extend(_unfit(capabilities, config))
    held: t.Mapping[str, t.Any] = {}
    if capabilities.model == "v3":
        held, missing = _mesh(client, mesh)
        problems.extend(missing)
    warnings.extend(_skew(capabilities, config, wanted))
    return Preflight(capabilities, config, problems, warnings, held, _xds_host(client))


def _xds_host(client: Client) -> str:
    return str(client.control_plane(_XDS).get("host") or "")


def _unfit(capabilities: Capabilities, config: t.Mapping[str, t.Any]) -> t.List[str]:
    problems = []
    if not capabilities.release.supported:
        problems.append("the control plane runs Kuma %s, expected %d.%d or later" % (capabilities.kuma_version, OLDEST.major, OLDEST.minor))
    if config.get("mode") == "global":
        problems.append("the control plane is a global one, which registers no Dataplanes: use the URL of a zone's")
    return problems


def _mesh(client: Client, mesh: str) -> t.Tuple[t.Mapping[str, t.Any], t.List[str]]:
    try:
        body = client.get(api_path("meshes", mesh)).body
    except NotFound:
        return {}, ["kuma_dp_mesh is %s, which this control plane does not have: create the Mesh or correct the name" % mesh]
    except AccessDenied as error:
        return {}, ["kuma_dp_mesh %s cannot be read: %s" % (mesh, error.detail)]
    return (body if isinstance(body, t.Mapping) else {}), []


def _skew(capabilities: Capabilities, config: t.Mapping[str, t.Any], versions: t.Mapping[str, str]) -> t.List[str]:
    warnings = []
    for version, host in sorted(versions.items()):
        try:
            minor = tuple(int(part) for part in version.split("-")[0].split(".")[:2])
        except ValueError:
            continue
        if minor == (0, 0):
            continue
        if minor > capabilities.release[:2]:
            warnings.append(
                "kuma_dp_version %s (%s) is newer than the control plane (%s): upgrade the control plane first."
                % (version, host, capabilities.kuma_version)
            )
        socket = capabilities.release.admin_on_socket and config.get("envoy_admin_unix_socket") is not False
        if socket and not Release(*(*minor, 0, 0)[:3]).drains_over_socket:
            warnings.append(
                "kuma_dp_version %s (%s) cannot drain under a control plane of 2.14 or later, because Envoy's admin is a unix "
                "socket there: use the control plane's version, or set KUMA_BOOTSTRAP_SERVER_PARAMS_ENVOY_ADMIN_UNIX_SOCKET=false "
                "on it." % (version, host)
            )
    return warnings
