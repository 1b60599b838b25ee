# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of `kuma-dp run`: flags, and the environment that wins over them."""

from __future__ import annotations

import argparse
import re

from .common import RELEASE, Fatal

# Settings: (flag, environment variable, type, default, first release, last release). A missing flag or variable is None.
LAST = (99,)
SETTINGS = [
    ("cp-address", "KUMA_CONTROL_PLANE_URL", str, "https://localhost:5678", (0,), LAST),
    ("ca-cert-file", "KUMA_CONTROL_PLANE_CA_CERT_FILE", str, "", (0,), LAST),
    (None, "KUMA_CONTROL_PLANE_CA_CERT", str, "", (0,), LAST),
    ("skip-verify", "KUMA_CONTROL_PLANE_TLS_SKIP_VERIFY", bool, False, (2, 12, 11), LAST),
    (None, "KUMA_CONTROL_PLANE_RETRY_BACKOFF", "duration", 3.0, (0,), LAST),
    (None, "KUMA_CONTROL_PLANE_RETRY_MAX_DURATION", "duration", 300.0, (0,), LAST),
    ("name", "KUMA_DATAPLANE_NAME", str, "", (0,), LAST),
    ("mesh", "KUMA_DATAPLANE_MESH", str, "", (0,), LAST),
    ("proxy-type", "KUMA_DATAPLANE_PROXY_TYPE", str, "dataplane", (0,), LAST),
    ("drain-time", "KUMA_DATAPLANE_DRAIN_TIME", "duration", 30.0, (0,), LAST),
    ("dataplane-file", "KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH", str, "", (0,), LAST),
    ("dataplane", "KUMA_DATAPLANE_RUNTIME_RESOURCE", str, "", (0,), LAST),
    ("dataplane-token-file", "KUMA_DATAPLANE_RUNTIME_TOKEN_PATH", str, "", (0,), LAST),
    ("dataplane-token", "KUMA_DATAPLANE_RUNTIME_TOKEN", str, "", (0,), LAST),
    ("binary-path", "KUMA_DATAPLANE_RUNTIME_BINARY_PATH", str, "envoy", (0,), LAST),
    ("concurrency", "KUMA_DATAPLANE_RUNTIME_CONCURRENCY", int, 0, (0,), LAST),
    ("config-dir", "KUMA_DATAPLANE_RUNTIME_CONFIG_DIR", str, "", (0,), (2, 99)),
    ("work-dir", "KUMA_DATAPLANE_RUNTIME_WORK_DIR", str, "", (2, 12), LAST),
    (None, "KUMA_DATAPLANE_RUNTIME_SOCKET_DIR", str, "", (0,), (2, 99)),
    ("envoy-log-level", "KUMA_DATAPLANE_RUNTIME_ENVOY_LOG_LEVEL", str, "", (0,), LAST),
    ("envoy-component-log-level", "KUMA_DATAPLANE_RUNTIME_ENVOY_COMPONENT_LOG_LEVEL", str, "", (0,), LAST),
    ("metrics-cert-path", "KUMA_DATAPLANE_RUNTIME_METRICS_CERT_PATH", str, "", (0,), LAST),
    ("metrics-key-path", "KUMA_DATAPLANE_RUNTIME_METRICS_KEY_PATH", str, "", (0,), LAST),
    (None, "KUMA_READINESS_PORT", int, 9902, (0,), LAST),
    (None, "KUMA_READINESS_UNIX_SOCKET_DISABLED", bool, False, (2, 12), (2, 13, 99)),
    ("dns-enabled", "KUMA_DNS_ENABLED", bool, True, (0,), LAST),
    ("dns-coredns-port", "KUMA_DNS_CORE_DNS_PORT", int, 15053, (0,), (2, 99)),
    ("dns-envoy-port", "KUMA_DNS_ENVOY_DNS_PORT", int, 15054, (0,), (2, 99)),
    ("dns-coredns-path", "KUMA_DNS_CORE_DNS_BINARY_PATH", str, "coredns", (0,), (2, 99)),
    ("dns-coredns-config-template-path", "KUMA_DNS_CORE_DNS_CONFIG_TEMPLATE_PATH", str, "", (0,), (2, 99)),
    ("dns-server-config-dir", "KUMA_DNS_CONFIG_DIR", str, "", (0,), (2, 99)),
    ("dns-prometheus-port", "KUMA_DNS_PROMETHEUS_PORT", int, 19153, (0,), (2, 99)),
    ("dns-enable-logging", "KUMA_DNS_ENABLE_LOGGING", bool, False, (0,), (2, 99)),
    ("dns-proxy-port" if RELEASE >= (3,) else None, "KUMA_DNS_PROXY_PORT", int, 15053 if RELEASE >= (3,) else 0, (2, 11), LAST),
    ("bind-outbounds", "KUMA_DATAPLANE_RUNTIME_BIND_OUTBOUNDS", bool, False, (2, 11), LAST),
    (None, "KUMA_DATAPLANE_RUNTIME_REUSE_PORT_ENABLED", bool, True, (2, 13, 7), LAST),
    ("transparent-proxy", None, bool, False, (2, 11), LAST),
    ("transparent-proxy-config", None, "list", [], (2, 11), LAST),
    ("dataplane-var", None, "list", [], (0,), LAST),
]
ROOT_FLAGS = [
    ("log-level", str, "info"),
    ("log-output-path", str, ""),
    ("log-max-size", int, 100),
    ("log-max-age", int, 30),
    ("log-max-retained-files", int, 1000),
]


def duration(text):
    """Seconds of a Go duration."""
    if not re.match(r"^(\d+(\.\d+)?(ns|us|ms|s|m|h))+$", text):
        raise ValueError('time: invalid duration "%s"' % text)
    units = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(amount) * units[unit] for amount, _fraction, unit in re.findall(r"(\d+(\.\d+)?)(ns|us|ms|s|m|h)", text))


def boolean(text):
    if text.lower() in ("1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise ValueError('parsing "%s": invalid syntax' % text)


READERS = {str: str, int: int, bool: boolean, "duration": duration}


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Fatal(message.replace("unrecognized arguments:", "unknown flag:"))


def key_of(flag, variable):
    return (flag or variable.lower().replace("kuma_", "")).replace("-", "_")


def read_settings(arguments, environment):
    """All settings of `run`; the environment wins over flags. Raises Fatal."""
    parser = Parser(prog="kuma-dp run", add_help=True, allow_abbrev=False)
    values, offered = {}, []
    for flag, variable, kind, default, first, last in SETTINGS:
        values[key_of(flag, variable)] = default
        if not first <= RELEASE <= last:
            continue
        offered.append((flag, variable, kind))
        if not flag:
            continue
        names = ["--" + flag, *{"dataplane-file": ["-d"], "dataplane-var": ["-v"]}.get(flag, [])]
        options = {"dest": key_of(flag, variable), "default": None}
        if kind == "list":
            options["action"] = "append"
        elif kind is bool:
            options.update(nargs="?", const="true")
        parser.add_argument(*names, **options)
    for flag, _kind, default in ROOT_FLAGS:
        parser.add_argument("--" + flag, dest=flag.replace("-", "_"), default=str(default))
    given = vars(parser.parse_args(arguments))
    for flag, variable, kind in offered:
        key = key_of(flag, variable)
        text, source = given.get(key), "--%s" % flag
        if variable and environment.get(variable):
            text, source = environment[variable], variable
        if text is None:
            continue
        if kind == "list":
            values[key] = text
            continue
        try:
            values[key] = READERS[kind](text)
        except ValueError as error:
            raise Fatal('invalid argument "%s" for "%s": %s' % (text, source, error)) from None
    values["log_level"] = given["log_level"]
    return values
