# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VM of which only the outside is simulated: iptables, kumactl and systemd behind the commands that are run."""

from __future__ import annotations

import shlex

from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent import redirection, vm

MARK = "kuma/mesh/transparent/proxy"
FOREIGN = ["-A PREROUTING -p tcp --dport 80 -j DOCKER"]


class World:
    """``saved`` are the rules by tool, as iptables-save prints them. ``failing`` holds commands that fail, by their first words."""

    def __init__(self, root):
        self.root = str(root)
        self.saved = {"iptables": list(FOREIGN), "ip6tables": list(FOREIGN)}
        self.failing = set()
        self.missing = set()
        self.commands = []
        self.unit = {"ActiveState": "inactive", "UnitFileState": "disabled", "Job": "0"}
        self.timer = None
        self.spared_before_the_rules = None
        self.vm = vm.Vm(self.run, root=self.root, sleep=lambda seconds: None)

    def run(self, command):
        command = list(command)
        self.commands.append(command)
        if command[0] in self.missing:
            return 127, "", "No such file"
        if any(command[: len(words)] == list(words) for words in self.failing):
            return 1, "", "it does not work"
        name = command[0].rpartition("/")[2]
        handler = getattr(self, "_" + name.replace("-", "_").replace("ip6tables", "iptables"), None)
        return handler(command) if handler else (0, "", "")

    def _iptables_save(self, command):
        if "--version" in command:
            return 0, "iptables v1.8.9 (nf_tables)", ""
        rules = self.saved[command[0][: -len("-save")]]
        chains = sorted({line.split()[1] for line in rules if line.split()[1].startswith(redirection.CHAIN)})
        return (
            0,
            "# Generated\n*nat\n:PREROUTING ACCEPT [1:2]\n%s%s\nCOMMIT\n"
            % (
                "".join(":%s - [0:0]\n" % chain for chain in chains),
                "\n".join(rules),
            ),
            "",
        )

    def _iptables(self, command):
        rules = self.saved[command[0]]
        verb = next((word for word in command if word in ("-C", "-I", "-D", "-F", "-X")), "")
        spec = command[command.index(verb) + 1 :] if verb else []
        if verb == "-C":
            return 0 if any(shlex.split(line)[1:] == spec for line in rules) else 1, "", ""
        if verb == "-I":
            rules.insert(0, shlex.join(["-A", *spec]))
        elif verb == "-D":
            self.saved[command[0]] = [line for line in rules if shlex.split(line)[1:] != spec]
        elif verb == "-F":
            self.saved[command[0]] = [line for line in rules if not line.startswith("-A %s " % command[-1])]
        return 0, "", ""

    def _kumactl(self, command):
        if "--dry-run" in command:
            return 0, "\n".join(self.made(command)) + "\n", ""
        self.spared_before_the_rules = self.spared
        for tool, rules in self.saved.items():
            kept = [line for line in rules if MARK not in line and redirection.CHAIN not in line]
            self.saved[tool] = kept + (self.made(command) if command[1] == "install" else [])
        return 0, "", ""

    @staticmethod
    def made(command):
        words = command[command.index("transparent-proxy") + 1 :]
        ports = words[words.index("--exclude-inbound-ports") + 1].split(",") if "--exclude-inbound-ports" in words else []
        return [
            '-A PREROUTING -p tcp -m comment --comment "%s/redirect" -j KUMA_MESH_INBOUND' % MARK,
            *["-A KUMA_MESH_INBOUND -p tcp -m tcp --dport %s -j RETURN" % port for port in ports],
            "-A KUMA_MESH_INBOUND -p tcp -j REDIRECT --to-ports 15006",
        ]

    def _systemctl(self, command):
        verb = command[1]
        if verb == "show":
            return 0, "".join("%s=%s\n" % item for item in self.unit.items()), ""
        if vm.UNIT in command and verb in ("reload-or-restart", "start"):
            try:
                self.vm.apply()
                self.unit["ActiveState"] = "active"
            except vm.Failed:
                self.unit["ActiveState"] = "failed"
        elif vm.UNIT in command and verb in ("enable", "disable"):
            self.unit["UnitFileState"] = verb + "d"
            if "--now" in command:
                self.unit["ActiveState"] = "inactive"
        elif verb == "stop" and vm.ROLLBACK + ".timer" in command:
            self.timer = None
        return 0, "", ""

    def _systemd_run(self, command):
        self.timer = command[command.index("--timer-property=AccuracySec=500ms") + 1 :]
        return 0, "", ""

    @property
    def rules(self):
        """kumactl's own, of both families."""
        return [line for rules in self.saved.values() for line in rules if line not in FOREIGN and not _spares(line)]

    @property
    def spared(self):
        """By tool, the chains that leave connections from before alone, at their very beginning."""
        return {
            tool: [line.split()[1] for line in rules if _spares(line)] for tool, rules in self.saved.items() if any(map(_spares, rules))
        }

    def foreign_untouched(self):
        return all(FOREIGN[0] in rules for rules in self.saved.values())


def _spares(line):
    return shlex.split(line)[2:] == list(vm.SPARED)
