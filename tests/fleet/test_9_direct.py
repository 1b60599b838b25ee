# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Direct lifecycle: kuma-dp registers its own Dataplane. Joined, changed, moved to Indirect and back, and left, while a caller
that forgives nothing asks all the time.

The only instance of its service is the one that changes. The tests build on each other.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import Fleet, service
from tests.lab import canary
from tests.lab.ansible import Run
from tests.lab.processes import wait_until
from tests.lab.recorder import Seen
from tests.lab.traffic import Answers, ask, outbounds, polling

CALLER, ONLY = "vm1", "vm2"
QUICK = {"kuma_dp_roll_soak": 0, "kuma_dp_roll_gate_timeout": 40, "kuma_dp_wait_timeout": 60, "kuma_dp_drain_time": "8s"}
TEMPLATE = """
type: Dataplane
mesh: {{ mesh }}
name: {{{name}}}
labels: {kuma.io/workload: {{workload}}, team: {{team}}}
networking:
  address: {{ address }}
  inbound: {{! one service, and a tag that the inventory does not know }}
    - port: 8080
      servicePort: 18080
      serviceAddress: 127.0.0.1
      tags: {kuma.io/service: direct, kuma.io/protocol: http, team: {{team}}}
      serviceProbe: {interval: 1s, timeout: 1s, tcp: {}}
"""


class Direct:
    """One caller and one instance, with the inventory for each wish."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet, self.directory = fleet, directory

    def inventory(self, lifecycle: str, **variables: Any) -> Path:
        def change(groups: dict[str, Any]) -> None:
            groups.clear()
            groups["callers"] = {"hosts": {CALLER: {}}, "vars": {"kuma_dp_services": [service("caller")], "kuma_dp_upstreams": ["direct"]}}
            probe = {"interval": "1s", "timeout": "1s"}
            own = {"kuma_dp_services": [service("direct", probe=probe)], "kuma_dp_lifecycle": lifecycle, **variables}
            groups["direct"] = {"hosts": {ONLY: {}}, "vars": own}

        return self.fleet.inventory(change, kuma_dp_roll_dir=str(self.directory / "rolls"))

    def join(self, lifecycle: str, *arguments: str, **variables: Any) -> tuple[Run, Seen]:
        return self.fleet.join(*arguments, inventory=self.inventory(lifecycle, **variables), extra=QUICK)

    def roll(self, lifecycle: str, *arguments: str, force: bool = False, **variables: Any) -> tuple[Run, Seen]:
        inventory, told = self.inventory(lifecycle, **variables), self.directory / "told"
        told.unlink(missing_ok=True)
        options: dict[str, Any] = {"extra": {**QUICK, "kuma_dp_roll_force": force}, "environment": canary.environment(told)}
        run, seen = self.fleet.play("rolling_restart", *canary.LOUD, *arguments, "--limit", ONLY, inventory=inventory, **options)
        canary.check_told(run.output, told, "Decide who is restarted", self.fleet.stage.control_plane.admin_token)
        return run, seen

    def templated(self) -> dict[str, Any]:
        path = self.directory / "direct.yaml.mustache"
        path.write_text(TEMPLATE)
        return {"kuma_dp_dataplane_template": str(path), "kuma_dp_dataplane_vars": {"team": "shop"}}

    def process(self) -> str:
        return self.fleet.host(ONLY).run(f"systemctl show --property=MainPID --value kuma-dp@{ONLY}").strip()

    def lifecycle(self) -> str:
        """As the running kuma-dp was started."""
        environment = self.fleet.host(ONLY).run(f"tr '\\0' '\\n' < /proc/{self.process()}/environ")
        return "direct" if "KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH=" in environment else "indirect"

    def port(self) -> int:
        return outbounds(self.fleet.host(CALLER))["DIRECT"]

    def wait_for_answers(self) -> None:
        wait_until(lambda: not ask(self.fleet.host(CALLER), self.port(), 10).failures, 40, f"answers of {ONLY}", interval=0.5)

    def settle(self) -> None:
        """Until the cover and its Dataplane are gone, the restart is over, and the proxy is in traffic."""
        wait_until(lambda: sorted(self.fleet.dataplanes()) == [CALLER, ONLY], 60, "the cover to go", interval=0.5)
        self.fleet.wait_ready(ONLY)


@pytest.fixture(scope="module")
def direct(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Direct:
    fleet.clear(*(host.name for host in fleet.hosts))
    found = Direct(fleet, tmp_path_factory.mktemp("direct"))
    run, seen = found.join("direct")
    assert run.code == 0, run.explain()
    # Only the caller is registered by the play; both get a token.
    assert [write for write in seen.writes if ONLY in write] == []
    assert len(seen.tokens) == 2
    found.wait_for_answers()
    return found


def rolled(direct: Direct, lifecycle: str, **options: Any) -> tuple[Run, Seen]:
    """A roll of the only instance under polling, without a failed request."""
    before, began = direct.process(), time.time()
    with polling(direct.fleet.host(CALLER), direct.port()) as answers:
        run, seen = direct.roll(lifecycle, **options)
        assert run.code == 0, run.explain()
        direct.settle()
    check(answers)
    assert canary.on_host(direct.fleet.host(ONLY), began) == []
    assert direct.process() != before
    assert direct.lifecycle() == lifecycle
    return run, seen


def check(answers: Answers) -> None:
    assert answers.failures == []
    assert list(answers.by_host) == [ONLY]
    assert answers.by_host[ONLY] > 100


def writes_of(seen: Seen, name: str = ONLY) -> list[str]:
    return [write for write in seen.writes if write.split(" ")[1].endswith(f"/dataplanes/{name}")]


def test_a_direct_proxy_registers_itself_and_a_rerun_changes_nothing(direct: Direct) -> None:
    assert direct.lifecycle() == "direct"
    before = direct.fleet.snapshot(CALLER, ONLY)
    run, seen = direct.join("direct")
    assert run.code == 0, run.explain()
    assert run.changed == {}
    assert seen.writes == seen.tokens == []
    assert direct.fleet.snapshot(CALLER, ONLY) == before


def test_trap_34_another_dataplane_is_pending_and_comes_with_a_covered_restart_although_the_name_stays_busy(direct: Direct) -> None:
    """The other Dataplane is a template of the user's, which kuma-dp fills in (trap 33)."""
    run, seen = rolled(direct, "direct", **direct.templated())
    assert "Dataplane changed after it was started" in run.output
    assert writes_of(seen) == []
    assert direct.fleet.inbounds(ONLY)[0]["tags"]["team"] == "shop"
    assert direct.fleet.host(ONLY).run(f"cat /etc/kuma/dataplanes/{ONLY}.yaml").strip() == TEMPLATE.strip()
    run, seen = direct.join("direct", **direct.templated())
    assert (run.code, run.changed, seen.writes) == (0, {}, []), run.explain()


@pytest.mark.nightly
def test_a_direct_proxy_becomes_indirect_without_a_failed_request(direct: Direct) -> None:
    run, seen = rolled(direct, "indirect")
    assert "it runs direct, indirect is wanted" in run.output
    # In between the control plane deleted it.
    assert writes_of(seen)[-1] == f"PUT /meshes/default/dataplanes/{ONLY} -> 201"
    run, seen = direct.join("indirect")
    assert (run.code, run.changed, seen.writes) == (0, {}, []), run.explain()


@pytest.mark.nightly
def test_an_indirect_proxy_becomes_direct_without_a_failed_request(direct: Direct) -> None:
    run, seen = rolled(direct, "direct")
    assert "it runs indirect, direct is wanted" in run.output
    assert writes_of(seen) == []


def test_a_fenced_direct_proxy_is_not_restarted_into_traffic(direct: Direct) -> None:
    before = direct.process()
    direct.fleet.set_inbounds(ONLY, health={"ready": False})
    run, _seen = direct.roll("direct", force=True)
    assert run.code != 0
    assert "is fenced and Direct" in run.output
    assert direct.process() == before
    direct.fleet.set_inbounds(ONLY, health={"ready": True})


def test_trap_9_the_control_plane_deletes_what_leaves_and_the_play_only_sees_to_it(direct: Direct) -> None:
    run, seen = direct.fleet.leave("--limit", ONLY, inventory=direct.inventory("direct"))
    assert run.code == 0, run.explain()
    assert sorted(direct.fleet.dataplanes()) == [CALLER]
    assert [write for write in writes_of(seen) if write.startswith("DELETE")] == []
    assert direct.fleet.host(ONLY).run("pgrep -l 'envoy|kuma-dp'", check=False) == ""
