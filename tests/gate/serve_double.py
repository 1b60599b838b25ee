# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the stand-in control plane to a person: print where it is and keep it until it is stopped."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import signal
import socket
import subprocess
import sys
import tempfile


def client_address(text: str) -> str:
    """An address of this machine that clients can use as it is printed, and that a certificate can name."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no IP address") from None
    if address.is_unspecified:
        raise argparse.ArgumentTypeError(f"{text} is no address that a client could use; name the one at which clients reach this machine")
    if address.is_multicast or (address.version == 6 and address.is_link_local):
        raise argparse.ArgumentTypeError(f"{text} cannot stand in a URL that others use; name another address of this machine")
    try:
        with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET) as trial:
            trial.bind((text, 0))
    except OSError:
        hint = "the hosts of `make lab-up` reach this machine at 10.77.0.1, once they are up; with LAB_ID=1 at 10.78.0.1, and so on"
        raise argparse.ArgumentTypeError(f"{text} is no address of this machine; {hint}") from None
    return str(address)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--port", type=int, default=5681, help="of the HTTP API; the HTTPS API and the dp-server lie beside it as they do in Kuma"
    )
    parser.add_argument("--bind", type=client_address, default="127.0.0.1", metavar="ADDRESS", help="where all three listen")
    parser.add_argument("--emulate", default="2.14.3", metavar="VERSION")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="kuma-double-") as work_dir:
        command = [sys.executable, "-m", "tests.double.kuma_cp", "--emulate", arguments.emulate, "--bind", arguments.bind]
        command += ["--api-port", str(arguments.port), "--api-tls-port", str(arguments.port + 1), "--dp-port", str(arguments.port - 3)]
        server = subprocess.Popen([*command, "--work-dir", work_dir], stdout=subprocess.PIPE, text=True)
        # The server ends first, its directory after it. Ctrl-C reaches both processes.
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        signal.signal(signal.SIGINT, lambda *_: server.terminate())
        assert server.stdout is not None
        ready = server.stdout.readline()
        if not ready:
            return server.wait() or 1
        place = json.loads(ready)
        print(f"control plane      {place['url']}  (Kuma {arguments.emulate})")
        print(f"with TLS           {place['https_url']}")
        print(f"CA certificate     {place['ca_file']}")
        print(f"dp-server          {place['dp_url']}")
        print(f"admin token file   {place['admin_token_file']}")
        print("Ctrl-C stops it.", flush=True)
        status = None
        # Not without a limit: a signal that comes just before the wait is looked at after it only.
        while status is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = server.wait(timeout=1)
        return 0 if status in (0, -signal.SIGTERM, -signal.SIGINT) else status


if __name__ == "__main__":
    sys.exit(main())
