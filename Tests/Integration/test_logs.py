"""The log files of a service, as its operator sees them: what is where, in which form, and what happens when a disk, a
folder or a console refuses."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import threading

import nats.errors
import pytest

from harness import PATIENCE, PROGRAM, Client, NoResponders, Program, environment, panini, wait_until

KEYS = {"created", "name", "levelname", "processName", "threadName", "message", "extra"}
FILES = ["app.log", "errors.log", "inter_services_request.log", "panini.log", "test.log"]


def lines(path):
    """The records of a file; every line must be one."""
    result = []
    for line in pathlib.Path(path).read_text().splitlines():
        record = json.loads(line)
        assert set(record) in (KEYS, KEYS | {"exc_info"}), record
        result.append(record)
    return result


def messages(path):
    return [record["message"] for record in lines(path)]


def folder_of(service):
    return service.path.parent / "logs"


def answers(client):
    """Whether a service named test is there: nothing can be read from a console that is a full pipe."""
    try:
        client.request("$SRV.PING.test", timeout=1)
    except (NoResponders, nats.errors.TimeoutError):
        return False
    return True


def rotated(path):
    """The file and what it was renamed to, the oldest first."""
    parts = [p for p in path.parent.glob(path.name + "*") if p.name != path.name]
    return [*sorted(parts, key=lambda p: -int(p.suffix[1:])), path]


def complete_lines(path):
    """How many lines a file and its renamed parts have, while they are being written."""
    count = 0
    for part in rotated(path):
        try:
            count += part.read_text().count("\n")
        except FileNotFoundError:
            pass  # Renamed just now: the next look finds it.
    return count


LOGGING = """
    print("while loading", 1)
    app.listen("log", function(msg)
        app.logger.debug("a debug line")
        app.logger.info("an info line", { k = "v", n = 1, nested = { list = { 1, 2 } } })
        app.logger.warning("a warning line")
        app.logger.error("an error line")
        app.logger.exception("an exception line", { k = 2 })
        panini.get_logger("other").info("from another logger", { a = true })
        panini.get_logger("inter_services_request").info("from the requests' logger")
        panini.get_logger().info("from panini's logger")
        print("printed", msg.data.n)
        return {}
    end)
    app.listen("fail", function() error("boom") end)
"""


def test_each_record_is_where_it_belongs(service, client):
    running = service(LOGGING)
    client.ask("log", {"n": 7})
    client.request("fail", b"{}")
    running.stop()
    logs = folder_of(running)
    assert sorted(p.name for p in logs.iterdir()) == FILES
    own = messages(logs / "test.log")
    script = ["a debug line", "an info line", "a warning line", "an error line", "an exception line"]
    assert [m for m in own if m in script] == script
    assert "while loading\t1" in own and "printed\t7" in own
    # What the host says about the service is in its file and in the host's.
    failed = [m for m in own if m.startswith("handler of fail")]
    assert len(failed) == 1 and failed[0] in messages(logs / "panini.log")
    assert "from panini's logger" in messages(logs / "panini.log")
    assert "stopped" in messages(logs / "panini.log")
    assert messages(logs / "inter_services_request.log") == ["from the requests' logger"]
    assert messages(logs / "errors.log") == ["an error line", "an exception line", failed[0]]
    everything = messages(logs / "app.log")
    for name in FILES:
        assert set(messages(logs / name)) <= set(everything), name
    assert "from another logger" in everything and "from another logger" not in own
    # Nobody else's business.
    assert all(p.stat().st_mode & 0o037 == 0 for p in logs.iterdir())
    assert logs.stat().st_mode & 0o027 == 0


def test_a_line_has_the_agreed_keys(service, client):
    running = service(LOGGING)
    client.ask("log", {"n": 7})
    running.stop()
    records = {r["message"]: r for r in lines(folder_of(running) / "app.log")}
    info = records["an info line"]
    assert info["extra"] == {"k": "v", "n": 1, "nested": {"list": [1, 2]}}
    assert (info["name"], info["levelname"]) == ("test", "INFO")
    assert isinstance(info["created"], float) and info["processName"] == "panini" and info["threadName"]
    assert "exc_info" not in info
    exception = records["an exception line"]
    assert exception["extra"] == {"k": 2} and exception["levelname"] == "ERROR"
    assert "stack traceback" in exception["exc_info"] and "test.lua:" in exception["exc_info"]
    assert records["from another logger"]["name"] == "other"
    assert records["from another logger"]["extra"] == {"a": True}
    assert records["a warning line"]["extra"] == {}


def test_the_console_stays_readable_and_shows_info(service, client):
    running = service(LOGGING)
    client.ask("log", {"n": 7})
    running.stop()
    assert "an info line  k=v n=1" in running.output
    assert "a debug line" not in running.output
    assert "\x1b" not in running.output


def test_json_on_the_console_has_the_same_lines(service, client):
    running = service(LOGGING, arguments=["--json", "--log-level", "debug"])
    client.ask("log", {"n": 7})
    running.stop()
    shown = [json.loads(line) for line in running.output.splitlines()]
    in_file = lines(folder_of(running) / "app.log")
    assert [r for r in shown if r["name"] == "test"] == [r for r in in_file if r["name"] == "test"]


def test_the_folder_is_the_scripts_or_where_it_is_said(service, client, tmp_path):
    running = service("app.listen('a', function() return {} end)", options='logger_files_path = "my/files"')
    running.stop()
    assert sorted(p.name for p in (running.path.parent / "my" / "files").iterdir()) == FILES
    elsewhere = tmp_path / "elsewhere"
    running = service(
        "app.listen('b', function() return {} end)",
        options='logger_files_path = "my/files"',
        arguments=["--logger-files-path", elsewhere],
    )
    running.stop()
    assert sorted(p.name for p in elsewhere.iterdir()) == FILES
    assert not (running.path.parent / "my").exists()


@pytest.mark.parametrize("arguments", [[], ["--no-logger-required"]])
def test_without_loggers_there_are_no_files(service, client, arguments):
    running = service(
        LOGGING.replace("return {}", "return { ok = true }"),
        options="logger_required = false" if not arguments else "",
        arguments=arguments,
        files={"config/log_config.json": "not read"},
    )
    assert client.ask("log", {"n": 1}) == {"ok": True}
    running.stop()
    assert not folder_of(running).exists()
    for text in ("an error line", "printed", "from another logger"):
        assert text not in running.output


def test_check_opens_no_files(check, tmp_path):
    assert check(LOGGING).returncode == 0
    assert not (tmp_path / "logs").exists()


def test_separate_process_is_accepted(service, client):
    running = service(LOGGING, options="logger_in_separate_process = true")
    client.ask("log", {"n": 1})
    running.stop()
    assert "an info line" in messages(folder_of(running) / "test.log")


def test_rotation_keeps_ten_of_a_megabyte(service, client):
    running = service("""
        local text = ("x"):rep(9000)
        app.listen("fill", function()
            for i = 1, 100 do app.logger.error(text, { i = i }) end
            return {}
        end)
    """)
    for _ in range(15):
        client.ask("fill")
    running.stop()
    # 1500 records of 9 kB in three of the files, the errors too.
    for name in ("test.log", "app.log", "errors.log"):
        parts = rotated(folder_of(running) / name)
        assert [p.name for p in parts] == [f"{name}.{n}" for n in range(10, 0, -1)] + [name]
        assert all(p.stat().st_size <= 1_000_000 for p in parts)
        assert all(p.stat().st_size > 980_000 for p in parts[:-1])
        numbers = [r["extra"]["i"] for p in parts for r in lines(p) if r["levelname"] == "ERROR"]
        assert numbers == [n % 100 + 1 for n in range(1500 - len(numbers), 1500)]


def test_sigterm_loses_nothing(service, client):
    """All that a handler has logged before it answered, and what comes while the service stops."""
    running = service("""
        app.listen("burst", function(msg)
            for i = 1, 20000 do app.logger.debug("record", { i = i }) end
            return {}
        end)
        app.on_stop(function()
            for i = 20001, 25000 do app.logger.debug("record", { i = i }) end
        end)
    """, files={"config/log_config.json": json.dumps({
        "version": 1,
        "handlers": {"all": {"filename": "all.log", "max_bytes": "1GB"}},
        "root": {"handlers": ["all"]},
    })})
    client.ask("burst")
    running.stop()
    records = [r["extra"]["i"] for r in lines(folder_of(running) / "all.log") if r["message"] == "record"]
    assert records == list(range(1, 25001))


def test_what_ended_the_program_is_in_the_files(start, nats_server):
    running = start(nats_server.url, """
        app.on_start_task(function() app.logger.info("before the end") error("no start today") end)
    """, ready=False)
    running.expected_exit = 1
    assert running.wait() == 1
    errors = messages(folder_of(running) / "errors.log")
    assert len(errors) == 1 and "no start today" in errors[0]
    assert "before the end" in messages(folder_of(running) / "test.log")


def test_an_unwritable_folder_is_said_once(service, client, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")  # No folder can be made below a file, not even by root.
    running = service(LOGGING, options=f'logger_files_path = "{blocked}/logs"')
    for n in range(3):
        client.ask("log", {"n": n})
    running.stop()
    said = [line for line in running.output.splitlines() if "cannot write the log file" in line]
    assert len(said) == 1 and f"{blocked}/logs" in said[0] and "Not a directory" in said[0]
    assert running.output.count("an info line") == 3


def test_a_full_disk_does_not_stop_the_service(service, client):
    running = service(LOGGING)
    # They are opened in the background.
    wait_until((folder_of(running) / "test.log").exists, "the log files")
    (folder_of(running) / "test.log").unlink()
    os.symlink("/dev/full", folder_of(running) / "test.log")
    for n in range(50):
        client.ask("log", {"n": n})
    running.wait_for("cannot write the log file .*test.log: No space left on device")
    (folder_of(running) / "test.log").unlink()
    client.ask("log", {"n": 50})
    running.wait_for(r"the log files are written again; \d+ lines were not written meanwhile")
    running.stop()
    assert running.output.count("cannot write the log file") == 1
    assert messages(folder_of(running) / "app.log").count("an info line") == 51
    assert "printed\t50" in messages(folder_of(running) / "test.log")


def test_a_file_that_may_not_grow_keeps_whole_lines(nats_server, tmp_path):
    """A limit on file sizes cuts a write short, as a disk does that gets full in the middle of a line."""
    script = tmp_path / "test.lua"
    script.write_text("""
        local app = panini.app{ service_name = "test" }
        app.listen("fill", function(msg) app.logger.info(("x"):rep(777), msg.data) return {} end)
    """)

    program = Program(
        ["prlimit", "--fsize=20000", PROGRAM, "run", script, "--server", nats_server.url, "--log-level", "warning"],
        cwd=tmp_path,
        env=environment(),
    )
    try:
        wait_until((tmp_path / "logs" / "test.log").exists, "the log files")
        client = Client(nats_server.url)
        wait_until(lambda: answers(client), "the service answers")
        for n in range(60):
            client.ask("fill", {"n": n})
        client.close()
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output
    finally:
        program.kill()
    assert "File too large" in program.output
    for name in ("test.log", "app.log"):
        text = (tmp_path / "logs" / name).read_text()
        assert text.endswith("\n") and 19_000 < len(text) <= 20_000
        numbers = [r["extra"]["n"] for r in lines(tmp_path / "logs" / name) if "n" in r["extra"]]
        assert numbers == list(range(len(numbers))) and len(numbers) > 15


def test_a_console_that_nobody_reads_holds_nothing_up(nats_server, tmp_path):
    script = tmp_path / "test.lua"
    script.write_text("""
        local app = panini.app{ service_name = "test" }
        local text = ("x"):rep(1000)
        app.listen("fill", function(msg)
            for i = 1, 100 do app.logger.info(text, { n = msg.data.n }) end
            return {}
        end)
    """)
    output, theirs = os.pipe()
    process = subprocess.Popen(
        [PROGRAM, "run", script, "--server", nats_server.url, "--log-queue", "300KB"],
        cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
    )
    os.close(theirs)
    try:
        client = Client(nats_server.url)
        wait_until(lambda: answers(client), "the service answers")
        for n in range(40):
            client.ask("fill", {"n": n})
            # The files have a queue of their own and keep up.
            wait_until(lambda: complete_lines(tmp_path / "logs" / "test.log") >= 100 * (n + 1), "the files have it")
        client.close()
        # Somebody reads again.
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(os.fdopen(output, "rb")), daemon=True)
        reader.start()
        wait_until(lambda: any(b"log records: they came faster" in line for line in seen), "the report")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        reader.join(PATIENCE)
    finally:
        process.kill()
        process.wait()
    reports = [line for line in seen if b"log records: they came faster" in line]
    assert len(reports) == 1
    dropped = int(reports[0].split(b"dropped ")[1].split()[0])
    shown = sum(b"xxxx" in line for line in seen)
    assert dropped > 1000 and 0 <= dropped - (4000 - shown) <= 10


def test_a_stuck_console_does_not_keep_the_program_from_ending(nats_server, tmp_path):
    script = tmp_path / "test.lua"
    script.write_text("""
        local app = panini.app{ service_name = "test" }
        app.on_start_task(function() for i = 1, 1000 do app.logger.info(("x"):rep(1000)) end end)
        app.listen("fill", function() return {} end)
    """)
    output, theirs = os.pipe()
    process = subprocess.Popen(
        [PROGRAM, "run", script, "--server", nats_server.url],
        cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    try:
        client = Client(nats_server.url)
        wait_until(lambda: answers(client), "the service answers")
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert messages(tmp_path / "logs" / "panini.log")[-1] == "stopped"
    finally:
        process.kill()
        process.wait()
        os.close(output)


@pytest.mark.parametrize("text", ["0", "1KB", "much", "-5MB"])
def test_the_size_of_the_queue_is_checked(text, tmp_path):
    (tmp_path / "test.lua").write_text('panini.app{ service_name = "test" }')
    for result in (
        panini("run", "test.lua", "--log-queue=" + text, cwd=tmp_path),
        panini("run", "test.lua", cwd=tmp_path, env={"PANINI_LOG_QUEUE": text}),
    ):
        assert result.returncode == 2
        assert "64MB" in result.stderr and text in result.stderr


def test_secrets_are_in_no_log(start, tmp_path):
    """Neither credentials of the options nor those in addresses, at any level, connected or refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    running = start(
        f"nats://ada:hunter2hunter2@127.0.0.1:{port}",
        "app.listen('a', function() return {} end)",
        options='auth = { token = "s3cr3t-token" }',
        arguments=["--log-level", "debug", "--debug"],
        ready=False,
    )
    running.wait_for("127.0.0.1")
    running.stop(expect=(0, 1, 2))
    texts = [running.output] + [p.read_text() for p in folder_of(running).glob("*")]
    for text in texts:
        assert "hunter2" not in text and "s3cr3t" not in text


# The configuration file.

CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "text"}, "detailed": {"format": "json"}},
    "handlers": {
        "console": {"stream": "stdout", "level": "WARNING", "formatter": "text"},
        "own": {"filename": "%MS_NAME%-%CLIENT_ID%.log", "level": "INFO", "formatter": "detailed"},
        "everything": {"filename": "sub/%DATETIME%.txt", "formatter": "plain", "maxBytes": 0, "backupCount": 3},
        "audit": {"filename": "audit.log", "max_bytes": "2KB", "backup_count": 2, "class": "RotatingFileHandler"},
    },
    "loggers": {
        "test": {"level": "DEBUG", "handlers": ["own"]},
        "other": {"level": "INFO", "handlers": ["audit"], "propagate": False},
        "inter_services_request": {"level": "ERROR"},
    },
    "root": {"level": "DEBUG", "handlers": ["console", "everything"]},
}


def configured(config):
    return {"config/log_config.json": config if isinstance(config, str) else json.dumps(config)}


def test_a_configuration_file_replaces_the_default(service, client):
    running = service(LOGGING, options='client_name = "box/1"', files=configured(CONFIG))
    for n in range(30):
        client.ask("log", {"n": n})
    running.stop()
    logs = folder_of(running)
    (text,) = (logs / "sub").iterdir()
    assert text.suffix == ".txt" and text.name.startswith("20")
    names = sorted(p.name for p in logs.iterdir())
    assert names == ["audit.log", "audit.log.1", "audit.log.2", "sub", "test-box_1.log"]
    own = messages(logs / "test-box_1.log")
    assert "an info line" in own and "a debug line" not in own and "from another logger" not in own
    assert set(messages(logs / "audit.log")) == {"from another logger"}
    assert all((logs / n).stat().st_size <= 2048 for n in names if n.startswith("audit"))
    content = text.read_text()
    assert "DEBUG   test: a debug line\n" in content and "from another logger" not in content
    assert "from the requests' logger" not in content and "from panini's logger" in content
    assert "a warning line" in running.output and "an info line" not in running.output


def test_the_command_line_decides_about_the_console(service, client):
    running = service(LOGGING, files=configured(CONFIG), arguments=["--log-level", "debug"])
    client.ask("log", {"n": 1})
    running.wait_for("a debug line")
    running.wait_for("an info line")


def test_a_handler_may_name_an_absolute_file(service, client, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "all.log"
    running = service(LOGGING, files=configured({
        "version": 1, "handlers": {"h": {"filename": str(elsewhere)}}, "root": {"handlers": ["h"]},
    }))
    client.ask("log", {"n": 1})
    running.stop()
    assert "an info line" in messages(elsewhere)
    assert not folder_of(running).exists()


BAD = [
    ("{", "not valid JSON"),
    ("[1]", '"the document" must be an object'),
    ({"version": 2}, '"version" must be 1, not 2'),
    ({"handler": {}}, 'unknown key "handler"; did you mean "handlers"?'),
    ({"formatters": {"f": {"format": "%(message)s"}}}, '"formatters.f.format" must be "json" or "text"'),
    ({"handlers": {"h": {}}}, '"handlers.h" needs a "filename" or a "stream"'),
    ({"handlers": {"h": {"filename": "a", "stream": "stdout"}}}, '"handlers.h" has both'),
    ({"handlers": {"h": {"filename": "a", "levle": "INFO"}}}, 'unknown key "handlers.h.levle"; did you mean "level"?'),
    ({"handlers": {"h": {"filename": "a", "level": "LOUD"}}}, '"handlers.h.level" must be DEBUG'),
    ({"handlers": {"h": {"filename": "a", "formatter": "xml"}}}, '"handlers.h.formatter" must be'),
    ({"handlers": {"h": {"filename": "a", "max_bytes": -1}}}, '"handlers.h.max_bytes" must be a whole number'),
    ({"handlers": {"h": {"filename": "a", "backup_count": "x"}}}, '"handlers.h.backup_count" must be a whole number'),
    ({"handlers": {"h": {"stream": "nowhere"}}}, '"handlers.h.stream" must be "stdout" or "stderr"'),
    ({"handlers": {"h": {"filename": 7}}}, '"handlers.h.filename" must be a file\'s name'),
    ({"handlers": {"h": {"filename": "../a.log"}}}, "leaves the folder of the log files"),
    ({"handlers": {"h": {"filename": "a/../../b.log"}}}, "leaves the folder of the log files"),
    ({"handlers": {"h": {"filename": "%MSNAME%.log"}}}, "%MSNAME% stands for nothing"),
    (
        {"handlers": {"a": {"filename": "a"}, "b": {"filename": "a", "formatter": "text"}}},
        '"handlers.b.filename": "handlers.a" writes this file with other settings',
    ),
    ({"loggers": {"l": {"level": 10}}}, '"loggers.l.level" must be DEBUG'),
    ({"loggers": {"l": {"handlers": "h"}}}, '"loggers.l.handlers" must be a list'),
    (
        {"handlers": {"file": {"filename": "a"}}, "root": {"handlers": ["fiel"]}},
        '"root.handlers": there is no handler "fiel"; did you mean "file"?',
    ),
    ({"root": {"propagate": "yes"}}, '"root.propagate" must be true or false'),
]


@pytest.mark.parametrize(("config", "text"), BAD, ids=range(len(BAD)))
def test_a_bad_configuration_file_is_one_clear_line(config, text, check, tmp_path):
    files = configured(config)
    result = check(LOGGING, files=files)
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "config/log_config.json" in result.stderr and text in result.stderr
    assert not (tmp_path / "logs").exists()


def test_a_bad_configuration_file_ends_the_start(nats_server, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "log_config.json").write_text('{"root": {"level": "LOUD"}}')
    (tmp_path / "test.lua").write_text('local app = panini.app{ service_name = "test" }')
    result = panini("run", "test.lua", "--server", nats_server.url, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.strip() == (
        'panini: config/log_config.json: key "root.level" must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not "LOUD"'
    )
    assert not (tmp_path / "logs").exists()
