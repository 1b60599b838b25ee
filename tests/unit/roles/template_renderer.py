# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renders templates of a role as ansible-playbook does, in a process of its own: Ansible's controller side changes how modules behave.

Reads lines of JSON ``{template, variables, derived}``, or with ``expression`` in place of ``template``, and answers each with one of ``{text}``.
``derived`` are variables that are templates themselves.
"""

from __future__ import annotations

import json
import subprocess
import sys


class Renderer:
    """A running renderer; call it with the name of a template and the variables, or have an expression of a task evaluated."""

    def __init__(self):
        command = [sys.executable, "-m", "tests.unit.roles.template_renderer"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, template, variables):
        return self._ask({"template": template, "variables": variables})

    def evaluate(self, expression, variables, derived):
        """The value of an expression, or of a list of conditions that all have to hold."""
        if isinstance(expression, list):
            expression = " and ".join(f"({condition})" for condition in expression)
        expression = expression if "{{" in expression else "{{ %s }}" % expression
        return json.loads(self._ask({"expression": expression, "variables": variables, "derived": derived}))

    def _ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["text"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def compile_once():
    """The same few templates are rendered hundreds of times, and to compile them takes most of the time."""
    from ansible._internal._templating._jinja_bits import _TemplateCompileContext
    from jinja2 import Environment

    compiled, compile_anew = {}, Environment.compile

    def compile_or_take(environment, source, *arguments, **named):
        if not isinstance(source, str):
            return compile_anew(environment, source, *arguments, **named)
        context = _TemplateCompileContext.current(optional=True)
        # There is a lexer for each set of marks and treatments of white space.
        key = (str(source), environment.lexer, context and context.escape_backslashes, arguments, tuple(sorted(named.items())))
        if key not in compiled:
            compiled[key] = compile_anew(environment, source, *arguments, **named)
        return compiled[key]

    Environment.compile = compile_or_take


def main():
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader
    from ansible.template import Templar, trust_as_template

    def trusted(value):
        if isinstance(value, dict):
            return {key: trusted(item) for key, item in value.items()}
        if isinstance(value, list):
            return [trusted(item) for item in value]
        return trust_as_template(value) if isinstance(value, str) else value

    init_plugin_loader()
    compile_once()
    for line in sys.stdin:
        request = json.loads(line)
        derived = trusted(request.get("derived", {}))
        templar = Templar(DataLoader(), variables={**request["variables"], **derived})
        if "expression" in request:
            print(json.dumps({"text": json.dumps(templar.template(trust_as_template(request["expression"])))}), flush=True)
            continue
        lookup = "{{ lookup('ansible.builtin.template', '%s') }}" % request["template"]
        print(json.dumps({"text": str(templar.template(trust_as_template(lookup)))}), flush=True)


if __name__ == "__main__":
    main()
