# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of one and of several lines on their way through whole playbooks, some of which fail: they are found where they belong and nowhere else.

All is searched that Ansible says with -vvv and --diff, that callbacks get, that modules log, and that is left on the VM and the controller.
Real proxies, restarts and processes are the matter of tests/fleet.
"""

from __future__ import annotations

import base64
import contextlib
import json
import pathlib
import threading

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from tests.integration.machine import Machine
from tests.lab import canary, certificates
from tests.unit.http_server import Answer, Server
from tests.unit.roll.mesh import Proxy
from tests.unit.vm.archives import member, pack, release

ROOT = pathlib.Path(__file__).parents[2]
USER = "canary-user:canary-of-the-mirror"
# What the VM has no Envoy for: whether a cover is possible, and a restart. The proxy that is restarted is one of the test.
RESTARTS = """\
import os, time
from ansible.plugins.callback import CallbackBase
from ansible_collections.meshfleet.kuma.plugins.action import rollout
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import done
from tests.unit.roll.mesh import restarted

execute, roll = rollout.ActionModule._execute_module, done.Done.roll


def restart(self, module_name=None, module_args=None, task_vars=None, **more):
    if module_args.get("until", "done") != "done":
        return execute(self, module_name=module_name, module_args=module_args, task_vars=task_vars, **more)
    path = os.environ["RESTARTS"]
    open(path, "w").close()
    while os.path.exists(path):
        time.sleep(0.05)
    return restarted("vm-1")


rollout.ActionModule._execute_module = restart
done.Done.roll = lambda self, *given: [{**each, "possible": True, "reasons": []} for each in roll(self, *given)]


class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_NAME = 2.0, "restarts"
"""
# The one of so many modules gets an argument that it does not know, as if collection and VM were of different releases: it refuses and shows all.
BREAKS = """\
import os, pathlib
from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

execute = ActionBase._execute_module


def breaking(self, module_name=None, module_args=None, task_vars=None, **more):
    path = pathlib.Path(os.environ["BREAKS"])
    left = int(path.read_text()) - 1
    path.write_text(str(left))
    if left == 0:
        module_args = {**(self._task.args if module_args is None else module_args), "aaa_of_another_release": True}
    return execute(self, module_name=module_name, module_args=module_args, task_vars=task_vars, **more)


ActionBase._execute_module = breaking


class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_NAME = 2.0, "breaks"
"""


class Runs:
    """Playbooks against one VM, and what was found of each: ``{label: {place: bytes}}``."""

    def __init__(self, ansible_playbook, directory, machine, variables, group):
        self.ansible_playbook, self.directory, self.machine = ansible_playbook, directory, machine
        self.variables, self.group, self.found = variables, group, {}
        (directory / "callbacks").mkdir()
        (directory / "callbacks/breaks.py").write_text(BREAKS)
        (directory / "callbacks/restarts.py").write_text(RESTARTS)

    def break_each(self, name):
        """Run a playbook so often that each of its modules fails once, and then the whole of it. Returns the labels of these runs."""
        labels = []
        while True:
            labels.append(f"{name} {len(labels) + 1}")
            # There is something to do for each.
            settings = {**canary.SETTINGS, "AAA_ROUND": f"canary-of-round-{len(labels)}"}
            self.play(labels[-1], name, None, breaks=len(labels), kuma_dp_environment=settings)
            if int((self.directory / "breaks").read_text()) > 0:
                return labels

    def play(self, label, name, expected, breaks=0, **variables):
        inventory, told = self.directory / "inventory.json", self.directory / "told"
        inventory.write_text(json.dumps({self.group: {"hosts": {"vm-1": {**self.variables, **variables}}}}))
        told.write_text("")
        (self.directory / "breaks").write_text(str(breaks))
        self.machine.journal_path.write_text("")
        environment = {
            "ANSIBLE_CALLBACK_PLUGINS": f"{ROOT / 'tests/lab/callback_plugins'}:{self.directory / 'callbacks'}",
            "ANSIBLE_CALLBACKS_ENABLED": "lab_everything",
            "LAB_EVERYTHING": str(told),
            "BREAKS": str(self.directory / "breaks"),
            "RESTARTS": str(self.directory / "restart"),
        }
        playbook = ROOT / f"playbooks/{name}.yml"
        run = self.ansible_playbook("-i", inventory, playbook, *canary.LOUD, environment=environment, cwd=self.directory)
        said = run.stdout + run.stderr
        if expected is not None:
            assert (run.returncode != 0) == bool(expected), said
            assert expected in " ".join(said.split()), said[-3000:]
        self.found[label] = {"output": said.encode(), "callback": told.read_bytes(), "journal": self.machine.journal_path.read_bytes()}
        for path, file in self.machine.files().items():
            self.found[label][path] = file.read_bytes()
        kept = [path for path in (self.directory / "controller").rglob("*") if path.is_file()]
        self.found[label]["controller"] = b"\n".join(path.read_bytes() for path in kept if path.name != "admin-token")
        return run


@contextlib.contextmanager
def connected(machine, control_plane, directory):
    """Connects the proxy while its unit is active and has a token, and again when it is to be restarted."""
    with contextlib.closing(Client(control_plane.url, control_plane.token)) as admin:
        port = admin.get("/config").body["dpServer"]["port"]
    stop, wanted, proxies = threading.Event(), threading.Event(), []

    def connect():
        token = (machine.directory / "etc/kuma/tokens/vm-1").read_text()
        proxies.append(Proxy(("127.0.0.1", port), "vm-1", "default", token, "2.14.3"))

    def watch():
        while not stop.wait(0.05):
            active = wanted.is_set() and "kuma-dp@vm-1.service" in machine.active()
            if proxies and (not active or (directory / "restart").exists()):
                proxies.pop().close()
            if active and not proxies:
                connect()
            (directory / "restart").unlink(missing_ok=True)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield wanted
    finally:
        stop.set()
        thread.join()
        for proxy in proxies:
            proxy.close()


@pytest.fixture(scope="module")
def proxies(control_plane, ansible_playbook, tmp_path_factory):
    """A VM that joins, is rolled under cover and leaves; what can fail on the way fails once."""
    directory = tmp_path_factory.mktemp("proxies")
    checksum = pack(directory / "kuma.tar.gz", release())
    machine = Machine(directory / "vm")
    lines = [line for value in canary.SETTINGS.values() for line in value.splitlines()]
    machine.logged.write_text("".join(f"the configuration is {text!r}\n" for text in [*canary.SETTINGS.values(), *lines]))
    with contextlib.ExitStack() as stack:
        stack.callback(machine.close)
        mirror = stack.enter_context(contextlib.closing(Server(lambda request: Answer(200, (directory / "kuma.tar.gz").read_bytes()))))
        variables = {
            **machine.variables,
            "kuma_dp_control_plane_url": control_plane.https_url,
            "kuma_dp_control_plane_dp_url": control_plane.dp_url,
            "kuma_dp_control_plane_ca": control_plane.ca_file,
            "kuma_dp_api_token": control_plane.token,
            "kuma_dp_version": "2.14.3",
            "kuma_dp_archive": mirror.url.replace("://", f"://{USER}@") + "/kuma-{version}.tar.gz",
            "kuma_dp_archive_checksum": checksum,
            "kuma_dp_archive_cache": str(directory / "controller/cache"),
            "kuma_dp_address": "10.8.3.1",
            "kuma_dp_wait_timeout": 20,
            "kuma_dp_drain_time": "2s",
            "kuma_dp_services": [{"name": "canary", "port": 8080, "service_port": 18080, "protocol": "http"}],
            "kuma_dp_roll_dir": str(directory / "controller/rolls"),
            "kuma_dp_token_ledger": str(directory / "controller/tokens.jsonl"),
            "kuma_dp_roll_soak": 0,
            "kuma_dp_roll_gate_timeout": 20,
            "kuma_dp_environment": canary.SETTINGS,
        }
        runs = Runs(ansible_playbook, directory, machine, variables, "mesh_fleet")
        wanted = stack.enter_context(connected(machine, control_plane, directory))
        with machine.failing("start"):
            runs.play("start fails", "join_mesh", "systemctl start failed for vm-1")
        runs.play("traffic fails", "join_mesh", "vm-1 is not in traffic after 1 s", kuma_dp_wait_timeout=1)
        wanted.set()
        changed = {**canary.SETTINGS, "AAA_ONE": canary.SETTINGS["AAA_ONE"] + "!", "AAA_NEW": "canary-new"}
        # From here on the controller signs by itself.
        with contextlib.closing(Client(control_plane.url, control_plane.token)) as admin:
            secret = admin.get("/meshes/default/secrets/dataplane-token-signing-key-default-1").body["data"]
        pem = base64.b64decode(secret).decode()
        runs.key = [line for line in pem.splitlines() if line and not line.startswith("-")]
        runs.variables.update(kuma_dp_token_signing_key=pem, kuma_dp_token_signing_kid="1", kuma_dp_environment=changed)
        runs.play("key refused", "join_mesh", "kuma_dp_token_signing_kid", kuma_dp_token_signing_kid="../1")
        runs.play("roll", "rolling_restart", "", kuma_dp_token_renew_before="all")
        with machine.failing("disable"):
            runs.play("stop fails", "leave_mesh", "systemctl disable failed for vm-1")
        runs.play("leave", "leave_mesh", "")
        yield runs


PROXY_RUNS = ["start fails", "traffic fails", "key refused", "roll", "stop fails", "leave"]
# Where a secret of a proxy belongs on its VM.
OWN = ("/etc/kuma/tokens/", "/etc/kuma/env/")


def elsewhere(found, texts, own):
    """``{place: texts}`` of a run, without the files below ``own``."""
    seen = {place: canary.held(data, texts) for place, data in found.items() if not place.startswith(own)}
    return {place: texts for place, texts in seen.items() if texts}


@pytest.mark.parametrize("label", PROXY_RUNS)
def test_settings_of_a_proxy_are_in_its_files_alone(proxies, label):
    assert elsewhere(proxies.found[label], [*canary.TEXTS, "canary-new", "canary-of-the-mirror"], OWN) == {}


@pytest.mark.parametrize("label", PROXY_RUNS)
def test_tokens_of_a_proxy_and_its_cover_are_in_its_files_alone_and_the_administrator_s_nowhere(proxies, control_plane, label):
    found = proxies.found[label]
    assert [place for place, data in found.items() if not place.startswith(OWN) and canary.holds_token(data)] == []
    assert elsewhere(found, [control_plane.token, control_plane.token.rpartition(".")[2]], ()) == {}


@pytest.mark.parametrize("label", PROXY_RUNS)
def test_the_key_of_the_controller_is_nowhere(proxies, label):
    assert elsewhere(proxies.found[label], proxies.key, ()) == {}


def test_the_secrets_were_there_to_be_found(proxies):
    """A search that finds nothing is worth as much as this."""
    join, roll = proxies.found["start fails"], proxies.found["roll"]
    assert canary.held(join["/etc/kuma/env/vm-1.env"], canary.TEXTS) == sorted(canary.TEXTS)
    assert canary.held(roll["/etc/kuma/env/vm-1.env"], ["canary-new"]) == ["canary-new"]
    assert canary.holds_token(join["/etc/kuma/tokens/vm-1"])
    assert canary.holds_token(roll["/etc/kuma/tokens/.vm-1.cover"])
    assert b"Lay everything down and start what is not running" in join["callback"]
    assert b"proxy_files Invoked with " in join["journal"]
    assert b"the configuration is " in proxies.found["start fails"]["output"]
    assert b"the configuration is " in proxies.found["traffic fails"]["output"]
    # The ledger knows the tokens, that of the cover included, and has none; the report and the journal of the roll are searched with it.
    for name in (b'"name": "vm-1"', b'"name": "vm-1-cover"', b"<html"):
        assert name in roll["controller"]
    # Nothing of them is left.
    assert not [path for path in proxies.found["leave"] if path.startswith("/etc/kuma")]


def test_names_are_shown_and_that_they_change(proxies):
    output = proxies.found["roll"]["output"]
    for line in (b"AAA_ONE=(hidden, changed)", b"AAA_SEVERAL=(hidden)", b"AAA_NEW=(hidden)", b"KUMA_DATAPLANE_DRAIN_TIME=2s"):
        assert line in output, line


def test_only_root_may_read_what_is_kept_beside_a_secret(proxies):
    tokens, environments = ({pathlib.PurePath(path).name for path in proxies.found["roll"] if path.startswith(own)} for own in OWN)
    assert tokens == {"vm-1", ".vm-1.started", ".vm-1.cover"}
    assert environments == {"vm-1.env", ".vm-1.started"}


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["rolling_restart", "leave_mesh"])
def test_whichever_module_fails_shows_no_secret(proxies, control_plane, name):
    labels = proxies.break_each(name)
    assert len(labels) > 3, "as many modules at least, and the whole"
    for label in labels:
        found = proxies.found[label]
        assert elsewhere(found, [*canary.TEXTS, "canary-of-round", "canary-of-the-mirror"], OWN) == {}, label
        assert [place for place, data in found.items() if not place.startswith(OWN) and canary.holds_token(data)] == [], label
        assert elsewhere(found, [control_plane.token.rpartition(".")[2]], ()) == {}, label
    for label in labels[:-1]:
        assert b"aaa_of_another_release" in proxies.found[label]["output"], label
    assert b"aaa_of_another_release" not in proxies.found[labels[-1]]["output"]


# -- a control plane


@pytest.fixture(scope="module")
def control(control_plane, ansible_playbook, tmp_path_factory):
    """A VM that gets a control plane with a key that was given and a database; its API is that of the stand-in."""
    directory = tmp_path_factory.mktemp("control")
    checksum = pack(directory / "kuma.tar.gz", [*release(), member("bin/kuma-cp", b"#!/bin/sh\n", 0o755)])
    machine = Machine(directory / "vm")
    certificate, key = (path.read_text() for path in certificates.self_signed(directory, "given", "127.0.0.1"))
    secrets = canary.ONE_LINE
    machine.logged.write_text("".join(f"connects with {text!r}\n" for text in [*secrets.values(), "canary of the database", key]))
    with contextlib.ExitStack() as stack:
        stack.callback(machine.close)
        (machine.directory / "etc/kuma-cp").mkdir()
        (machine.directory / "etc/kuma-cp/admin-token").write_text(control_plane.token)
        variables = {
            **machine.variables,
            "kuma_cp_version": "2.14.3",
            "kuma_cp_archive": str(directory / "kuma.tar.gz"),
            "kuma_cp_archive_checksum": checksum,
            "kuma_cp_names": ["127.0.0.1"],
            "kuma_cp_http_port": int(control_plane.url.rpartition(":")[2]),
            "kuma_cp_store": "postgres",
            "kuma_cp_postgres_password": "canary of the database",
            "kuma_cp_tls_cert": certificate,
            "kuma_cp_tls_key": key,
            "kuma_cp_tls_ca": certificate,
            "kuma_cp_fetch_dir": str(directory / "controller/kept"),
            "kuma_cp_environment": secrets,
        }
        runs = Runs(ansible_playbook, directory, machine, variables, "kuma_control_plane")
        runs.key = [line for line in key.splitlines() if line and not line.startswith("-")]
        runs.play("refused", "control_plane", "kuma_cp_tls_cert", kuma_cp_tls_ca=pathlib.Path(control_plane.ca_file).read_text())
        with machine.failing("restart"):
            runs.play("start fails", "control_plane", "systemctl restart failed")
        runs.play("runs", "control_plane", "")
        changed = {**secrets, "AAA_ONE": "canary-changed"}
        runs.play("changed", "control_plane", "", kuma_cp_environment=changed, kuma_cp_postgres_password="canary of another database")
        yield runs


@pytest.mark.parametrize("label", ["refused", "start fails", "runs", "changed"])
def test_secrets_of_a_control_plane_are_in_its_files_alone(control, control_plane, label):
    own = ("/etc/kuma-cp/kuma-cp.env", "/etc/kuma-cp/secrets.env", "/etc/kuma-cp/tls/given-key.pem", "/etc/kuma-cp/admin-token")
    texts = [*canary.ONE_LINE.values(), "canary-changed", "of the database", "of another database"]
    assert elsewhere(control.found[label], [*texts, *control.key], own) == {}
    assert elsewhere(control.found[label], [control_plane.token.rpartition(".")[2]], own) == {}


def test_the_secrets_of_a_control_plane_were_there_to_be_found(control):
    found = control.found["changed"]
    assert canary.held(found["/etc/kuma-cp/tls/given-key.pem"], control.key) == sorted(control.key)
    assert canary.held(found["/etc/kuma-cp/secrets.env"], ["canary of another database"])
    assert canary.held(found["/etc/kuma-cp/kuma-cp.env"], ["canary-changed", "canary-password"]) == ["canary-changed", "canary-password"]
    assert b"AAA_ONE=(hidden, changed)" in found["output"]
    assert b"connects with " in control.found["start fails"]["output"]
    assert b"proxy_files Invoked with " in found["journal"]
