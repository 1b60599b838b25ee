# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gate consists of: which steps, in which order, beside which others, and which of their tests may be run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

# More failures than these are no accident of a busy machine.
MOST_RUN_AGAIN = 3
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


def tests(name: str, directory: str, selection: str, **options: bool) -> Step:
    return Step(name, (*PYTEST, "-m", selection, directory), selection, **options)


def everyday() -> list[list[Step]]:
    """Two lanes for two processors.

    What counts requests under load has the quieter half: its lane boots hosts when the other has long begun to wait for its own.
    """
    selection = "not nightly"
    return [
        [
            Step("lint", ("tests/gate/lint.sh",)),
            tests("unit", "tests/unit", selection),
            tests("contract", "tests/contract", selection),
            tests("integration", "tests/integration", selection),
            tests("load", "tests/fleet", f"load and {selection}", hosts=True),
        ],
        [
            Step("package", ("tests/gate/package.sh",)),
            tests("browser", "tests/browser", selection),
            Step("sanity-newest", ("tests/gate/sanity.sh", "newest")),
            tests("waits", "tests/fleet", f"not load and {selection}", hosts=True),
        ],
    ]


def nightly() -> list[list[Step]]:
    """The same with every test, many more examples, and the oldest ansible-core."""

    def whole(step: Step) -> list[Step]:
        if step.name == "sanity-newest":
            return [replace(step, name="sanity-oldest", command=("tests/gate/sanity.sh", "oldest")), step]
        if not step.selection:
            return [step]
        selection = step.selection.replace(" and not nightly", "").replace("not nightly", EVERYTHING)
        return [replace(step, selection=selection, command=(*PYTEST, "-m", selection, step.command[-1]))]

    return [[found for step in lane for found in whole(step)] for lane in everyday()]
