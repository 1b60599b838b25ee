# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module proxy_info on this machine, which has no proxies: what it says of the control plane that is to be."""

from __future__ import annotations

import pytest

from tests.unit.module_runner import run
from tests.unit.sockets import read_request, sign


@pytest.fixture
def place(tmp_path, raw):
    """The options for a directory without proxies, and a dp-server that an authority has signed."""
    authority = sign("authority", ca=True)
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    context = sign("cp", authority, names=["127.0.0.1"]).context(tmp_path)
    server = raw(lambda opened: read_request(opened) and opened.sendall(answer), context=context)
    options = {
        "config_dir": str(tmp_path / "etc"),
        "install_dir": str(tmp_path / "opt"),
        "dp_server_url": f"https://127.0.0.1:{server.port}",
    }
    return options, authority, server


def test_the_control_plane_is_seen_with_the_ca_that_is_given(place):
    options, authority, server = place
    host = run("proxy_info", {**options, "dp_server_ca": authority.pem})["host"]
    (seen,) = host["dp_server"]["servers"]
    assert (seen["outcome"], seen["certificate"]["names"], len(seen["trusted_by"])) == ("trusted", ["127.0.0.1"], 1)
    foreign = run("proxy_info", {**options, "dp_server_ca": sign("foreign", ca=True).pem})["host"]
    assert foreign["dp_server"]["servers"][0]["outcome"] == "foreign"
    assert server.connections == 3, "the second time what it shows is asked for"


def test_without_an_address_nobody_is_asked(place):
    options, _authority, server = place
    assert run("proxy_info", {**options, "dp_server_url": None})["host"]["dp_server"] is None
    assert server.connections == 0
