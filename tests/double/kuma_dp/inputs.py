# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a proxy starts with: its Dataplane, its token, its programs; and what is refused before anybody is asked."""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
import urllib.parse

from .common import RELEASE, Fatal, log

INVALID = "dataplane token is invalid, in Kubernetes you must mount a serviceAccount token, in universal you must start your proxy with a generated token.: "


def escape(text):
    """As Go's template.HTMLEscape."""
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(plain, entity)
    return text


def render(template, variables):
    """
    Mustache as kuma-dp reads it: {{ x }} is escaped as HTML, {{{x}}} is not, a name that is not there is empty without a word.

    Neither {{{ x }}} with spaces nor {{& x}} finds x. Sections and the like are not understood here, and are left as they are.
    """
    out, rest = [], template
    while "{{" in rest:
        text, _open, rest = rest.partition("{{")
        out.append(text)
        tag, close, rest = rest.partition("}}}" if rest.startswith("{") else "}}")
        if not close:
            return "line 1: unmatched open tag"
        if tag.startswith("{"):
            out.append(variables.get(tag[1:], ""))
        elif tag.strip()[:1] != "!":
            out.append(escape(variables.get(tag.strip(), "")))
    return "".join([*out, rest])


def dataplane_text(settings):
    """The rendered Dataplane of a Direct proxy; empty for an Indirect one."""
    path, text = settings["dataplane_file"], settings["dataplane"]
    if path and text:
        raise Fatal("only one of --dataplane and --dataplane-file can be given")
    if path:
        try:
            if path == "-":
                text = sys.stdin.read()
            else:
                with open(path, encoding="utf-8") as file:
                    text = file.read()
        except OSError as error:
            raise Fatal("failed to read dataplane: %s" % error) from None
    if not text:
        return ""
    variables = {}
    for given in settings["dataplane_var"]:
        # Several in one, as a line of CSV.
        for pair in next(csv.reader([given])):
            name, separator, value = pair.partition("=")
            if not separator:
                raise Fatal('invalid argument "%s" for "-v, --dataplane-var" flag: %s must be formatted as key=value' % (given, pair))
            variables[name] = value
    text = render(text, variables)
    log("info", "rendered resource", resource=text)
    return text


def read_token(settings):
    """The token, without the blanks around it. Raises Fatal as the real one ends."""
    try:
        return _token(settings)
    except Fatal as error:
        log("error", "unable to get or generate dataplane token", error=str(error))
        raise


def _token(settings):
    token = settings["dataplane_token"]
    if settings["dataplane_token_file"]:
        try:
            with open(settings["dataplane_token_file"], encoding="utf-8") as file:
                token = file.read()
        except OSError as error:
            raise Fatal("%scould not read file %s: %s" % (INVALID, settings["dataplane_token_file"], error.strerror)) from None
        if not token.strip():
            raise Fatal("%stoken under file %s is empty" % (INVALID, settings["dataplane_token_file"]))
    token = token.strip()
    if "\n" in token:
        raise Fatal(INVALID + "Token shouldn't contain line breaks within the token, only at the start or end")
    if token and not re.match(r"^[\w-]+\.[\w-]+\.[\w-]+$", token):
        raise Fatal(INVALID + "not valid JWT token. Can't parse it.: token is malformed: token contains an invalid number of segments")
    return token


def validate(settings, text):
    """Everything that real kuma-dp refuses before it asks anybody."""
    found = []
    url = urllib.parse.urlsplit(settings["cp_address"])
    if url.scheme not in ("http", "https") or not url.hostname:
        found.append(".ControlPlane is not valid: .Url must be a valid absolute URI")
    if text and (settings["name"] or settings["mesh"]):
        raise Fatal(
            "--name and --mesh cannot be specified when a dataplane definition is provided, mesh and name will be read from the "
            "dataplane definition"
        )
    if not text:
        needed = ("mesh", "name") if settings["proxy_type"] == "dataplane" else ("name",)
        found += [".Dataplane is not valid: .%s must be non-empty" % key.title() for key in needed if not settings[key]]
    brings = re.search(r"^[\"{, ]*type[\": ]+(\w+)", text, re.MULTILINE)
    wanted = {"ingress": "ZoneIngress", "egress": "ZoneEgress"}.get(settings["proxy_type"], "Dataplane")
    if brings and brings.group(1) != wanted:
        raise Fatal('invalid proxy resource type "%s", expected %s' % (brings.group(1), wanted))
    if settings["proxy_type"] not in ("dataplane",) + (("ingress", "egress") if RELEASE < (3,) else ()):
        found.append('.Dataplane is not valid: .ProxyType "%s" is not supported' % settings["proxy_type"])
    if settings["drain_time"] <= 0:
        found.append(".Dataplane is not valid: .DrainTime must be positive")
    if not (0 if RELEASE < (2, 12) else 1) <= settings["readiness_port"] <= 65535:
        found.append(".Dataplane is not valid: .ReadinessPort has to be in (0, 65535] range")
    if found:
        raise Fatal("Invalid configuration: " + "; ".join(found))


def find_binary(path, what):
    """PATH, the working directory, the directory of this program: in that order."""
    here = os.path.dirname(os.path.realpath(sys.argv[0]))
    for candidate in (shutil.which(path), os.path.join(os.getcwd(), path), os.path.join(here, os.path.basename(path))):
        if candidate and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return os.path.realpath(candidate)
    raise Fatal("could not find executable for %s in any of the following paths: PATH, %s, %s" % (what, os.getcwd(), here))
