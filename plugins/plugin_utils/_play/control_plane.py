# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The options of role kuma_cp, and what follows from them: where its files are, who signs its certificate, where it is reached. Pure functions."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.removal import MARKER
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.options import NOWHERE, Option, Table, flag, number

Json = t.Dict[str, t.Any]

UNIT = "/etc/systemd/system/kuma-cp.service"
STATE_DIR = "/var/lib/kuma-cp"
# The user is told by this from one that somebody else made.
COMMENT = "Kuma control plane"
# The options that take PEM text or a file on the controller.
PEM = ("tls_cert", "tls_key", "tls_ca", "postgres_ca")

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f]")


def text(value: t.Any) -> str:
    """A value that is nothing is an empty text."""
    return "" if value is None else str(value)


def mapping(value: t.Any) -> t.Any:
    """What is no mapping at all stays as it is, for whoever refuses it."""
    return {} if value is None else value


def as_it_is(value: t.Any) -> t.Any:
    return value


_SHAPES: t.Dict[str, t.Callable[[t.Any], t.Any]] = {
    "version": text,
    "archive": text,
    "archive_checksum": as_it_is,
    "archive_cache": text,
    "install_dir": text,
    "config_dir": text,
    "user": text,
    "group": text,
    "names": as_it_is,
    "zone": as_it_is,
    "create_default_mesh": flag,
    "http_address": as_it_is,
    "http_port": number,
    "https_address": as_it_is,
    "https_port": number,
    "dp_port": number,
    "store": as_it_is,
    "postgres_host": as_it_is,
    "postgres_port": number,
    "postgres_db": as_it_is,
    "postgres_user": as_it_is,
    "postgres_password": text,
    "postgres_tls_mode": as_it_is,
    "postgres_ca": text,
    "tls_cert": text,
    "tls_key": text,
    "tls_ca": text,
    "tls_valid_days": number,
    "tls_renew_before_days": number,
    "localhost_is_admin": flag,
    "fetch_dir": text,
    "hds_enabled": flag,
    "reports_enabled": flag,
    "log_level": as_it_is,
    "config": mapping,
    "environment": mapping,
    "wait_timeout": number,
}
# A control plane is one host's, which is always in the play: nothing is asked about hosts elsewhere.
CONTROL_PLANE: Table = {key: Option("kuma_cp_" + key, NOWHERE, shape) for key, shape in _SHAPES.items()}


def told(options: Json, missing: t.Mapping[str, str]) -> Json:
    """What the plan takes as variables: of passwords and PEM texts only whether they are there.

    ``options`` are ``CONTROL_PLANE``, ``missing`` are those of ``PEM`` that name a file which is not there, with the name.
    """
    password = options["postgres_password"]
    found = {key: value for key, value in options.items() if key not in (*PEM, "postgres_password")}
    found.update({f"{key}_given": options[key] != "" for key in PEM})
    # A key without its first line is taken for the name of a file.
    found.update({f"{key}_missing": "(not shown)" if key == "tls_key" else name for key, name in missing.items()})
    return {
        **found,
        "postgres_password_given": password != "",
        "postgres_password_printable": not _CONTROL_CHARACTER.search(password),
    }


@dataclass(frozen=True)
class ControlPlane:
    """The control plane of one host. ``options`` are ``CONTROL_PLANE``, ``pem`` are the texts of ``PEM``."""

    host: str
    options: Json
    pem: t.Mapping[str, str]

    @property
    def on_postgres(self) -> bool:
        return bool(self.options["store"] == "postgres")

    @property
    def given(self) -> bool:
        """Whether its certificate is one that was given; else the VM makes its own."""
        return all(self.options[key] != "" for key in ("tls_cert", "tls_key", "tls_ca"))

    @property
    def version_dir(self) -> str:
        return f"{self.options['install_dir']}/{self.options['version']}"

    @property
    def marker(self) -> str:
        return f"{self.version_dir}/{MARKER}"

    @property
    def config(self) -> str:
        return f"{self.options['config_dir']}/kuma-cp.yaml"

    @property
    def environment(self) -> str:
        return f"{self.options['config_dir']}/kuma-cp.env"

    @property
    def secrets(self) -> str:
        return f"{self.options['config_dir']}/secrets.env"

    @property
    def admin_token(self) -> str:
        return f"{self.options['config_dir']}/admin-token"

    @property
    def tls_dir(self) -> str:
        return f"{self.options['config_dir']}/tls"

    # A certificate that was given, and one of its own, have different names: going from one to the other destroys neither.
    @property
    def certificate(self) -> str:
        return f"{self.tls_dir}/{'given' if self.given else 'server'}.pem"

    @property
    def key(self) -> str:
        return f"{self.tls_dir}/{'given' if self.given else 'server'}-key.pem"

    @property
    def postgres_ca(self) -> t.Optional[str]:
        """Where the CA of Postgres is; None without one."""
        return f"{self.tls_dir}/postgres-ca.pem" if self.on_postgres and self.options["postgres_ca"] != "" else None

    @property
    def inputs(self) -> t.List[str]:
        """What kuma-cp reads when it starts, so that a newer one restarts it. The unit is looked at by itself."""
        found = [self.config, self.environment, self.certificate, self.key]
        return found + ([self.secrets] if self.on_postgres else []) + ([self.postgres_ca] if self.postgres_ca else [])

    @property
    def names(self) -> t.List[str]:
        """What a certificate of its own is for: the role itself asks over loopback."""
        return list(dict.fromkeys([*self.options["names"], "localhost", "127.0.0.1"]))

    @property
    def url(self) -> str:
        return self._reached(self.options["https_port"])

    @property
    def dp_url(self) -> str:
        return self._reached(self.options["dp_port"])

    def _reached(self, port: int) -> str:
        name = str(self.options["names"][0])
        return f"https://{f'[{name}]' if ':' in name else name}:{port}"

    def signing(self) -> Json:
        """The options of control_plane_certificate."""
        return {
            "directory": self.tls_dir,
            "names": self.names,
            "subject": f"kuma-cp {self.host}",
            "group": self.options["group"],
            "valid_days": self.options["tls_valid_days"],
            "renew_before_days": self.options["tls_renew_before_days"],
        }

    def asking(self) -> Json:
        """How modules on the VM ask it over loopback, and which version has to answer when."""
        return {
            "version": self.options["version"],
            "address": self.options["http_address"],
            "port": self.options["http_port"],
            "timeout": self.options["wait_timeout"],
        }

    def summary(self, actions: t.Sequence[str]) -> Json:
        """Where everything is; ``actions`` are those of control_plane_service."""
        return {
            "version": self.options["version"],
            "api": self.url,
            "proxies": self.dp_url,
            "store": self.options["store"],
            "actions": list(actions),
            "files": self.options["fetch_dir"] or "not wanted",
        }
