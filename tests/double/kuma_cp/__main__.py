# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m tests.double.kuma_cp`: runs one control plane until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from .releases import RELEASES
from .server import Settings, serve
from .tokens import PublicKey, Validation


def main() -> int:
    parser = argparse.ArgumentParser(prog="kuma_cp", description="A stand-in for kuma-cp.")
    parser.add_argument("--emulate", choices=list(RELEASES), default="2.14.3", metavar="VERSION", help=", ".join(RELEASES))
    parser.add_argument("--bind", default="127.0.0.1", help="address of all three ports")
    parser.add_argument("--api-port", type=int, default=5681, help="HTTP API; 0 takes a free port, also for the others")
    parser.add_argument("--api-tls-port", type=int, default=5682)
    parser.add_argument("--dp-port", type=int, default=5678, help="bootstrap, proxies' streams and Envoy's configuration")
    parser.add_argument("--work-dir", type=Path, required=True, help="keeps the CA, the server certificate and the admin's token")
    parser.add_argument("--hosts", nargs="*", default=[], metavar="NAME", help="further names and addresses of the certificate")
    parser.add_argument("--zone", default="default")
    parser.add_argument("--localhost-is-admin", action="store_true", help="direct requests over loopback need no token")
    parser.add_argument("--no-hds", action="store_true", help="nobody reports the health of proxies")
    parser.add_argument("--hds-interval", type=float, default=5.0, metavar="SECONDS", help="between two reports of a proxy's health")
    parser.add_argument("--hds-check-interval", type=float, default=1.0, metavar="SECONDS", help="between two checks of a proxy's health")
    parser.add_argument("--deregistration-delay", type=float, default=10.0, metavar="SECONDS", help="of a Direct proxy that has left")
    parser.add_argument("--propagation-delay", type=float, default=1.0, metavar="SECONDS", help="until a write reaches the proxies")
    parser.add_argument(
        "--delays-file", type=Path, help="a JSON object with other delays than these: report, check, deregistration, propagation"
    )
    parser.add_argument("--no-admin-unix-socket", action="store_true", help="Envoy's admin is a TCP port for every version")
    parser.add_argument("--reloadable-tokens", action="store_true", help="proxies read their token again whenever they connect")
    parser.add_argument("--no-issuer", action="store_true", help="the control plane issues no Dataplane tokens")
    parser.add_argument("--no-secret-keys", action="store_true", help="Dataplane tokens are checked with public keys alone")
    parser.add_argument(
        "--public-key", nargs=2, action="append", default=[], metavar=("KID", "FILE"), help="of Dataplane tokens that were signed elsewhere"
    )
    parser.add_argument("--log-level", default="INFO")
    given = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=given.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings(
        release=RELEASES[given.emulate],
        bind=given.bind,
        api_port=given.api_port,
        api_tls_port=given.api_tls_port,
        dp_port=given.dp_port,
        work_dir=given.work_dir,
        hosts=given.hosts,
        zone=given.zone,
        localhost_is_admin=given.localhost_is_admin,
        hds=not given.no_hds,
        hds_interval=given.hds_interval,
        hds_check_interval=given.hds_check_interval,
        deregistration_delay=given.deregistration_delay,
        propagation_delay=given.propagation_delay,
        delays_file=given.delays_file,
        admin_unix_socket=not given.no_admin_unix_socket,
        dataplane_tokens=Validation(
            not given.no_issuer,
            not given.no_secret_keys,
            tuple(PublicKey(kid, Path(file).read_text(encoding="utf-8")) for kid, file in given.public_key),
        ),
        reloadable_tokens=given.reloadable_tokens,
    )

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with serve(settings) as ready:
            print(json.dumps(ready), flush=True)
            await stop.wait()

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
