# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The variables of role kuma_cp: everything that is wrong with them, before anything is written."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks, naming

Variables = t.Mapping[str, t.Any]

STORES = ("memory", "postgres")
TLS_MODES = ("disable", "verifyNone", "verifyCa", "verifyFull")
LOG_LEVELS = ("off", "info", "debug")
# What plain HTTP may listen on: the role itself asks over loopback.
_LOOPBACK = ("127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104
PORTS = ("http_port", "https_port", "dp_port")
# Ports of kuma-cp that are no option of the role, by their place in its configuration.
OTHER_PORTS = {"diagnostics.serverPort": 5680, "monitoringAssignmentServer.port": 5676, "interCp.server.port": 5683}
# What the role itself writes to the configuration or the environment of kuma-cp.
_RESERVED_ENVIRONMENT = {
    "KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN": "kuma_cp_localhost_is_admin",
    "KUMA_API_SERVER_HTTP_INTERFACE": "kuma_cp_http_address",
    "KUMA_API_SERVER_HTTP_PORT": "kuma_cp_http_port",
    "KUMA_API_SERVER_HTTPS_INTERFACE": "kuma_cp_https_address",
    "KUMA_API_SERVER_HTTPS_PORT": "kuma_cp_https_port",
    "KUMA_DEFAULTS_SKIP_MESH_CREATION": "kuma_cp_create_default_mesh",
    "KUMA_DP_SERVER_HDS_ENABLED": "kuma_cp_hds_enabled",
    "KUMA_DP_SERVER_PORT": "kuma_cp_dp_port",
    "KUMA_GENERAL_TLS_CERT_FILE": "kuma_cp_tls_cert",
    "KUMA_GENERAL_TLS_KEY_FILE": "kuma_cp_tls_key",
    "KUMA_MULTIZONE_ZONE_NAME": "kuma_cp_zone",
    "KUMA_REPORTS_ENABLED": "kuma_cp_reports_enabled",
    "KUMA_STORE_POSTGRES_PASSWORD": "kuma_cp_postgres_password",
    "KUMA_STORE_TYPE": "kuma_cp_store",
}
# What the role has where the inventory says nothing.
_DEFAULTS: Variables = {
    "names": [],
    "zone": "default",
    "http_address": "127.0.0.1",
    "http_port": 5681,
    "https_address": "",
    "https_port": 5682,
    "dp_port": 5678,
    "install_dir": "/opt/kuma",
    "config_dir": "/etc/kuma-cp",
    "user": "kuma-cp",
    "group": "kuma-cp",
    "store": "memory",
    "postgres_host": "127.0.0.1",
    "postgres_port": 5432,
    "postgres_db": "kuma",
    "postgres_user": "kuma",
    "postgres_password_given": False,
    "postgres_password_printable": True,
    "postgres_tls_mode": "disable",
    "postgres_ca_given": False,
    "tls_cert_given": False,
    "tls_key_given": False,
    "tls_ca_given": False,
    "tls_valid_days": 825,
    "tls_renew_before_days": 60,
    "log_level": "info",
    "config": {},
    "environment": {},
    "wait_timeout": 120,
}
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


def completed(variables: Variables) -> t.Dict[str, t.Any]:
    """``variables``, and the default of the role for each that is missing."""
    complete = {**_DEFAULTS, **variables}
    complete.setdefault("localhost_is_admin", complete["store"] == "memory")
    return complete


def problems(host: str, variables: Variables) -> t.List[str]:
    """Sentences, each with the host, the variable, what was found and what was expected.

    ``variables`` are complete and lack the prefix kuma_cp_.
    """
    found = [
        *_names(variables),
        *_ports(variables),
        *_addresses(variables),
        *_paths(variables),
        *_store(variables),
        *_tls(variables),
        *_numbers(variables),
        *_extras(variables),
    ]
    return ["%s: kuma_cp_%s" % (host, problem) for problem in found]


def warnings(host: str, variables: Variables) -> t.List[str]:
    """What works and is not wise."""
    found = []
    if variables["store"] == "memory":
        found.append(
            "kuma_cp_store is memory: whenever kuma-cp restarts it forgets signing keys, tokens, policies and Dataplanes, so join the fleet "
            "again after that, or use postgres"
        )
    elif variables["postgres_tls_mode"] in TLS_MODES[:2] and not _is_local(str(variables["postgres_host"])):
        found.append(
            "kuma_cp_postgres_tls_mode is %s: secrets of the mesh can be read or changed on the way to %s, use verifyFull"
            % (variables["postgres_tls_mode"], variables["postgres_host"])
        )
    if str(variables["http_address"]) in _LOOPBACK[2:]:
        found.append(
            "kuma_cp_http_address is %s: tokens go over the network in plain text, use 127.0.0.1 and HTTPS" % variables["http_address"]
        )
    return ["%s: %s" % (host, warning) for warning in found]


def is_name(text: str) -> bool:
    """Whether this is an IP address or the name of a host, which may begin with ``*.``."""
    if checks.is_ip(text):
        return True
    return bool(re.match(r"(\*\.)?(%s\.)*%s\Z" % (_LABEL, _LABEL), text)) and len(text) <= 253 and not re.match(r"[0-9.]+\Z", text)


def _names(variables: Variables) -> t.Iterator[str]:
    names = variables["names"]
    if not isinstance(names, list) or not names:
        yield "names is %r, expected a list with at least one name or address by which proxies reach the control plane" % (names,)
        names = []
    for name in names:
        if not is_name(str(name)) or not isinstance(name, str):
            yield "names has %r, expected names of hosts in lower case and IP addresses, without scheme and port" % (name,)
    if names and str(names[0]).startswith("*."):
        yield "names begins with %r, expected a name without * first: it is in the URLs that proxies use" % names[0]
    if len({str(name) for name in names}) != len(names):
        yield "names is %r, expected each name once" % (names,)
    zone = variables["zone"]
    if not re.match(r"%s\Z" % _LABEL, str(zone)):
        yield "zone is %r, expected up to 63 of a-z, 0-9 and -, such as default" % zone


def _ports(variables: Variables) -> t.Iterator[str]:
    used: t.Dict[int, str] = {port: place for place, port in OTHER_PORTS.items()}
    for place in OTHER_PORTS:
        moved = _dig(variables["config"], place)
        if isinstance(moved, int):
            used = {port: name for port, name in used.items() if name != place}
            used[moved] = "%s in kuma_cp_config" % place
    for option in PORTS:
        port = checks.port_of(variables[option])
        if port is None:
            yield "%s is %r, expected a port from 1 to 65535" % (option, variables[option])
        elif port < 1024:
            yield "%s is %d, expected one from 1024 on: kuma-cp runs as its own user without privileges" % (option, port)
        elif port in used:
            yield "%s is %d, which is already the port of %s, expected another one" % (option, port, used[port])
        else:
            used[port] = "kuma_cp_" + option


def _addresses(variables: Variables) -> t.Iterator[str]:
    if str(variables["http_address"]) not in _LOOPBACK:
        yield (
            "http_address is %r, expected 127.0.0.1, ::1, 0.0.0.0 or ::, because the role asks over loopback; HTTPS may listen elsewhere"
            % variables["http_address"]
        )
    if variables["https_address"] != "" and not checks.is_ip(str(variables["https_address"])):
        yield (
            "https_address is %r, expected an IP address of the VM, 0.0.0.0, or nothing for the one that kuma_cp_names mean"
            % (variables["https_address"])
        )


def _paths(variables: Variables) -> t.Iterator[str]:
    for option in ("install_dir", "config_dir"):
        path = str(variables[option])
        wrong = naming.fault(path, naming.PATH)
        if wrong:
            yield "%s %s" % (option, wrong)
        elif path.strip("/").count("/") < 1:
            yield "%s is %r, expected a path below a directory: the role sets owner and mode of it" % (option, path)
    for option in ("user", "group"):
        wrong = naming.fault(str(variables[option]), naming.ACCOUNT)
        if wrong:
            yield "%s %s" % (option, wrong)
        elif str(variables[option]) in ("root", "0"):
            yield "%s is %r, expected the name of an unprivileged %s, such as kuma-cp" % (option, variables[option], option)


def _store(variables: Variables) -> t.Iterator[str]:
    if variables["store"] not in STORES:
        yield "store is %r, expected memory or postgres" % variables["store"]
    if variables["store"] == "memory" and not variables["localhost_is_admin"]:
        yield (
            "localhost_is_admin is false with kuma_cp_store memory, expected true: the administrator's token changes at every start, and "
            "nobody could fetch it; or use postgres"
        )
    if variables["store"] != "postgres":
        return
    for option in ("postgres_host", "postgres_db", "postgres_user"):
        if not str(variables[option]) or re.search(r"\s", str(variables[option])):
            yield "%s is %r, expected a value without spaces" % (option, variables[option])
    if not checks.is_port(variables["postgres_port"]):
        yield "postgres_port is %r, expected a port from 1 to 65535" % variables["postgres_port"]
    if variables["postgres_tls_mode"] not in TLS_MODES:
        yield "postgres_tls_mode is %r, expected %s" % (variables["postgres_tls_mode"], " or ".join(TLS_MODES))
    if variables["postgres_tls_mode"] in TLS_MODES[2:] and not variables["postgres_ca_given"]:
        yield "postgres_ca is missing, expected the CA of Postgres for kuma_cp_postgres_tls_mode %s" % variables["postgres_tls_mode"]
    if not variables["postgres_password_given"]:
        yield "postgres_password is missing, expected the password of %r, from a vault or the environment" % variables["postgres_user"]
    elif not variables["postgres_password_printable"]:
        yield "postgres_password has a line break or a control character, expected one line"


def _tls(variables: Variables) -> t.Iterator[str]:
    given = {option: bool(variables[option + "_given"]) for option in ("tls_cert", "tls_key", "tls_ca")}
    if any(given.values()) and not all(given.values()):
        missing = " and ".join("kuma_cp_" + option for option, there in given.items() if not there)
        yield "tls_cert, kuma_cp_tls_key and kuma_cp_tls_ca belong together, missing: %s" % missing
    for option in ("tls_cert", "tls_key", "tls_ca", "postgres_ca"):
        if variables.get(option + "_missing"):
            yield "%s is %r, expected PEM text, or a file on the controller that exists" % (option, variables[option + "_missing"])


def _numbers(variables: Variables) -> t.Iterator[str]:
    days, renew = _integer(variables["tls_valid_days"]), _integer(variables["tls_renew_before_days"])
    if days is None or not 2 <= days <= 3650:
        yield "tls_valid_days is %r, expected 2 to 3650" % variables["tls_valid_days"]
    if renew is None or renew < 1 or (days is not None and renew >= days):
        yield "tls_renew_before_days is %r, expected at least 1 and less than kuma_cp_tls_valid_days" % variables["tls_renew_before_days"]
    if variables["log_level"] not in LOG_LEVELS:
        yield "log_level is %r, expected %s" % (variables["log_level"], ", ".join(LOG_LEVELS))
    timeout = _integer(variables["wait_timeout"])
    if timeout is None or timeout < 1:
        yield "wait_timeout is %r, expected seconds, at least 1" % variables["wait_timeout"]


def _extras(variables: Variables) -> t.Iterator[str]:
    for place in ("mode", "environment", "multizone.global", "multizone.zone.globalAddress", "store.postgres.password"):
        if _dig(variables["config"], place) is not None:
            what = "kuma_cp_postgres_password" if "password" in place else "nothing: this role runs one zone by itself"
            yield "config has %s, expected %s" % (place, what)
    for name, value in sorted(variables["environment"].items()):
        if not re.match(r"[A-Z_][A-Z0-9_]*\Z", str(name)):
            yield "environment has %r, expected names of A-Z, 0-9 and _" % name
        elif name in _RESERVED_ENVIRONMENT:
            yield "environment has %s, expected %s, which the role checks" % (name, _RESERVED_ENVIRONMENT[name])
        elif re.search(r"[\x00-\x1f]", str(value)):
            yield "environment has a line break or a control character in %s, expected one line" % name


def _dig(config: t.Any, place: str) -> t.Any:
    for key in place.split("."):
        config = config.get(key) if isinstance(config, t.Mapping) else None
    return config


def _integer(value: t.Any) -> t.Optional[int]:
    if isinstance(value, bool) or not re.match(r"-?[0-9]{1,9}\Z", str(value)):
        return None
    return int(value)


def _is_local(host: str) -> bool:
    return host == "localhost" or (checks.is_ip(host) and ipaddress.ip_address(host).is_loopback)
