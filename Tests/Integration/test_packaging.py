"""Images, compose files, the systemd unit: what can be checked without the engines that run them."""

import re
import shutil
import subprocess
import sys
import pathlib

import pytest
import yaml

from harness import PATIENCE, ROOT, panini

UNIT = ROOT / "packaging" / "panini@.service"
COMPOSE = [ROOT / "docker-compose.yml", ROOT / "docker-compose.cluster.yml"]


def hadolint(path):
    program = pathlib.Path(sys.executable).with_name("hadolint")
    return subprocess.run([program, "--no-color", path], capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture
def project(tmp_path):
    assert panini("new", "demo", cwd=tmp_path).returncode == 0
    return tmp_path / "demo"


def test_the_image_has_no_faults():
    result = hadolint(ROOT / "Dockerfile")
    assert result.returncode == 0, result.stdout


def test_the_linter_finds_faults(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp && sudo ls\n")
    assert hadolint(tmp_path / "Dockerfile").returncode != 0


def test_the_image_runs_without_rights_and_stops_in_order():
    text = (ROOT / "Dockerfile").read_text()
    final = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER [1-9]\d*$", final, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in final and "HEALTHCHECK" in final
    assert 'ENTRYPOINT ["panini"]' in final
    # What the health check asks for is what the program prints.
    assert panini("ps", "--help").returncode == 0


def test_a_projects_image_is_made_of_the_programs(project):
    text = (project / "Dockerfile").read_text()
    version = re.match(r"panini (\S+)", panini("version").stdout)[1]
    assert f"FROM panini:{version}\n" in text
    assert hadolint(project / "Dockerfile").returncode == 0
    assert f"docker build -t panini:{version} ." in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("path", COMPOSE, ids=lambda p: p.name)
def test_compose_files(path):
    check_compose(yaml.safe_load(path.read_text()), path.parent)


def test_compose_file_of_a_project(project):
    content = yaml.safe_load((project / "docker-compose.yml").read_text())
    check_compose(content, project)
    assert content["services"]["service"]["deploy"]["replicas"] == 2
    assert "demo" in (project / "main.lua").read_text()


def check_compose(content, folder):
    services = content["services"]
    brokers = {name for name, service in services.items() if service.get("image") == "nats:2"}
    assert brokers
    for name, service in services.items():
        assert set(service.get("depends_on", [])) <= set(services), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            # A file of the repository, or a volume that is declared.
            assert (folder / source).exists() if source.startswith(".") else source in content["volumes"], (name, source)
        if "build" in service:
            assert service["deploy"]["replicas"] >= 2
            for address in service["environment"]["NATS_URL"].split(","):
                assert re.fullmatch(r"nats://([\w-]+):4222", address)[1] in brokers
        else:
            assert any(flag in service["command"] for flag in ("--jetstream", "-js")), name
            for route in re.findall(r"//([\w-]+):6222", " ".join(service["command"])):
                assert route in brokers or route == "0", route


def test_the_cluster_knows_all_of_its_members():
    services = yaml.safe_load(COMPOSE[1].read_text())["services"]
    brokers = {name for name in services if name.startswith("nats-")}
    assert len(brokers) == 3
    for name in brokers:
        command = services[name]["command"]
        routes = command[command.index("--routes") + 1]
        assert set(re.findall(r"//([\w-]+):6222", routes)) == brokers - {name}


def test_the_unit_is_one(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    # The program is not where it is going to be.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/panini", "/bin/true"))
    result = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    unit.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHone=yes"))
    result = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "ProtectHone" in result.stderr


def test_the_unit_says_what_the_program_does():
    text = UNIT.read_text()
    command = re.search(r"^ExecStart=/usr/local/bin/panini (\w+)", text, re.MULTILINE)[1]
    assert command == "run"
    names = panini("run", "--help").stdout + panini("ps", "--help").stdout
    for variable in re.findall(r"\b(PANINI_[A-Z_]+)=", text):
        option = variable.removeprefix("PANINI_").lower().replace("_", "-")
        assert variable in names or f"--{option}" in names, variable
    limit = int(re.search(r"TimeoutStopSec=(\d+)", text)[1])
    assert limit > 30, "shutdown_timeout is 30 s"
