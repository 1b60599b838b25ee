# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Everything that is laid down on the VM of a control plane, as the options of proxy_files. Pure but for what it is handed."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import render_environment
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.control_plane import STATE_DIR, UNIT, ControlPlane
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.layout import root

Json = t.Dict[str, t.Any]
# A template of role kuma_cp by its name, filled in with these variables.
Render = t.Callable[[str, t.Mapping[str, t.Any]], str]

_WRITTEN = "Written by Ansible; kuma-cp reads it when it starts."


def options(wanted: ControlPlane, checksum: str, render: Render, to_yaml: t.Callable[[t.Any], str]) -> Json:
    """The options of proxy_files; ``checksum`` is that of the archive that was unpacked."""
    config_dir, install_dir = wanted.options["config_dir"], wanted.options["install_dir"]
    return {
        "directories": [
            root(config_dir, "0755"),
            _ours(wanted, wanted.tls_dir, "0750"),
            root(install_dir, "0755"),
            root(wanted.version_dir, "0755"),
        ],
        "files": [
            {**_ours(wanted, wanted.config, "0640"), "content": config(wanted, to_yaml)},
            {**root(UNIT, "0644"), "content": render("kuma-cp.service.j2", _of_unit(wanted))},
            {**root(wanted.marker, "0644"), "content": checksum + "\n"},
            *_certificates(wanted),
        ],
        "secrets": list(_secrets(wanted)),
    }


def _ours(wanted: ControlPlane, path: str, mode: str) -> Json:
    """A path that kuma-cp may read."""
    return {"path": path, "owner": "root", "group": wanted.options["group"], "mode": mode}


def _of_unit(wanted: ControlPlane) -> Json:
    return {
        "kuma_cp_config_path": wanted.config,
        "kuma_cp_state_dir": STATE_DIR,
        "kuma_cp_version_dir": wanted.version_dir,
        **{f"kuma_cp_{key}": wanted.options[key] for key in ("config_dir", "store", "user", "group", "log_level")},
    }


def _certificates(wanted: ControlPlane) -> t.Iterator[Json]:
    if wanted.postgres_ca:
        yield {**_ours(wanted, wanted.postgres_ca, "0644"), "content": wanted.pem["postgres_ca"].strip() + "\n"}
    if wanted.given:
        yield {**_ours(wanted, wanted.certificate, "0644"), "content": wanted.pem["tls_cert"].strip() + "\n"}


def _secrets(wanted: ControlPlane) -> t.Iterator[Json]:
    # What users tell kuma-cp may be one.
    yield {**_ours(wanted, wanted.environment, "0640"), "content": environment(wanted), "shown": []}
    if wanted.on_postgres:
        # For systemd alone, which reads it as root.
        content = render_environment({"KUMA_STORE_POSTGRES_PASSWORD": wanted.options["postgres_password"]})
        yield {**root(wanted.secrets, "0600"), "content": content}
    if wanted.given:
        yield {**_ours(wanted, wanted.key, "0640"), "content": wanted.pem["tls_key"].strip() + "\n"}


def environment(wanted: ControlPlane) -> str:
    """The file of the further environment variables."""
    values = {str(key): str(value) for key, value in wanted.options["environment"].items()}
    comment = f"# Further settings of kuma-cp, which win over kuma-cp.yaml. {_WRITTEN}\n"
    return comment + (render_environment(values) if values else "")


def config(wanted: ControlPlane, to_yaml: t.Callable[[t.Any], str]) -> str:
    """The file of all settings. What the inventory adds wins, and leaves the others."""
    return f"# The settings of kuma-cp. {_WRITTEN}\n" + to_yaml(merged(settings(wanted), wanted.options["config"]))


def settings(wanted: ControlPlane) -> Json:
    """The settings that the role has by itself, in the layout of kuma-cp.defaults.yaml."""
    own = wanted.options
    return {
        "environment": "universal",
        "mode": "zone",
        "multizone": {"zone": {"name": own["zone"]}},
        "store": {"type": own["store"], **({"postgres": _postgres(wanted)} if wanted.on_postgres else {})},
        "general": {"workDir": STATE_DIR, "tlsCertFile": wanted.certificate, "tlsKeyFile": wanted.key},
        "apiServer": {
            "authn": {"localhostIsAdmin": own["localhost_is_admin"]},
            "http": {"enabled": True, "interface": own["http_address"], "port": own["http_port"]},
            "https": {"enabled": True, "interface": own["https_address"], "port": own["https_port"]},
        },
        "dpServer": {"port": own["dp_port"], "hds": {"enabled": own["hds_enabled"]}},
        "defaults": {"skipMeshCreation": not own["create_default_mesh"]},
        "reports": {"enabled": own["reports_enabled"]},
    }


def _postgres(wanted: ControlPlane) -> Json:
    """The database without its password, which is in the environment alone."""
    own = wanted.options
    return {
        "host": own["postgres_host"],
        "port": own["postgres_port"],
        "dbName": own["postgres_db"],
        "user": own["postgres_user"],
        "tls": {"mode": own["postgres_tls_mode"], **({"caPath": wanted.postgres_ca} if wanted.postgres_ca else {})},
    }


def merged(base: t.Mapping[str, t.Any], over: t.Mapping[str, t.Any]) -> Json:
    """``base`` with everything of ``over``, which wins; mappings in both are merged in their turn."""
    found = dict(base)
    for key, value in over.items():
        both = isinstance(value, t.Mapping) and isinstance(found.get(key), t.Mapping)
        found[key] = merged(found[key], value) if both else value
    return found
