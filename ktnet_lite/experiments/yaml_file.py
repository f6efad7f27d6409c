"""YAML files that people write: small, with texts as keys, each once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from ktnet_lite.data.foreign import instead
from ktnet_lite.errors import ConfigError, shown

LARGEST = 10**6  # bytes
MOST = 10**6  # values, with every alias written out
MERGE = "tag:yaml.org,2002:merge"  # of the key <<


def read(path: Path) -> Any:
    """Read a YAML file as plain values.

    Raises
    ------
    ConfigError
        The file cannot be read, is not YAML or too large, or a key is no text or stands twice; the message says where.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} is larger than {LARGEST:,} bytes; that is no grid")
        if what := instead(path):
            raise ConfigError(f"{path} is not YAML but {what}")
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            raise ConfigError(f"{path} holds nothing but comments")
        if _weight(node, {}, loader) > MOST:
            raise ConfigError(f"{path} refers to itself, or to the same parts too often; write them out")
        return loader.construct_document(node)
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        raise ConfigError(f"{path} cannot be read as YAML: it is not UTF-8 ({error}); save it as UTF-8") from error
    except RecursionError:
        raise ConfigError(f"{path} cannot be read as YAML: it is nested too deep") from None
    except Exception as error:  # on a damaged file PyYAML raises a dozen kinds
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error


def _weight(node: yaml.Node, known: dict[int, float], loader: yaml.SafeLoader) -> float:
    """Count the values below a node, as often as aliases repeat them; check keys, and that each value can be read."""
    if id(node) not in known:
        known[id(node)] = math.inf  # until it is counted: a node below itself
        parts = node.value if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            parts = [part for entry in node.value for part in entry if part.tag != MERGE]
        elif isinstance(node, yaml.ScalarNode):
            try:
                node.value.encode()  # half a character cannot be shown
                loader.construct_object(node)
            except yaml.YAMLError:
                raise
            except Exception as error:
                raise _error(node, f"{shown(node.value)} is no value: {error}") from error
        known[id(node)] = 1 + sum(_weight(part, known, loader) for part in parts)
    return known[id(node)]


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if key.tag == MERGE:
            continue
        if key.tag != "tag:yaml.org,2002:str":
            raise _error(key, f"the key {shown(key.value)} is no text; put it in quotes")
        if key.value in seen:
            raise _error(key, f"the key {key.value!r} stands twice")
        seen.add(key.value)


def _error(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
