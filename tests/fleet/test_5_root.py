# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is root on a host: confined, and with what the user of the proxies puts in its way."""

from __future__ import annotations

import pytest

from tests.fleet.fleet import NAMES, PROXIES, Fleet
from tests.fleet.test_5_restart import calling, cover_of, joined, pid, restart, wait_done

# Fixtures are found by their names.
__all__ = ["joined"]

MIGRATE = "/proc/sys/net/ipv4/tcp_migrate_req"
# What a program says that is refused by its sandbox.
REFUSED = ("not permitted", "Read-only file system", "Permission denied", "Traceback")
# The unit as 0.1.0 had it, as far as this goes.
WITHOUT_A_SANDBOX = r"""
import re, sys
path = "/etc/systemd/system/kuma-dp-restart@.service"
text = open(path).read()
sandbox = "(Cap|Protect(System|Con|Clock|Host)|Read|PrivateM|IPAddr|RestrictN|RestrictS|SystemCallF|SystemCallE)"
kept = [line for line in text.splitlines() if not re.match(sandbox, line)]
open(path, "w").write("\n".join(kept) + "\n")
"""
# Run as the user of the proxies: what root would open of a proxy is a fifo or leads to a file that only root may read.
IN_THE_WAY = r"""
import os, sys
path, kind = sys.argv[1:]
os.rename(path, path + ".mine")
if kind == "fifo":
    os.mkfifo(path)
else:
    os.symlink("/etc/shadow", path)
"""


def journal(fleet: Fleet, host: str, unit: str) -> str:
    return fleet.host(host).run(f"journalctl --unit={unit} --output=cat --no-pager")


def test_the_sandbox_leaves_what_a_restart_needs(joined: Fleet) -> None:
    fleet, host, name = joined, joined.host("vm4"), "vm4-orders"
    shown = host.run(f"systemctl show --property=ProtectSystem,CapabilityBoundingSet,SystemCallErrorNumber kuma-dp-restart@{name}")
    assert "ProtectSystem=strict" in shown
    assert "cap_sys_admin" not in shown
    known = host.run(f"echo 0 > {MIGRATE}; cat {MIGRATE}", check=False).strip() == "0"
    before = pid(host, f"kuma-dp@{name}")
    with calling(fleet, "vm1", "ORDERS"):
        result = restart(fleet, "vm4", name, cover=cover_of(fleet, name))
        wait_done(host, name)
    assert (result["outcome"], result["strategy"], result["fell_back"]) == ("restarted", "cover", False), result
    assert [note for note in result["notes"] if "could not be set" in note] == []
    assert pid(host, f"kuma-dp@{name}") not in (0, before)
    if known:
        assert host.run(f"cat {MIGRATE}").strip() == "1"
    said = journal(fleet, "vm4", f"kuma-dp-restart@{name}")
    assert [line for line in said.splitlines() if any(word in line for word in REFUSED)] == []
    # The token of its cover, which another user owned, is gone.
    assert host.run(f"ls -A /etc/kuma/tokens | grep -c '^.{name}.cover$'", check=False).strip() == "0"


@pytest.mark.nightly
def test_what_a_proxy_was_started_with_is_put_back_out_of_the_sandbox(joined: Fleet) -> None:
    """All of it: the unit in /etc, the link of the release, and files of another owner."""
    fleet, host, name = joined, joined.host("vm3"), "vm3"
    paths = "/etc/systemd/system/kuma-dp@.service /etc/kuma/env/vm3.env /etc/kuma/tokens/vm3"
    state = f"sha256sum {paths}; stat -c '%n %a %U %G' {paths}; readlink /opt/kuma/current"
    before = host.run(state)
    host.run(
        "sed -i 's/^LimitNOFILE=.*/LimitNOFILE=1048575/' /etc/systemd/system/kuma-dp@.service; systemctl daemon-reload;"
        " printf 'KUMA_CONTROL_PLANE_URL=\"https://192.0.2.1:5678\"\\n' >> /etc/kuma/env/vm3.env; ln -sfn nowhere /opt/kuma/current"
    )
    # Nobody covers what cannot start: requests to this host fail meanwhile, and nobody makes any.
    result = restart(fleet, "vm3", name, strategy="drained", ready_timeout=5)
    wait_done(host, name)
    assert (result["outcome"], result["fell_back"], result["served_by"]) == ("failed", True, "main"), result
    assert host.run(state) == before
    fleet.wait_ready(name)


def test_what_the_user_of_the_proxies_puts_in_the_way_hangs_nobody(joined: Fleet) -> None:
    fleet, host, name = joined, joined.host("vm4"), "vm4-cache"
    put = f"runuser -u kuma-dp -- python3 - /run/kuma-dp/{name}/%s <<'PROGRAM'\n{IN_THE_WAY}\nPROGRAM"
    host.run(put % "bootstrap.yaml fifo")
    run, _seen = fleet.join("-vvv", "--limit=vm4", timeout=300)
    assert run.code == 0, run.explain()
    host.run(put % "kuma-envoy-admin.sock link")
    # One whose admin is not to be found does not serve, as far as anybody can tell, and comes back with a directory of its own.
    result = restart(fleet, "vm4", name, cover=cover_of(fleet, name))
    assert (result["outcome"], result["strategy"]) == ("restarted", "drained"), result
    assert any(reason.startswith("it did not serve: ") for reason in result["reasons"]), result
    wait_done(host, name)
    fleet.wait_ready(name)
    result = restart(fleet, "vm4", name, cover=cover_of(fleet, name))
    assert (result["outcome"], result["strategy"]) == ("restarted", "cover"), result
    wait_done(host, name)


def test_a_vm_that_an_earlier_release_joined_is_taken_over_without_a_restart(joined: Fleet) -> None:
    fleet, host = joined, joined.host("vm2")
    running = {name: pid(fleet.host(vm), f"kuma-dp@{name}") for vm, names in PROXIES.items() for name in names}
    code = "/usr/local/lib/kuma-dp-restart/ansible_collections/meshfleet/kuma/plugins/module_utils"
    host.script(WITHOUT_A_SANDBOX)
    host.run(f"rm {code}/_vm/safely.py {code}/_vm/asking.py; systemctl daemon-reload; chmod 0555 /opt/kuma/*/bin/*")
    run, _seen = fleet.join()
    assert run.code == 0, run.explain()
    assert sorted(run.changed) == ["vm2"]
    assert "RESTART PENDING" not in run.output
    assert {name: pid(fleet.host(vm), f"kuma-dp@{name}") for vm, names in PROXIES.items() for name in names} == running
    assert sorted(running) == NAMES
    assert "ProtectSystem=strict" in host.run("systemctl show --property=ProtectSystem kuma-dp-restart@vm2")
    assert set(host.run("stat -c %a /opt/kuma/*/bin/envoy").split()) == {"555"}
    with calling(fleet, "vm1", "WEB"):
        assert restart(fleet, "vm2", "vm2", cover=cover_of(fleet, "vm2"))["outcome"] == "restarted"
        wait_done(host, "vm2")
    assert fleet.join()[0].changed == {}


@pytest.mark.nightly
def test_a_release_that_nobody_may_run_is_repaired_by_a_rerun(joined: Fleet) -> None:
    """As an archive without directories left it where the umask is 077. What runs goes on, with the program that it has."""
    fleet, host = joined, joined.host("vm2")
    before = pid(host, "kuma-dp@vm2")
    inodes = host.run("stat -c '%n %i' /opt/kuma/*/bin/kuma-dp /opt/kuma/*/bin/envoy")
    host.run("chmod 0700 /opt/kuma/*/bin; chmod 4700 /opt/kuma/*/bin/envoy")
    run, _seen = fleet.join()
    assert run.code == 0, run.explain()
    assert sorted(run.changed) == ["vm2"]
    assert set(host.run("stat -c '%a %U' /opt/kuma/*/bin /opt/kuma/*/bin/kuma-dp /opt/kuma/*/bin/envoy").splitlines()) == {"755 root"}
    assert host.run("stat -c '%n %i' /opt/kuma/*/bin/kuma-dp /opt/kuma/*/bin/envoy") == inodes
    assert pid(host, "kuma-dp@vm2") == before
    assert fleet.join()[0].changed == {}
