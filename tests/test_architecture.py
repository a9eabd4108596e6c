"""The tree is what ARCHITECTURE.md says it is."""

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bus.topics import LAB_TABLE, TABLE, Topics

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

# Reading one of these must bring neither torch nor the MQTT library along.
PURE = [
    "bus.messages",
    "bus.wire",
    "bus.statistics",
    "bus.memory",
    "bandits.federation",
    "bandits.fedlinucb",
    "device.session",
    "edge.session",
    "aggregator.session",
    "partition.pruning.dominance",
    "partition.pruning.best_map",
    "cans.__main__",
]


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_comes_from_this_checkout(package: str) -> None:
    # `bus`, `device`, `edge` exist elsewhere under the same names.
    module = importlib.import_module(package)
    assert module.__file__ is not None
    assert Path(module.__file__).parent == ROOT / package


@pytest.mark.parametrize("module", PURE)
def test_the_core_brings_neither_torch_nor_the_mqtt_library_along(module: str) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "aiomqtt", "paho", "amqtt"} & set(json.loads(done.stdout))


def test_bus_stays_a_package_without_code() -> None:
    assert (ROOT / "bus" / "__init__.py").read_text() == ""


def test_there_is_no_package_under_tests() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_every_direct_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in lines if "==" in line}
    groups = [PYPROJECT["project"]["dependencies"], *PYPROJECT["project"]["optional-dependencies"].values()]
    wanted = {spec.split(";")[0].split(">")[0].split("[")[0].strip() for group in groups for spec in group}
    assert wanted - {"cans"} == pinned - {"hatchling"}


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "docs/topics.md"])
def test_the_documents_show_the_topic_table_as_it_is(document: str) -> None:
    text = (ROOT / document).read_text()
    for topic, _ in Topics().rows():
        assert f"`{topic.template}`" in text, f"{document} does not know {topic.template}"
    if document == "docs/topics.md":
        for topic in (*TABLE, *LAB_TABLE):
            row = next(line for line in text.splitlines() if line.startswith(f"| `{topic.template}`"))
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            assert cells[1] == ", ".join(topic.writers)
            assert cells[2] == ", ".join(topic.readers)
            assert cells[3:6] == [str(topic.qos), "yes" if topic.retained else "no", topic.form.value]
            assert cells[6] == str(topic.limit_bytes)
