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


def ignored(patterns, path):
    """Whether Docker leaves a file out: each pattern is rooted, and means what is below, too; a later one wins."""
    result = False
    parts = path.split("/")
    for pattern in patterns:
        wanted = pattern.lstrip("!").strip("/")
        expression = re.escape(wanted).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        if any(re.fullmatch(expression, "/".join(parts[:count])) for count in range(1, len(parts) + 1)):
            result = not pattern.startswith("!")
    return result


def copied(project):
    """What the project's image has in /srv, as its COPY lines say."""
    patterns = [line for line in (project / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    files = [str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()]
    found = set()
    for sources, target in re.findall(r"^COPY (?:--\S+ )*(.+) (\S+)$", (project / "Dockerfile").read_text(), re.MULTILINE):
        assert target == "/srv/"
        for source in sources.split():
            # A folder's content, not the folder.
            found |= {file for file in files if source == "." or file.startswith(source.rstrip("/") + "/") or pathlib.PurePath(file).match(source) and "/" not in file}
    return {file for file in found if not ignored(patterns, file)}


def test_a_projects_image_has_all_of_the_service(project):
    wanted = {
        "main.lua", "other.lua", "lib/prices.lua", "lib/deep/er.lua", "lua_modules/share/lua/5.4/inspect.lua", "public/index.html",
        "public/a/b.css", "config/log_config.json", "panini.json", "templates/mail.txt", "public/.well-known/x",
    }  # fmt: skip
    unwanted = {
        "main_test.lua", "lib/prices_test.lua", "tests/all_test.lua", "tests/fixture.json", "logs/app.log", ".git/HEAD", ".env", ".env.local",
        "service.creds", "keys/service.nk", "Dockerfile", "docker-compose.yml", "docker-compose.override.yml", ".dockerignore", "panini.d.lua",
        ".luarc.json", "README.md", ".gitignore",
    }  # fmt: skip
    for name in wanted | unwanted:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text("")
    assert copied(project) == wanted


def test_what_is_copied_runs(project, tmp_path):
    """The folder as the image has it is the whole service."""
    (project / "lib").mkdir()
    (project / "lib" / "greeting.lua").write_text("return { hello = function(name) return 'Hello, ' .. name end }\n")
    script = project / "main.lua"
    script.write_text('local greeting = require "lib.greeting"\n' + script.read_text())
    image = tmp_path / "srv"
    for name in copied(project):
        (image / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / name, image / name)
    result = panini("check", "main.lua", cwd=image)
    assert result.returncode == 0, result.stderr


def test_a_published_port_leads_to_the_web_server(project):
    """127.0.0.1 in a container is the container's own: all that makes containers opens it, and the documentation says so."""
    assert re.search(r"^ENV .*\bPANINI_WEB_HOST=0\.0\.0\.0$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for path in [*COMPOSE, project / "docker-compose.yml"]:
        for service in yaml.safe_load(path.read_text())["services"].values():
            if "build" in service:
                assert service["environment"]["PANINI_WEB_HOST"] == "0.0.0.0", path
    text = (ROOT / "docs" / "deployment.md").read_text()
    assert "web_host" in text and "PANINI_WEB_HOST" in text and "stop_grace_period" in text


def test_the_variable_of_the_image_opens_the_web_server(start, nats_server):
    running = start(nats_server.url, 'app.http.get("/", function() return "x" end)', options="web_server = true, web_port = 0", env={"PANINI_WEB_HOST": "0.0.0.0"})
    running.wait_for(r"web server on http://0\.0\.0\.0:\d+")


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
            # Longer than shutdown_timeout, which is 30 s.
            assert int(re.fullmatch(r"(\d+)s", service["stop_grace_period"])[1]) > 30, name
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
