# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gate consists of: which steps, in which order, beside which others, and which of their tests may be run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

# More failures than these are no accident of a busy machine.
MOST_RUN_AGAIN = 3
EVERYDAY = "not nightly"
EVERYTHING = "nightly or not nightly"
PYTEST = ("python", "-m", "pytest", "-p", "tests.gate.failed")


@dataclass(frozen=True)
class Step:
    """One command of the gate.

    `selection` is pytest's expression of markers; a step without one runs no tests of pytest. `hosts`: its tests boot hosts and build on each other
    file by file, so that whole files are run again, when nothing else runs any more; its output is shown as it comes.
    """

    name: str
    command: tuple[str, ...]
    selection: str = ""
    hosts: bool = False

    def again(self, failed: Sequence[str]) -> Step | None:
        """The step that runs these tests once more, by their node ids in the order in which they failed. None where that would only hide something."""
        if not self.selection or not 0 < len(failed) <= MOST_RUN_AGAIN:
            return None
        wanted = [name.partition("::")[0] for name in failed] if self.hosts else list(failed)
        assert all(wanted), f"pytest would run everything for an empty name: {wanted}"
        return replace(self, name=f"{self.name}-again", command=(*PYTEST, "-m", self.selection, *dict.fromkeys(wanted)))


# The fleet's tests build on each other in the order of their files. Each of these steps has hosts of its own.
FLEETS = {
    "rolls": (
        *("test_5_restart", "test_5_root", "test_6_zero", "test_7_roll", "test_8_roll_faults", "test_9_gateway"),
        *("test_9_tokens", "test_9_everything"),
    ),
    "joins": (
        *("test_1_refused", "test_2_join", "test_3_faults", "test_3_healing", "test_4_leave"),
        *("test_9_control_plane", "test_9_transparent", "test_9_rotate_ca", "test_9_zone_proxy", "test_9_direct", "test_9_canary"),
    ),
}


def tests(directory: str) -> Step:
    return Step(directory, (*PYTEST, "-m", EVERYDAY, f"tests/{directory}"), EVERYDAY)


def fleet(name: str) -> Step:
    return Step(name, (*PYTEST, "-m", EVERYDAY, *(f"tests/fleet/{file}.py" for file in FLEETS[name])), EVERYDAY, hosts=True)


def everyday() -> list[list[Step]]:
    """Two lanes for two processors. A third would take as long: tests that wait ask again and again, and clients go on sending."""
    return [
        [Step("lint", ("tests/gate/lint.sh",)), tests("unit"), tests("integration"), fleet("rolls")],
        [
            Step("package", ("tests/gate/package.sh",)),
            tests("browser"),
            Step("sanity-newest", ("tests/gate/sanity.sh", "newest")),
            tests("contract"),
            fleet("joins"),
        ],
    ]


def nightly() -> list[list[Step]]:
    """The same with every test, many more examples, and the oldest ansible-core."""

    def whole(step: Step) -> list[Step]:
        if step.name == "sanity-newest":
            return [replace(step, name="sanity-oldest", command=("tests/gate/sanity.sh", "oldest")), step]
        if not step.selection:
            return [step]
        command = tuple(EVERYTHING if part == EVERYDAY else part for part in step.command)
        return [replace(step, selection=EVERYTHING, command=command)]

    return [[found for step in lane for found in whole(step)] for lane in everyday()]
