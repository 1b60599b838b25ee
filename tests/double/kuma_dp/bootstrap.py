# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bootstrap of Envoy, from the control plane."""

from __future__ import annotations

import http.client
import json
import queue
import re
import subprocess
import time
import uuid

from .common import RELEASE, VERSION, Fatal, log
from .connections import connect


def bootstrap_request(settings, work_dir, envoy_path, token, text, pem):
    found = re.search(r"/(\d+\.\d+\.\d+)/", subprocess.run([envoy_path, "--version"], stdout=subprocess.PIPE, check=False).stdout.decode())
    features = []
    if settings["dataplane_runtime_reuse_port_enabled"] and RELEASE >= (2, 13, 7):
        features.append("feature-reuse-port")
    return {
        "mesh": settings["mesh"],
        "name": settings["name"],
        "proxyType": settings["proxy_type"],
        "dataplaneToken": token,
        "dataplaneTokenPath": settings["dataplane_token_file"],
        "dataplaneResource": text,
        "version": {
            "kumaDp": {"version": VERSION},
            "envoy": {"version": found.group(1) if found else "unknown", "kumaDpCompatible": True},
        },
        "caCert": pem,
        "workdir": work_dir,
        "features": features,
        "readinessPort": settings["readiness_port"],
        "transparentProxy": {} if not settings["transparent_proxy"] else {"enabled": True},
        "instance": str(uuid.uuid4()),
    }


def bootstrap(settings, request, context, events):
    """Asks every three seconds for five minutes; only what cannot get better ends it at once."""
    log("info", "fetching bootstrap configuration")
    deadline = time.monotonic() + settings["control_plane_retry_max_duration"]
    while True:
        problem = ask_bootstrap(settings, request, context)
        if isinstance(problem, dict):
            return problem
        wait = settings["control_plane_retry_backoff"]
        if time.monotonic() + wait > deadline:
            raise Fatal("Failed to fetch Envoy bootstrap config. %s" % problem)
        log("info", "trying to fetch bootstrap configuration from the Control Plane", backoff="%gs" % wait, err=problem)
        try:
            event, _number = events.get(timeout=wait)
            while event != "signal":
                event, _number = events.get(timeout=wait)
        except queue.Empty:
            continue
        raise Fatal("Failed to fetch Envoy bootstrap config. context canceled")


def ask_bootstrap(settings, request, context):
    connection = connect(settings["cp_address"], context, 10)
    try:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request("POST", "/bootstrap", json.dumps(request).encode(), headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return "request to bootstrap server failed: %s" % error
    finally:
        connection.close()
    text = body.decode("utf-8", "replace").strip()
    if answer.status == 200:
        return json.loads(body)
    if answer.status in (400, 422) and text:
        raise Fatal("Failed to fetch Envoy bootstrap config. %s" % text)
    if answer.status == 404 and not text:
        return (
            "dataplane entity not found. If you are running on Universal please create a Dataplane entity on kuma-cp before "
            "starting kuma-dp or pass it to kuma-dp run --dataplane-file=/file. If you are running on Kubernetes, please check "
            "the kuma-cp logs to determine why the Dataplane entity could not be created by the automatic sidecar injection."
        )
    if answer.status == 404:
        return "Invalid request for bootstrap config. Check that cp-address points to the dp-server port of the control plane: %s" % text
    return "unexpected status code: %d" % answer.status
