# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Every option of the roles and playbooks that a decision depends on: under which key it is known, from which variable it comes, and what holds without one.

What roles and templates use in no other way is not here. Nothing else reads options of hosts.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import parse_seconds

Value = t.Callable[[str], t.Any]


class Option(t.NamedTuple):
    """``variable`` of the role; ``elsewhere`` is what holds for a host that the play does not handle and whose inventory does not say.

    A host in the play has the default of the role. ``elsewhere`` is the same wherever that is no template; a test compares them. With
    ``elsewhere`` NOWHERE nothing is known of the option of such a host.
    """

    variable: str
    elsewhere: t.Any
    shape: t.Callable[[t.Any], t.Any] = lambda value: value


class _Nowhere:
    pass


NOWHERE = _Nowhere()
Table = t.Mapping[str, Option]

# Options with a template for their default that are empty where nobody fills it in.
_TEMPLATES = ("kuma_dp_api_ca", "kuma_dp_api_token")
# The name of a variable of an environment.
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_TRUE = frozenset(("y", "yes", "on", "1", "true", "t"))


def flag(value: t.Any) -> bool:
    """What Ansible's filter bool makes of a value, which may be a text of the command line."""
    return str(value).strip().lower() in _TRUE if isinstance(value, str) else bool(value)


def number(value: t.Any) -> t.Any:
    """A number that came as a text, such as one of the command line. What is none stays as it is, for whoever refuses it."""
    try:
        return int(value) if isinstance(value, str) else value
    except ValueError:
        return value


def duration(value: t.Any) -> float:
    """Seconds of a duration such as ``30d``; a number alone is one of seconds. Raises ValueError."""
    return parse_seconds(str(value))


def seconds(value: t.Any) -> t.Any:
    """A number above zero, fractions included. Raises ValueError for what is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = 0.0
    if not 0 < found < float("inf"):
        raise ValueError(f"found {value!r}, expected a number of seconds above zero")
    return found


def texts(value: t.Any) -> t.List[str]:
    """A list of texts. A single value, such as a port without brackets, is a list of its own, and not one of its digits."""
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def words(value: t.Any) -> t.List[str]:
    """A list of texts, or one text of the command line that is divided by commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else texts(value)


def keys(value: t.Any) -> t.List[str]:
    """The names of settings alone: their values may be secrets. Raises ValueError for those that systemd would read as others, or not at all."""
    found = [str(key) for key in value or {}]
    wrong = sorted(repr(key) for key in found if not _VARIABLE.match(key))
    if wrong:
        raise ValueError(f"{', '.join(wrong)} cannot be set, expected names of letters, digits and _")
    return found


def settings(value: t.Any) -> t.Dict[str, str]:
    """Variables of an environment. Raises ValueError, which quotes no value."""
    keys(value)
    found = {str(key): str(each) for key, each in (value or {}).items()}
    unfit = sorted(key for key, each in found.items() if "\0" in each)
    if unfit:
        raise ValueError(f"{', '.join(unfit)} has a NUL in its value, expected text")
    return found


# What the plan of a join takes into account, of hosts in the play and of the rest of the fleet.
JOIN: Table = {
    "name": Option("kuma_dp_name", NOWHERE, str),
    "mesh": Option("kuma_dp_mesh", "default", str),
    "address": Option("kuma_dp_address", ""),
    "lifecycle": Option("kuma_dp_lifecycle", "indirect"),
    "dataplane_template": Option("kuma_dp_dataplane_template", ""),
    "dataplane_vars": Option("kuma_dp_dataplane_vars", {}),
    "services": Option("kuma_dp_services", []),
    "upstreams": Option("kuma_dp_upstreams", []),
    "gateway": Option("kuma_dp_gateway", {}),
    "proxies": Option("kuma_dp_proxies", []),
    "labels": Option("kuma_dp_labels", {}),
    "workload": Option("kuma_dp_workload", ""),
    "token_bind": Option("kuma_dp_token_bind", ["tags", "workload"]),
    "owner": Option("kuma_dp_owner", ""),
    "environment": Option("kuma_dp_environment", {}, keys),
    "api": Option("kuma_dp_api", "auto"),
    "outbound_range": Option("kuma_dp_outbound_range", "10001-19999", str),
    "outbound_pins": Option("kuma_dp_outbound_pins", {}),
    "reserved_ports": Option("kuma_dp_reserved_ports", []),
}
RELEASE: Table = {
    "version": Option("kuma_dp_version", NOWHERE, str),
    "archive": Option("kuma_dp_archive", NOWHERE, str),
    "archive_checksum": Option("kuma_dp_archive_checksum", {}),
    "archive_cache": Option("kuma_dp_archive_cache", NOWHERE, str),
}
ZONE: Table = {
    "name": Option("kuma_zone_proxy_name", NOWHERE, str),
    "type": Option("kuma_zone_proxy_type", ""),
    "zone": Option("kuma_zone_proxy_zone", ""),
    "mesh": Option("kuma_dp_mesh", "default", str),
    "address": Option("kuma_zone_proxy_address", ""),
    "port": Option("kuma_zone_proxy_port", 0),
    "advertised_address": Option("kuma_zone_proxy_advertised_address", ""),
    "advertised_port": Option("kuma_zone_proxy_advertised_port", 0),
    "admin_port": Option("kuma_zone_proxy_admin_port", 0),
    "readiness_port": Option("kuma_zone_proxy_readiness_port", 0),
    "proxies": Option("kuma_zone_proxy_proxies", []),
}
# How the proxies of a VM run, whichever role lays them down.
VM: Table = {
    "config_dir": Option("kuma_dp_config_dir", "/etc/kuma", str),
    "install_dir": Option("kuma_dp_install_dir", "/opt/kuma", str),
    "user": Option("kuma_dp_user", "kuma-dp", str),
    "group": Option("kuma_dp_group", "kuma-dp", str),
    "drain_time": Option("kuma_dp_drain_time", "30s", str),
    "log_level": Option("kuma_dp_log_level", "info"),
    "concurrency": Option("kuma_dp_concurrency", 0, number),
    "dns_enabled": Option("kuma_dp_dns_enabled", False, flag),
    "settings": Option("kuma_dp_environment", {}, settings),
    "application_units": Option("kuma_dp_application_units", []),
    "control_plane_dp_url": Option("kuma_dp_control_plane_dp_url", NOWHERE),
    "control_plane_ca": Option("kuma_dp_control_plane_ca", "", str),
    "restart": Option("kuma_dp_restart", "report"),
    "wait_timeout": Option("kuma_dp_wait_timeout", 120, number),
}
# What a VM looks at before anything is written.
TRUST: Table = {
    "url": Option("kuma_dp_control_plane_dp_url", NOWHERE, str),
    "ca": Option("kuma_dp_control_plane_ca", "", str),
    "warn_before": Option("kuma_dp_control_plane_ca_warn_before", "60d", duration),
}
API: Table = {
    "url": Option("kuma_dp_control_plane_url", NOWHERE),
    "token": Option("kuma_dp_api_token", ""),
    "ca": Option("kuma_dp_api_ca", "", str),
    "validate_certs": Option("kuma_dp_api_validate_certs", True, flag),
    "client_cert": Option("kuma_dp_api_client_cert", "", str),
    "client_key": Option("kuma_dp_api_client_key", "", str),
    "timeout": Option("kuma_dp_api_timeout", 30, seconds),
}
REGISTRATION: Table = {
    "mesh": Option("kuma_dp_mesh", "default", str),
    "initial_state": Option("kuma_dp_initial_state", "NotReady"),
    "token_valid_for": Option("kuma_dp_token_valid_for", "720h", str),
    "token_renew_before": Option("kuma_dp_token_renew_before", "168h", str),
}
# Who makes tokens, and where is written what was made.
ISSUING: Table = {
    "ledger": Option("kuma_dp_token_ledger", NOWHERE, str),
    "key": Option("kuma_dp_token_signing_key", "", str),
    "key_file": Option("kuma_dp_token_signing_key_file", "", str),
    "kid": Option("kuma_dp_token_signing_kid", "", str),
    "zone_key": Option("kuma_zone_proxy_token_signing_key", "", str),
    "zone_key_file": Option("kuma_zone_proxy_token_signing_key_file", "", str),
    "zone_kid": Option("kuma_zone_proxy_token_signing_kid", "", str),
}
ROLL: Table = {
    "kind": Option("kuma_dp_roll_kind", "restart"),
    "strategy": Option("kuma_dp_roll_strategy", "auto"),
    "limit": Option("kuma_dp_roll_limit", "25%", str),
    "budget": Option("kuma_dp_roll_budget", "25%", str),
    "max_in_flight": Option("kuma_dp_roll_max_in_flight", 10, number),
    "canaries": Option("kuma_dp_roll_canaries", 1, number),
    "soak": Option("kuma_dp_roll_soak", 10),
    "stages": Option("kuma_dp_roll_stages", ["5%", "20%"], texts),
    "max_failures": Option("kuma_dp_roll_max_failures", 0, number),
    "allow_singleton": Option("kuma_dp_roll_allow_singleton", False, flag),
    "force": Option("kuma_dp_roll_force", False, flag),
    "pause_timeout": Option("kuma_dp_roll_pause_timeout", 300),
    "gate_timeout": Option("kuma_dp_roll_gate_timeout", 120),
    "min_healthy": Option("kuma_dp_roll_min_healthy", 0),
    "before": Option("kuma_dp_roll_before", ""),
    "after": Option("kuma_dp_roll_after", ""),
    "resume": Option("kuma_dp_roll_resume", "auto"),
    "directory": Option("kuma_dp_roll_dir", NOWHERE, str),
}
LEAVE: Table = {
    "purge": Option("kuma_dp_leave_purge", False, flag),
    "unreachable": Option("kuma_dp_leave_unreachable", False, flag),
    "revoke": Option("kuma_dp_leave_revoke", True, flag),
}
ZONE_LEAVE: Table = {"last": Option("kuma_zone_proxy_leave_last", False, flag)}
TRANSPARENT: Table = {
    "redirect_inbound": Option("kuma_transparent_proxy_redirect_inbound", True, flag),
    "redirect_inbound_port": Option("kuma_transparent_proxy_redirect_inbound_port", 15006),
    "redirect_outbound_port": Option("kuma_transparent_proxy_redirect_outbound_port", 15001),
    "redirect_dns": Option("kuma_transparent_proxy_redirect_dns", False, flag),
    "redirect_all_dns_traffic": Option("kuma_transparent_proxy_redirect_all_dns_traffic", False, flag),
    "redirect_dns_port": Option("kuma_transparent_proxy_redirect_dns_port", 15053),
    "ip_family_mode": Option("kuma_transparent_proxy_ip_family_mode", "dualstack"),
    "exclude_inbound_ports": Option("kuma_transparent_proxy_exclude_inbound_ports", [], texts),
    "exclude_outbound_ports": Option("kuma_transparent_proxy_exclude_outbound_ports", [], texts),
    "exclude_outbound_ports_for_uids": Option("kuma_transparent_proxy_exclude_outbound_ports_for_uids", [], texts),
    "exclude_inbound_ips": Option("kuma_transparent_proxy_exclude_inbound_ips", []),
    "exclude_outbound_ips": Option("kuma_transparent_proxy_exclude_outbound_ips", []),
    "vnet": Option("kuma_transparent_proxy_vnet", []),
    "drop_invalid_packets": Option("kuma_transparent_proxy_drop_invalid_packets", False, flag),
    "skip_dns_conntrack_zone_split": Option("kuma_transparent_proxy_skip_dns_conntrack_zone_split", False, flag),
    "ssh_ports": Option("kuma_transparent_proxy_ssh_ports", [], texts),
    "dns_enabled": Option("kuma_dp_dns_enabled", False, flag),
    "version": Option("kuma_dp_version", NOWHERE, str),
}
TRANSPARENT_ENABLED: Table = {"enabled": Option("kuma_transparent_proxy_enabled", False, flag)}
TRANSPARENT_APPLY: Table = {
    "exclude_controller": Option("kuma_transparent_proxy_exclude_controller", True, flag),
    "ready_timeout": Option("kuma_transparent_proxy_ready_timeout", 60, number),
    "rollback_timeout": Option("kuma_transparent_proxy_rollback_timeout", 60, number),
}
# What playbooks read besides the options of the roles, of the first host of the play. No role has a default for these.
MAINTENANCE: Table = {
    "state": Option("kuma_maintenance", ""),
    "reason": Option("kuma_maintenance_reason", ""),
    "duration": Option("kuma_maintenance_duration", ""),
    "force": Option("kuma_maintenance_force", False, flag),
}
MIGRATION: Table = {
    "fail_on": Option("kuma_migration_fail_on", "none"),
    "report_path": Option("kuma_migration_report_path", ""),
}
# What is renewed: without it what is due by kuma_dp_token_renew_before. ``least`` is for how long all tokens have to be valid in the end.
ROTATE: Table = {
    "before": Option("kuma_rotate_before", "", str),
    "revoke": Option("kuma_rotate_revoke", True, flag),
    "least": Option("kuma_rotate_least", "", str),
}
REVOKE: Table = {
    "what": Option("kuma_revoke", "", str),
    "ids": Option("kuma_revoke_ids", [], words),
    "names": Option("kuma_revoke_names", [], words),
}
SIGNING_KEY: Table = {
    "step": Option("kuma_signing_key_step", "all", str),
    "file": Option("kuma_signing_key_file", "", str),
    "force": Option("kuma_signing_key_force", False, flag),
}
# Of the rollover of a CA.
ROTATION: Table = {
    "new": Option("kuma_rotate_ca_new", "", str),
    "wait": Option("kuma_rotate_ca_wait", "0s", duration),
    "again": Option("kuma_rotate_ca_again", False, flag),
}


# The tables of what joins, leaves and rolls.
OF_ROLES = (
    JOIN,
    RELEASE,
    ZONE,
    VM,
    TRUST,
    API,
    REGISTRATION,
    ISSUING,
    ROLL,
    LEAVE,
    ZONE_LEAVE,
    TRANSPARENT,
    TRANSPARENT_ENABLED,
    TRANSPARENT_APPLY,
)


def constants() -> t.Dict[str, t.Any]:
    """``{variable: default}`` of all options whose default is no template."""
    rows = [option for table in OF_ROLES for option in table.values()]
    # An option with a template for its default is empty elsewhere.
    return {option.variable: option.elsewhere for option in rows if option.elsewhere is not NOWHERE and option.variable not in _TEMPLATES}


def read(table: Table, value: Value) -> t.Dict[str, t.Any]:
    """``{key: value}`` of a host in the play; ``value(variable)`` knows the defaults of the roles.

    Raises ValueError, naming the variable, for what has no meaning.
    """
    return {key: _shaped(option, value(option.variable)) for key, option in table.items()}


def _shaped(option: Option, given: t.Any) -> t.Any:
    try:
        return option.shape(given)
    except ValueError as error:
        raise ValueError(f"{option.variable}: {error}") from None


def read_elsewhere(table: Table, known: t.Callable[[str, t.Any], t.Any]) -> t.Dict[str, t.Any]:
    """The same of a host that the play does not handle; ``known(variable, default)`` knows what the inventory says.

    Keys of which nothing is known are left out.
    """
    found = {}
    for key, option in table.items():
        given = known(option.variable, option.elsewhere)
        if given is not NOWHERE:
            found[key] = _shaped(option, given)
    return found
