# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The restart of a Direct proxy: its name is busy for ten seconds after it has left, and it may come back with another Dataplane."""

from __future__ import annotations

import dataclasses
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import facts as restart_facts
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files, steps
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import vm as restart_vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.envoy import Certificates
from tests.unit.restart.world import BOUND, ENDPOINTS, NEVER, REQUEST, Vm

KILLS = st.frozensets(st.integers(1, 250), max_size=6)
DELAY = 10.0  # of the control plane
OTHER = frozenset({("10.0.0.11", 8081), ("127.0.0.1", 10001)})


@dataclasses.dataclass
class DirectVm(Vm):
    """Who is started while the name is busy asks less and less often, and waits for long. With `reshaped` the new one listens elsewhere."""

    reshaped: bool = False
    bound: frozenset = OTHER
    endpoints: dict = dataclasses.field(default_factory=lambda: {"cache": frozenset({"10.0.0.13:8080"})})

    def __post_init__(self):
        super().__post_init__()
        self.busy_until = 0.0
        self.cover_is_new = False

    def stop(self, side):
        had = self.main.pid
        try:
            super().stop(side)
        finally:
            if had and not self.main.pid:
                self.busy_until = self.time + DELAY

    def _run_main(self):
        super()._run_main()
        if self.time < self.busy_until and self.main.ready_at < NEVER:
            self.main.ready_at = self.busy_until + 14

    def start(self, side):
        if side == "cover" and not self.cover.pid:
            # It is given what the proxy has then.
            self.cover_is_new = self.main.files == "target"
        super().start(side)

    def look(self, stage):
        facts = super().look(stage)
        main = facts.main._replace(direct=bool(facts.main.pid))
        cover = self._reshape(facts.cover) if self.cover_is_new else facts.cover
        if self.main.files == "target":
            main = self._reshape(main)
        return facts._replace(main=main, cover=cover, reshaped=self.reshaped and stage == "begin" and self.main.files != self.files)

    def _reshape(self, side):
        if not (self.reshaped and side.live):
            return side
        return side._replace(bound=self.bound, owned=self.bound if side.owned else frozenset(), endpoints=self.endpoints)


@given(KILLS, st.sampled_from([0.3, 3.0]), st.booleans())
@settings(max_examples=150)
def test_trap_34_a_direct_proxy_is_started_when_its_name_is_free_and_its_cover_serves_until_then(kills, idle_after, reshaped):
    vm = DirectVm(kills=kills, idle_after=idle_after, reshaped=reshaped)
    state = vm.restart()
    assert (state["outcome"], state["served_by"], vm.gaps) == ("restarted", "main", 0)
    assert (vm.main.files, vm.cover.pid) == ("target", 0)
    # Not one that waited for its name.
    assert vm.main.ready_at < vm.busy_until + 5


def test_without_a_cover_it_waits_for_its_name_as_well():
    vm = DirectVm(request=dict(REQUEST, strategy="drained", ready_timeout=5.0))
    state = vm.restart()
    assert (state["outcome"], state["strategy"]) == ("restarted", "drained")
    assert state["phases"]["start"] >= DELAY
    # The time for getting ready counts from the start, so that a short one is enough.
    assert vm.gaps < DELAY + 5


def test_an_indirect_proxy_is_started_at_once():
    assert Vm().restart()["phases"]["start"] < 1


def test_another_dataplane_that_never_gets_ready_makes_way_for_the_old_one():
    vm = DirectVm(reshaped=True, target_takes=NEVER)
    state = vm.restart()
    assert (state["outcome"], state["fell_back"], vm.main.files, vm.gaps) == ("failed", True, "good", 0)


def test_without_another_dataplane_a_proxy_that_lacks_something_is_not_trusted():
    """The same change without being told: the new proxy does not listen where its cover does."""
    vm = DirectVm(reshaped=True)
    vm.look = lambda stage: DirectVm.look(vm, stage)._replace(reshaped=False)
    assert vm.restart()["fell_back"]


def side(**changes):
    found = restart_facts.Side("active", 7, 1.0, live=True, bound=BOUND, owned=BOUND, endpoints=ENDPOINTS)
    return found._replace(certificates=Certificates(frozenset({"spiffe://default/web"}), 0))._replace(**changes)


LACKS = [
    ({"bound": OTHER, "owned": OTHER}, ""),
    ({"endpoints": {"cache": frozenset()}}, ""),
    ({"certificates": Certificates(frozenset({"spiffe://default/other"}), 0)}, ""),
    ({"bound": OTHER}, "it does not listen on 10.0.0.11:8081"),
    ({"endpoints": {"web": frozenset()}}, "its endpoints of web are none, expected 10.0.0.12:8080"),
    ({"certificates": Certificates(frozenset(), 0)}, "it has no certificate"),
    ({"certificates": Certificates(frozenset({"x"}), 1)}, "1 of its certificates are expired"),
    ({"live": False}, "it has no configuration yet"),
]


@pytest.mark.parametrize(("changes", "expected"), LACKS)
def test_of_two_dataplanes_only_what_both_have_is_compared(changes, expected):
    assert restart_facts.lacks(side(**changes), side(), reshaped=True) == ([expected] if expected else [])


@pytest.fixture
def machine(tmp_path):
    for directory in ("env", "dataplanes"):
        (tmp_path / directory).mkdir()
    paths = files.Paths("web-1", config_dir=str(tmp_path))
    (tmp_path / "dataplanes/web-1.yaml").write_text("type: Dataplane")
    os.utime(tmp_path / "dataplanes/web-1.yaml", (500, 500))
    return restart_vm.Vm(paths, "nobody", lambda command: (0, "", ""))


@pytest.mark.parametrize(
    ("environment", "main", "expected"),
    [
        ('KUMA_DATAPLANE_NAME="web-1"\n', {"direct": True, "started": 100.0}, False),
        ('KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH="x"\n', {"direct": True, "started": 600.0}, False),
        ('KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH="x"\n', {"direct": True, "started": 400.0}, True),
        ('KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH="x"\n', {"direct": False, "started": 600.0}, True),
    ],
)
def test_the_vm_tells_whether_a_proxy_comes_back_with_another_dataplane(machine, environment, main, expected):
    with open(machine.paths.environment, "w", encoding="utf-8") as handle:
        handle.write(environment)
    assert machine._reshaped(side(**main)) is expected


def test_the_waiting_time_is_longer_than_what_the_control_plane_takes():
    assert DELAY < steps.NAME_FREE < steps.NAME_BUSY
