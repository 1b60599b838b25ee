# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Resources from YAML and JSON files on the controller: every document with where it is from, and every fault.

Faults never quote the files, which may hold secrets.
"""

from __future__ import annotations

import json
import math
import os
import traceback
import typing as t

YAML_IMPORT_ERROR: t.Optional[str]
try:
    import yaml
except ImportError:
    YAML_IMPORT_ERROR = traceback.format_exc()
else:
    YAML_IMPORT_ERROR = None

EXTENSIONS = (".json", ".yaml", ".yml")
_VAULT = "$ANSIBLE_VAULT;"


class Document(t.NamedTuple):
    """One resource as it was given, and where: ``mesh.yml, document 2`` or ``resources[0]``."""

    source: str
    body: t.Dict[str, t.Any]


def find(path: str) -> t.Tuple[t.List[str], t.List[str]]:
    """The files at ``path``, a file or a directory that is searched with all below it, and what is wrong with it.

    Files and directories whose names begin with a dot are left out; the order is that of the names.
    """
    if os.path.isfile(path):
        return [path], []
    if not os.path.isdir(path):
        return [], [
            "path is %s, which does not exist on the controller, expected a directory or file: a relative path counts from "
            "where Ansible was started, so write {{ playbook_dir }} in front" % path
        ]
    found: t.List[str] = []
    problems: t.List[str] = []

    def unreadable(error: OSError) -> None:
        problems.append("%s cannot be read: %s" % (error.filename, error.strerror))

    for directory, directories, names in os.walk(path, onerror=unreadable):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        found.extend(os.path.join(directory, name) for name in sorted(names) if name.endswith(EXTENSIONS) and not name.startswith("."))
    if not found and not problems:
        problems.append("path is %s, which holds no file with one of the endings %s" % (path, ", ".join(EXTENSIONS)))
    return found, problems


def read(path: str) -> t.Tuple[t.List[Document], t.List[str]]:
    """The documents of all files at ``path``, and every fault, each with its file and the number of the document."""
    files, problems = find(path)
    documents: t.List[Document] = []
    for file in files:
        try:
            with open(file, encoding="utf-8") as stream:
                text = stream.read()
        except OSError as error:
            problems.append("%s cannot be read: %s" % (file, error.strerror))
            continue
        except UnicodeDecodeError as error:
            problems.append("%s is not UTF-8: byte %d" % (file, error.start))
            continue
        label = os.path.relpath(file, path) if file != path else os.path.basename(file)
        found, faults = parse(text, label)
        documents.extend(found)
        problems.extend(faults)
    return documents, problems


def parse(text: str, source: str) -> t.Tuple[t.List[Document], t.List[str]]:
    """The documents of one text, and its faults. A document may be a list of resources; empty ones are left out."""
    if text.startswith(_VAULT):
        return [], [
            "%s is encrypted with ansible-vault: hand it over as "
            "resources: \"{{ lookup('ansible.builtin.unvault', <file>) | from_yaml_all | list }}\", or its secrets by the option secrets"
            % source
        ]
    documents: t.List[Document] = []
    problems: t.List[str] = []
    if source.endswith(".json"):
        # YAML forbids the tabs that JSON may be indented with.
        try:
            _take(json.loads(text, object_pairs_hook=_once), source, documents, problems)
        except ValueError as error:
            place = " at line %d, column %d" % (error.lineno, error.colno) if isinstance(error, json.JSONDecodeError) else ""
            problems.append("%s cannot be parsed%s: %s" % (source, place, getattr(error, "msg", str(error))))
        return documents, problems
    number = 0
    try:
        for number, value in enumerate(yaml.load_all(text, Loader=_loader()), 1):
            _take(value, "%s, document %d" % (source, number), documents, problems)
    except yaml.YAMLError as error:
        problems.append("%s, document %d cannot be parsed%s" % (source, number + 1, _reason(error)))
    return documents, problems


def given(values: t.Sequence[t.Any], option: str) -> t.Tuple[t.List[Document], t.List[str]]:
    """The resources of an option of the module, and their faults."""
    documents: t.List[Document] = []
    problems: t.List[str] = []
    for index, value in enumerate(values):
        _take(value, "%s[%d]" % (option, index), documents, problems)
    return documents, problems


def _take(value: t.Any, source: str, documents: t.List[Document], problems: t.List[str]) -> None:
    if value is None:
        return
    if isinstance(value, list):
        for index, item in enumerate(value, 1):
            if isinstance(item, list):
                problems.append("%s, item %d is a list, expected a resource" % (source, index))
            else:
                _take(item, "%s, item %d" % (source, index), documents, problems)
        return
    if not isinstance(value, dict):
        problems.append("%s is a %s, expected a resource with type, name and its fields" % (source, type(value).__name__))
        return
    faults = list(_unusual(value, ""))
    problems.extend("%s: %s" % (source, fault) for fault in faults)
    if not faults:
        documents.append(Document(source, value))


def _unusual(value: t.Any, field: str) -> t.Iterator[str]:
    """What JSON cannot say."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield "%s has a key that is a %s, expected text: put it in quotes" % (field or "the document", type(key).__name__)
            else:
                yield from _unusual(item, "%s.%s" % (field, key) if field else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unusual(item, "%s[%d]" % (field, index))
    elif isinstance(value, float) and not math.isfinite(value):
        yield "%s is not a finite number" % field
    elif not (value is None or isinstance(value, (str, bool, int, float))):
        yield "%s is a %s, expected text: put it in quotes" % (field, type(value).__name__)


def _once(pairs: t.Sequence[t.Tuple[str, t.Any]]) -> t.Dict[str, t.Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)


def _reason(error: t.Any) -> str:
    # Not str(error): it quotes the line.
    mark = getattr(error, "problem_mark", None)
    place = " at line %d, column %d" % (mark.line + 1, mark.column + 1) if mark is not None else ""
    return "%s: %s" % (place, getattr(error, "problem", None) or "it is no YAML")


def _loader() -> t.Any:
    """YAML's safe loader that refuses a key twice in one mapping: the second one would win without a word."""

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: t.Any, deep: bool = False) -> t.Any:
            seen: t.Set[str] = set()
            for key, _value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if key.value in seen:
                        raise yaml.constructor.ConstructorError(None, None, "a key is given twice", key.start_mark)
                    seen.add(key.value)
            return super().construct_mapping(node, deep=deep)

    return Loader
