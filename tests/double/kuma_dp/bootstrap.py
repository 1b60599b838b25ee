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
from .connections import connect, words_of_go

NOT_FOUND = (
    "Dataplane entity is not yet found in the Control Plane. If you are running on Kubernetes, the control plane is most likely still in the process of "
    "converting Pod to Dataplane. If it takes too long, check pod events and control plane logs to see possible cause. Retrying."
)
NOT_FETCHED = (
    "could not fetch bootstrap configuration, make sure you are not trying to connect to global-cp. retrying (this could help only if you're connecting to "
    "zone-cp)."
)
NOT_CREATED = (
    "Dataplane entity not found. If you are running on Universal please create a Dataplane entity on kuma-cp before starting kuma-dp or pass it to kuma-dp run "
    "--dataplane-file=/file. If you are running on Kubernetes, please check the kuma-cp logs to determine why the Dataplane entity could not be created by the "
    "automatic sidecar injection."
)
NO_BOOTSTRAP = (
    "There is no /bootstrap endpoint for provided CP address. Double check if the address passed to the CP has a DP Server port (5678 by default), not HTTP "
    "API (5681 by default)"
)


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
    deadline = time.monotonic() + settings["control_plane_retry_max_duration"]
    while True:
        log("info", "trying to fetch bootstrap configuration from the Control Plane", logger="dataplane", features=request["features"])
        problem = ask_bootstrap(settings, request, context)
        if isinstance(problem, dict):
            return problem
        wait = settings["control_plane_retry_backoff"]
        if time.monotonic() + wait > deadline:
            raise Fatal("Failed to fetch Envoy bootstrap config. %s" % problem)
        if problem == NOT_CREATED:
            log("info", NOT_FOUND, logger="dataplane", backoff="%gs" % wait)
        else:
            log("info", NOT_FETCHED, logger="dataplane", backoff="%gs" % wait, err=problem)
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
        # A server with TLS answers to whoever speaks without, and closes before that can be read.
        if settings["cp_address"].startswith("http:") and isinstance(error, (ConnectionResetError, http.client.HTTPException)):
            return "Unable to read the response with status code: 400. Make sure you are using https URL: connection reset by peer"
        return "request to bootstrap server failed: %s" % words_of_go(settings["cp_address"], error)
    finally:
        connection.close()
    text = body.decode("utf-8", "replace").strip()
    if answer.status == 200:
        return json.loads(body)
    if answer.status == 404 and not text:
        return NOT_CREATED
    if answer.status == 404 and text == "404: Page Not Found":
        return NO_BOOTSTRAP
    if 400 <= answer.status < 500:
        raise Fatal("Failed to fetch Envoy bootstrap config. Invalid request: %s" % text)
    return "unexpected status code: %d" % answer.status
