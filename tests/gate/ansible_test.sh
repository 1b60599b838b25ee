#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Usage: ansible_test.sh VENV SCRATCH
# Runs the sanity tests of one ansible-core; on this machine or inside the Debian 13 root filesystem.
set -euo pipefail
venv=$1 tree=$2/ansible_collections/meshfleet/kuma
export PATH=$venv/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=$venv/home
unset ANSIBLE_COLLECTIONS_PATH PYTHONPATH

# ansible-test makes isolated environments and downloads get-pip for them from a server of its own. A script of that
# name in its cache is used instead: it runs the pip that Python's ensurepip carries.
"$venv/bin/python" - "$HOME/.ansible/test/cache" <<'PYTHON'
import importlib.util
import pathlib
import re
import sys

GET_PIP = '''
import ensurepip, pathlib, sys
# Debian keeps the wheels of ensurepip in a directory of their own.
places = [pathlib.Path(ensurepip.__file__).parent / "_bundled", pathlib.Path("/usr/share/python-wheels")]
sys.path.insert(0, str(next(wheel for place in places for wheel in place.glob("pip-*.whl"))))
from pip._internal.cli.main import main
unknown = {"--no-setuptools", "--no-wheel"}
sys.exit(main(["install"] + [argument for argument in sys.argv[1:] if argument not in unknown]))
'''
package = pathlib.Path(importlib.util.find_spec("ansible_test").submodule_search_locations[0])
source = (package / "_internal/python_requirements.py").read_text()
versions = set(re.findall(r"""\bpip=['"]([0-9.]+)['"]""", source))
if not versions:
    sys.exit("ansible_test: no pip version found in python_requirements.py")
cache = pathlib.Path(sys.argv[1])
cache.mkdir(parents=True, exist_ok=True)
for version in versions:
    (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP)
PYTHON

cd "$tree"
if compgen -G 'tests/sanity/ignore*' >/dev/null; then
  echo 'sanity: tests/sanity/ignore files are not wanted here' >&2
  exit 1
fi
ansible-test --version
exec ansible-test sanity --python default --color no
