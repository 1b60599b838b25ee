# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rooms of the code: which package may import which, what of Ansible and of others is used where, and where its tests are."""

from __future__ import annotations

import re
import sys

import pytest

from tests.unit.gate.sources import OURS, ROOT, Sources

PURE = ("_common", "_dataplane")
REGISTERING = (*PURE, "_api", "_registration")
# What each package of module_utils and plugin_utils may import beside itself. Whoever adds an arrow says why in docs/architecture.md.
MAY_IMPORT = {
    "_common": (),
    "_api": ("_common",),
    "_dataplane": ("_common",),
    "_vm": ("_common",),
    "_restart": ("_common", "_vm"),
    "_transparent": ("_common", "_vm"),
    "_control_plane": ("_common", "_vm"),
    "_module": ("_api", "_common", "_vm"),
    "_tokens": ("_api", "_common"),
    "_registration": ("_api", *PURE),
    "_traffic": REGISTERING,
    "_join": ("_api", *PURE, "_control_plane", "_transparent"),
    "_zone": (*REGISTERING, "_join"),
    "_resources": ("_api", *PURE),
    "_migration": ("_api", *PURE, "_join", "_resources"),
    "_play": (*REGISTERING, "_join", "_tokens", "_traffic", "_vm", "_zone"),
    "_roll": (*REGISTERING, "_restart", "_tokens", "_traffic", "_zone"),
    "_in_process": ("_api", "_common", "_module"),
}
# What runs on a VM, in a module or beside it: the standard library is all that is there.
ON_A_VM = ("_common", "_control_plane", "_restart", "_transparent", "_vm")
# Who may import what is not the collection's own, beside the standard library.
FOREIGN = {
    "ansible": ("action/", "callback/", "filter/", "modules/", "module_utils/_module/", "plugin_utils/"),
    "cryptography": ("module_utils/_tokens/sign",),
    "requests": ("module_utils/_api/session",),
    "urllib3": ("module_utils/_api/session",),
    "yaml": ("module_utils/_join/lifecycle", "module_utils/_resources/documents"),
}
# Folders of tests that are not named after a package: roles and playbooks, the laboratory, the gate itself, and the guide to traps.
OTHER_TESTS = {"gate", "lab", "roles", "traps"}
DOCUMENTATION_ONLY = {"doc_fragments"}


def package_of(file):
    """``_api`` of ``module_utils/_api/client``; the directory of what is in none, such as ``modules``."""
    parts = file.split("/")
    return parts[1] if parts[0] in ("module_utils", "plugin_utils") else parts[0]


def wrong_arrows(sources, table=None):
    """A line for each import that the table does not allow."""
    may_import, found = table or MAY_IMPORT, []
    for file in sources.files:
        for other in sorted(sources.imports(file)[0]):
            own, theirs = package_of(file), package_of(other)
            # What a module is stands in it, and its action has the same name.
            if own == "action" and other == file.replace("action/", "modules/", 1):
                continue
            controller_alone = other.startswith("plugin_utils/") and file.startswith(("module_utils/", "modules/", "filter/"))
            if own in may_import:
                wrong = theirs != own and theirs not in may_import[own]
            else:
                wrong = theirs not in may_import or (theirs == "_module" and own not in ("action", "modules"))
            if wrong or controller_alone:
                found.append(f"{file} -> {other}")
    return found


def wrong_others(sources):
    """A line for each import of somebody else's code where it is not to be."""
    found = []
    for file in sources.files:
        for name in sorted(sources.imports(file)[1]):
            top = name.split(".")[0]
            if not top:
                found.append(f"{file} -> {name} (relative)")
            elif name.startswith(OURS):
                found.append(f"{file} -> {name} (not there)")
            elif top in sys.stdlib_module_names:
                continue
            elif package_of(file) in ON_A_VM or not file.startswith(FOREIGN.get(top, ())):
                found.append(f"{file} -> {name}")
    return found


def cycles(sources):
    """The files that import themselves by way of others."""
    arrows = {file: sources.imports(file)[0] for file in sources.files}
    found = []
    for file in sources.files:
        seen, left = set(), set(arrows[file])
        while left:
            one = left.pop()
            seen.add(one)
            left |= arrows[one] - seen
        if file in seen:
            found.append(file)
    return found


def test_every_file_of_module_utils_and_plugin_utils_is_in_a_package_of_the_table():
    files = [file for file in Sources().files if file.startswith(("module_utils/", "plugin_utils/"))]
    assert {package_of(file) for file in files} == set(MAY_IMPORT)
    assert [file for file in files if file.count("/") < 2 or file.endswith("/__init__")] == []


def test_arrows_point_one_way():
    assert wrong_arrows(Sources()) == []


def test_a_package_imports_only_those_that_stand_before_it():
    order = list(MAY_IMPORT)
    for package, below in MAY_IMPORT.items():
        assert set(below) <= set(order[: order.index(package)]), package


def test_no_file_imports_itself_by_way_of_others():
    assert cycles(Sources()) == []


def test_others_code_is_imported_where_it_is_needed_and_nowhere_on_a_vm():
    assert wrong_others(Sources()) == []


def importing(file):
    return f"\nfrom {OURS}{file.rpartition('/')[0].replace('/', '.')} import {file.rpartition('/')[2]}\n"


@pytest.mark.parametrize("below", sorted({package for packages in MAY_IMPORT.values() for package in packages}))
def test_an_arrow_that_is_turned_round_is_found(below):
    """With the sources as they are: no package may import one that may import it."""
    files = Sources().files
    (low, *_others) = [file for file in files if package_of(file) == below]
    for above in (package for package, packages in MAY_IMPORT.items() if below in packages):
        (high, *_others) = [file for file in files if package_of(file) == above]
        assert f"{low} -> {high}" in wrong_arrows(Sources(added={low: importing(high)})), above


@pytest.mark.parametrize(
    ("file", "line", "found"),
    [
        ("module_utils/_api/a", "from {ours}module_utils._common import b", []),
        ("module_utils/_common/b", "from {ours}module_utils._api import a", ["module_utils/_common/b -> module_utils/_api/a"]),
        (
            "module_utils/_common/b",
            "def f():\n    import {ours}module_utils._api.a as x",
            ["module_utils/_common/b -> module_utils/_api/a"],
        ),
        ("module_utils/_api/a", "from {ours}module_utils._module.c import run", ["module_utils/_api/a -> module_utils/_module/c"]),
        ("filter/d", "from {ours}module_utils._module import c", ["filter/d -> module_utils/_module/c"]),
        ("modules/e", "from {ours}module_utils._module import c", []),
        ("action/f", "from {ours}module_utils._module import c", []),
        ("modules/e", "from {ours}plugin_utils._roll import g", ["modules/e -> plugin_utils/_roll/g"]),
        ("action/f", "from {ours}plugin_utils._roll import g", []),
        ("callback/h", "from {ours}plugin_utils._roll import g", []),
        ("callback/h", "from {ours}module_utils._module import c", ["callback/h -> module_utils/_module/c"]),
        ("module_utils/_api/a", "from {ours}plugin_utils._roll import g", ["module_utils/_api/a -> plugin_utils/_roll/g"]),
        ("plugin_utils/_roll/g", "from {ours}module_utils._module import c", ["plugin_utils/_roll/g -> module_utils/_module/c"]),
        ("module_utils/_api/a", "from {ours}modules import e", ["module_utils/_api/a -> modules/e"]),
        ("action/f", "from {ours}modules import f", []),
        ("action/f", "from {ours}modules import e", ["action/f -> modules/e"]),
        ("modules/f", "from {ours}action import f", ["modules/f -> action/f"]),
    ],
)
def test_arrows_of_a_made_up_tree(tmp_path, file, line, found):
    for name in (
        "module_utils/_api/a",
        "module_utils/_common/b",
        "module_utils/_module/c",
        "filter/d",
        "modules/e",
        "modules/f",
        "action/f",
        "callback/h",
        "plugin_utils/_roll/g",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.py").write_text("import json\n" + (line.format(ours=OURS) if name == file else ""))
    assert wrong_arrows(Sources(tmp_path)) == found
    assert cycles(Sources(tmp_path)) == []


@pytest.mark.parametrize(
    ("file", "line", "allowed"),
    [
        ("module_utils/_vm/host", "import requests", False),
        ("module_utils/_vm/host", "from ansible.module_utils.basic import AnsibleModule", False),
        ("module_utils/_dataplane/fence", "from ansible.errors import AnsibleError", False),
        ("module_utils/_module/host", "from ansible.module_utils import basic", True),
        ("module_utils/_api/transport", "import requests.adapters", False),
        ("module_utils/_api/client", "import requests.adapters", False),
        ("module_utils/_api/session", "import requests.adapters", True),
        ("module_utils/_join/plan", "import yaml", False),
        ("module_utils/_vm/host", "import concurrent.futures", True),
        ("module_utils/_vm/host", "from . import files", False),
        ("module_utils/_vm/host", "from {ours}module_utils import _vm_host", False),
        ("callback/fleet", "from ansible.plugins.callback import CallbackBase", True),
        ("callback/fleet", "import yaml", False),
        ("plugin_utils/_play/variables", "from ansible.module_utils.common.yaml import yaml_load", True),
    ],
)
def test_an_import_of_others_code_is_found(file, line, allowed):
    assert (wrong_others(Sources(added={file: "\n" + line.format(ours=OURS) + "\n"})) == []) is allowed


def test_a_circle_is_found(tmp_path):
    (tmp_path / "module_utils/_api").mkdir(parents=True)
    for name, other in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")):
        (tmp_path / f"module_utils/_api/{name}.py").write_text(f"from {OURS}module_utils._api.{other} import x\n")
    assert cycles(Sources(tmp_path)) == [f"module_utils/_api/{name}" for name in "abc"]


def folder_of_tests(file):
    """The directory that has the tests of a file: ``roll/report`` for ``plugin_utils/_roll/report/page``."""
    directory = file.rpartition("/")[0]
    return "/".join(part.lstrip("_") for part in directory.split("/") if part not in ("module_utils", "plugin_utils"))


def test_every_package_has_its_tests_in_a_folder_of_its_name():
    places = {folder_of_tests(file) for file in Sources().files} - DOCUMENTATION_ONLY
    folders = {str(path.parent.relative_to(ROOT / "tests/unit")) for path in (ROOT / "tests/unit").glob("**/test_*.py")}
    assert places - folders == set()
    assert folders - places == OTHER_TESTS


def test_the_architecture_names_every_package_and_file_and_no_other():
    page = (ROOT / "docs/architecture.md").read_text()
    files = {file.split("/", 1)[1] for file in Sources().files if file.startswith(("module_utils/", "plugin_utils/"))}
    assert set(re.findall(r"`(_[a-z_]+/[a-z_/]+)\.py`", page)) == files
    assert set(re.findall(r"^\| `(_[a-z_]+)` \|", page, re.MULTILINE)) == set(MAY_IMPORT)


def test_the_architecture_says_who_may_import_whom():
    page = (ROOT / "docs/architecture.md").read_text()
    told = dict(re.findall(r"^\| `(_[a-z_]+)` \|[^|]*\|([^|]*)\|$", page, re.MULTILINE))
    assert {package: set(re.findall(r"`(_[a-z_]+)`", packages)) for package, packages in told.items()} == {
        package: set(packages) for package, packages in MAY_IMPORT.items()
    }
