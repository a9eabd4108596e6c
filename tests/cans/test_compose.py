"""broker-config/compose.yaml and its image: commands that parse, paths that exist, nothing that is open."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bus.topics import STATE, Topics
from cans.__main__ import main
from cans.broker.files import render

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "broker-config"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ROLES = sorted(SERVICES.keys() - {"broker"})
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
# What a service may say here, of the Compose Specification.
KEYS = {
    *("build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image", "init", "logging"),
    *("mem_limit", "networks", "pids_limit", "ports", "read_only", "restart", "security_opt"),
    *("stop_grace_period", "tmpfs", "user", "volumes"),
}


def _settings(service: dict[str, Any]) -> dict[str, str]:
    """Return what `cans` would play with: a name and a value a line."""
    environment = {
        key: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for key, value in service["environment"].items()
    }
    result = CliRunner().invoke(main, [*service["command"], "--show-settings"], env=environment)
    assert result.exit_code == 0, result.output
    return {line.split()[0]: line.split()[1] for line in result.output.splitlines()}


def test_there_is_a_service_for_each_part_of_a_site() -> None:
    assert ROLES == ["aggregator", "dashboard", "device", "edge"]
    assert [SERVICES[role]["command"][0] for role in ROLES] == ROLES


@pytest.mark.parametrize("role", ROLES)
def test_a_command_is_one_that_cans_has_and_finds_the_broker(role: str) -> None:
    service = SERVICES[role]
    settings = _settings(service)
    assert settings["broker"] == "mqtt://broker:1883"
    assert service["depends_on"] == {"broker": {"condition": "service_healthy"}}
    if role != "dashboard":  # it keeps nothing, and does not wait for a broker
        assert settings["wait-for-broker"] == "True"
        # The folder that the image gives to its user: below another one a new volume would be root's.
        assert service["volumes"] == [f"{role}:{settings['state-dir']}"]
        assert f"WORKDIR {settings['state-dir']}\n" in DOCKERFILE


@pytest.mark.parametrize("role", ["aggregator", "device", "edge"])
def test_a_health_check_asks_for_what_the_node_says_of_itself(role: str) -> None:
    how, line = SERVICES[role]["healthcheck"]["test"]
    assert how == "CMD-SHELL"
    words = shlex.split(line)
    settings = _settings(SERVICES[role])
    topic = Topics(settings["prefix"]).of(STATE, role=role, id=settings["id"])
    assert words[words.index("-t") + 1] == topic
    assert '"state":"ready"' in words
    assert "mosquitto-clients" in DOCKERFILE


def test_the_other_health_checks() -> None:
    _, *words = SERVICES["broker"]["healthcheck"]["test"]
    assert words[words.index("-t") + 1] == Topics().filter(STATE)
    _, python, _, code = SERVICES["dashboard"]["healthcheck"]["test"]
    assert python == "python"
    compile(code, "healthcheck", "exec")
    assert f'"127.0.0.1", {_settings(SERVICES["dashboard"])["port"]},' in code


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_can_do_no_more_than_it_has_to(name: str) -> None:
    service = SERVICES[name]
    assert service.keys() <= KEYS
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["pids_limit"] > 0
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"] == "20s"
    assert service["logging"]["driver"] == "json-file"
    assert {"max-size", "max-file"} == service["logging"]["options"].keys()
    assert any(each.startswith("/tmp:") and "size=" in each for each in service["tmpfs"])
    assert service["healthcheck"]["test"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert re.fullmatch(r"[\w-]+:[\w.-]+", service["image"])
    assert not service["image"].endswith(":latest")


def test_every_named_volume_is_declared_and_used() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used - {"./compose.conf"} == set(COMPOSE["volumes"])
    assert (FOLDER / "compose.conf").is_file()


def test_its_broker_plays_with_the_lines_of_the_templates() -> None:
    def lines(text: str) -> set[str]:
        return {line for line in text.splitlines() if line and not line.startswith("#")}

    written = lines(render("dev", host="0.0.0.0", port=1883, state_dir=Path("/mosquitto/data")))
    kept = lines((FOLDER / "compose.conf").read_text())
    # A broker that root starts here is told to stay root; the container's is nobody else's from the start.
    assert kept == written - {"user root"}
    assert len(kept) > 10
    assert any(
        "compose.conf:/mosquitto/config/mosquitto.conf:ro" in each for each in SERVICES["broker"]["volumes"]
    )


def test_the_image_gets_every_package_and_nothing_else_of_this_folder() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    wanted = {*wheel["packages"], *wheel["force-include"]}
    files = {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    copied = {
        source
        for line in DOCKERFILE.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    assert copied == wanted | files
    first, *ignored = [
        line for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line[0] != "#"
    ]
    assert first == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == wanted | files
    build = SERVICES["edge"]["build"]
    assert (FOLDER / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == FOLDER / "Dockerfile"


def test_the_image_runs_as_the_user_of_the_services_with_pinned_packages() -> None:
    assert {SERVICES[role]["user"] for role in ROLES} == set(re.findall(r"(?m)^USER (.*)$", DOCKERFILE))
    assert "-c constraints.txt '.[dashboard,video]'" in DOCKERFILE
    assert 'ENTRYPOINT ["cans"]' in DOCKERFILE
