# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the real one: `run`, `migrate up` and `version`, with its configuration file and environment."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import yaml

from .postgres import Postgres
from .releases import RELEASES
from .server import Settings, serve
from .tokens import PublicKey, Validation

# Settings that may come from the environment, which wins over the file.
ENVIRONMENT = {
    "KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN": "apiServer.authn.localhostIsAdmin",
    "KUMA_API_SERVER_HTTP_INTERFACE": "apiServer.http.interface",
    "KUMA_API_SERVER_HTTP_PORT": "apiServer.http.port",
    "KUMA_API_SERVER_HTTPS_INTERFACE": "apiServer.https.interface",
    "KUMA_API_SERVER_HTTPS_PORT": "apiServer.https.port",
    "KUMA_DP_SERVER_PORT": "dpServer.port",
    "KUMA_STORE_POSTGRES_PASSWORD": "store.postgres.password",
}
DEFAULTS: dict[str, Any] = {
    "environment": "universal",
    "mode": "zone",
    "multizone.zone.name": "default",
    "store.type": "memory",
    "general.workDir": "",
    "general.tlsCertFile": "",
    "general.tlsKeyFile": "",
    "apiServer.authn.localhostIsAdmin": True,
    "apiServer.http.interface": "0.0.0.0",
    "apiServer.http.port": 5681,
    "apiServer.https.interface": "0.0.0.0",
    "apiServer.https.port": 5682,
    "dpServer.port": 5678,
    "dpServer.authn.enableReloadableTokens": False,
    "dpServer.hds.enabled": True,
    "defaults.skipMeshCreation": False,
}


class Fatal(Exception):
    """The command ends with this message."""


class Config:
    """The file, the environment over it and the defaults below it; keys are paths with dots."""

    def __init__(self, document: Any, environment: dict[str, str]) -> None:
        self.document, self.environment = document or {}, environment
        self.names = {path: name for name, path in ENVIRONMENT.items()}

    def get(self, path: str, default: Any = None) -> Any:
        if self.names.get(path) in self.environment:
            return yaml.safe_load(self.environment[self.names[path]]) if "password" not in path else self.environment[self.names[path]]
        found = self.document
        for key in path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return DEFAULTS.get(path, default) if found is None else found


def read(path: str | None, environment: dict[str, str]) -> Config:
    """Raises Fatal when the file cannot be read or says what this one cannot do."""
    document = None
    if path:
        try:
            document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise Fatal(f"could not load the configuration: {error}") from error
    config = Config(document, environment)
    for name, known in (("environment", ("universal",)), ("mode", ("zone",)), ("store.type", ("memory", "postgres"))):
        if config.get(name) not in known:
            raise Fatal(f"configuration validation failed: {name} should be either {' or '.join(known)}")
    return config


def settings(config: Config, version: str) -> Settings:
    """How to run the control plane that a configuration describes. Raises Fatal without a place for its certificate (as the real one)."""
    work_dir = config.get("general.workDir")
    if not work_dir:
        if "HOME" not in config.environment:
            raise Fatal("failed to create a working directory inside $HOME: $HOME is not defined")
        work_dir = f"{config.environment['HOME']}/.kuma"
    certificate, key = config.get("general.tlsCertFile"), config.get("general.tlsKeyFile")
    return Settings(
        release=RELEASES.get(version) or RELEASES["2.14.3"],
        work_dir=Path(work_dir),
        bind="0.0.0.0",
        http_bind=config.get("apiServer.http.interface"),
        https_bind=config.get("apiServer.https.interface"),
        api_port=config.get("apiServer.http.port"),
        api_tls_port=config.get("apiServer.https.port"),
        dp_port=config.get("dpServer.port"),
        zone=config.get("multizone.zone.name"),
        localhost_is_admin=config.get("apiServer.authn.localhostIsAdmin"),
        hds=config.get("dpServer.hds.enabled"),
        certificate=(Path(certificate), Path(key)) if certificate and key else None,
        create_default_mesh=not config.get("defaults.skipMeshCreation"),
        served_version=version,
        dataplane_tokens=validation(config, "dpServer.authn.dpProxy.dpToken"),
        zone_tokens=validation(config, "dpServer.authn.zoneProxy.zoneToken"),
        reloadable_tokens=config.get("dpServer.authn.enableReloadableTokens"),
        postgres=Postgres(config.get) if config.get("store.type") == "postgres" else None,
    )


def validation(config: Config, path: str) -> Validation:
    """Where tokens of a sort may come from. Raises Fatal for a key that cannot be read."""
    keys = config.get(f"{path}.validator.publicKeys", []) or []
    try:
        found = tuple(
            PublicKey(str(key["kid"]), key.get("key") or Path(key["keyFile"]).read_text(encoding="utf-8"), str(key.get("mesh") or ""))
            for key in keys
        )
        for key in found:
            key.load()
    except (OSError, ValueError, KeyError) as error:
        raise Fatal(f"configuration validation failed: {path}.validator.publicKeys: {error}") from error
    return Validation(config.get(f"{path}.enableIssuer", True), config.get(f"{path}.validator.useSecrets", True), found)


async def _run(chosen: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve(chosen):
        logging.info("kuma-cp %s is up", chosen.served_version)
        await stop.wait()


def main(arguments: list[str], version: str) -> None:
    if arguments[:1] == ["version"]:
        print(f"Kuma: {version}")
        return
    migrate = arguments[:2] == ["migrate", "up"]
    if arguments[:1] != ["run"] and not migrate:
        raise Fatal(f'unknown command "{" ".join(arguments[:2])}" for "kuma-cp"')
    parser = argparse.ArgumentParser(prog="kuma-cp", allow_abbrev=False)
    parser.add_argument("-c", "--config-file")
    parser.add_argument("--log-level", default="info", choices=["off", "info", "debug"])
    given = parser.parse_args(arguments[2 if migrate else 1 :])
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config = read(given.config_file, dict(os.environ))
    if not migrate:
        asyncio.run(_run(settings(config, version)))
    elif config.get("store.type") == "postgres":
        done = Postgres(config.get).migrate()
        print(f"DB has {'been' if done else 'already been'} migrated for Kuma {version}")


def start(version: str) -> None:
    """Runs the command line of a kuma-cp of this version and ends the process."""
    try:
        main(sys.argv[1:], version)
    except (Fatal, OSError, RuntimeError) as error:
        sys.exit(f"Error: {error}")
