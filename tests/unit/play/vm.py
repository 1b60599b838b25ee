# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A planned proxy, what a VM shows of it, and what is laid down for it: for tests of what a join does on a VM."""

from __future__ import annotations

import pathlib

import yaml

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import environment, files, layout, options

ROOT = pathlib.Path(__file__).parents[3]
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
TIME = 1_900_000_000.0
PLACE = layout.Layout("/etc/kuma", "/opt/kuma", "2.14.3", "kuma-dp", "kuma-dp")


def proxy(name="web-1", **changes):
    """From the plan."""
    dataplane = {
        "type": "Dataplane",
        "mesh": "default",
        "name": name,
        "networking": {"inbound": [{"port": 8080}], "address": "10.0.0.11"},
    }
    return {
        "name": name,
        "mesh": "default",
        "address": "10.0.0.11",
        "dataplane": dataplane,
        "file": dataplane,
        "claims": {"services": ["web"], "workload": "web"},
        "outbounds": [{"service": "backend", "address": "127.0.0.1", "port": 19524}],
        "ports": {"admin": 9901, "readiness": 9902, "coredns": 15053, "envoy_dns": 15054, "dns_prometheus": 19153},
        "lifecycle": "indirect",
        "template": "",
        "arguments": "",
        "hold": "",
        "gates": [],
        "registered": True,
        "differs": False,
        "connected": True,
        "fenced": False,
        **changes,
    }


def zone_proxy(kind="ingress", **changes):
    resource = {"type": "ZoneIngress", "name": "gate", "networking": {"address": "10.0.0.21", "port": 10001}}
    return proxy("gate", zone_proxy=kind, proxy_type=kind, dataplane=resource, file=resource, lifecycle="direct", mesh="", **changes)


def seen(**changes):
    """What proxy_info says about a proxy that runs and is as it should be."""
    return {
        "unit": {"active": True, "state": "active", "enabled": True, "started": TIME - 3600},
        "serves": True,
        "connected": True,
        "refusal": None,
        "token": {"present": True},
        "restart_codes": [],
        "version": "2.14.3",
        "lifecycle": "indirect",
        "cover": {"possible": True, "reasons": []},
        "cover_active": False,
        "environment": {},
        **changes,
    }


def host(*names, **changes):
    """What proxy_info says about a VM with these proxies."""
    return {
        "time": TIME,
        "needrestart": False,
        "python_executable": "/usr/bin/python3",
        "user_exists": True,
        "group_exists": True,
        "user_comment": layout.COMMENT,
        "transparent_proxy": False,
        "control_plane": False,
        "proxies": {name: seen() for name in names},
        **changes,
    }


def vm_options(**changes):
    """``options.VM`` with its defaults."""
    found = {key: option.elsewhere for key, option in options.VM.items()}
    return {**found, "control_plane_dp_url": "https://cp.example.com:5678", "control_plane_ca": CA, **changes}


def wish(*planned, **changes):
    """What a VM is to have; ``options`` are changes of ``options.VM``."""
    planned = planned or (proxy(),)
    values = {
        "layout": PLACE,
        "planned": planned,
        "options": vm_options(**changes.pop("options", {})),
        "checksum": "ab" * 32,
        "tokens": {},
        "unissued": [],
        "observed": host(*(each["name"] for each in planned)),
        "ports": [8080],
        **changes,
    }
    return files.Wish(**values)


class Laid:
    """What is laid down, with real templates; ``renderer`` is the fixture."""

    def __init__(self, renderer):
        self.renderer = renderer

    def options(self, wanted):
        """The options of proxy_files."""
        return files.options(
            wanted, self.render, lambda path: (ROOT / path).read_text(), lambda value: yaml.safe_dump(value, sort_keys=True)
        )

    def contents(self, wanted):
        found = self.options(wanted)
        return {item["path"]: item["content"] for group in ("files", "secrets") for item in found[group] if "content" in item}

    def render(self, template, variables):
        return self.renderer(template, {**variables, "ansible_search_path": [str(ROOT / "roles/kuma_proxy")]})


def told(each, **changes):
    """The environment file of a proxy."""
    return environment.of_proxy(each, vm_options(**changes), PLACE)
