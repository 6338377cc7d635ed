"""The command in a separate process: pipes, signals and terminals."""

import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import harken
from cli_processes import HARKEN
from support import PATIENCE, eventually

# Unbuffered, Python writes only a part of the output to a pipe that is closed meanwhile, without an error.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def command(tmp_path: Path, *arguments: str) -> tuple[str, ...]:
    """The command line of a command on a storage in this folder."""
    return (*HARKEN, "--storage", f"sqlite:///{tmp_path}/feedback.db", *arguments)


def rows(count: int) -> str:
    """A CSV file in which every third row repeats the previous one."""
    lines = (f"s{number % 7},up,comment {number - (number % 3 == 2)}" for number in range(count))
    return "\n".join(("session_id,rating,comment", *lines, ""))


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_says_what_to_install(missing: str) -> None:
    """Without the packages of the extra the error has the command that installs them."""
    program = (
        f"import sys; sys.modules[{missing!r}] = None\nfrom harken_adapters.hosts.cli import main; sys.exit(main())"
    )
    ran = subprocess.run([sys.executable, "-c", program, "list"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert 'pip install "harken[cli]"' in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(("target", "words"), [("run", "serve --port 8123"), ("demo", "serve --demo --port 8123")])
def test_make_passes_the_port(target: str, words: str) -> None:
    """``make run PORT=8123`` serves there; without it, the port is that of the settings."""
    root = Path(__file__).parents[3]
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PORT"}
    for arguments, expected in (["PORT=8123"], words), ([], words.removesuffix(" --port 8123")):
        command = ["make", "-C", str(root), "--just-print", target, *arguments]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        assert any(line.rstrip().endswith(expected) for line in shown.splitlines()), shown


@pytest.mark.slow
def test_suggested_commands_can_be_pasted(tmp_path: Path) -> None:
    """A program that is not on the ``PATH`` is named by its path, also in ``make demo``."""
    program = Path(sys.executable).with_name("harken")
    environment = {**ENVIRONMENT, "PATH": os.defpath}
    words = [
        str(program),
        "demo",
        "--storage",
        f"sqlite:///{tmp_path}/a folder/feedback.db",
        "--application",
        "my shop",
    ]
    (tmp_path / "a folder").mkdir()
    shown = subprocess.run(words, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path).stdout
    suggested = [line for line in shown.splitlines() if line.startswith(f"  {program} ")]
    assert len(suggested) == 7
    for line in suggested:
        subprocess.run(line, shell=True, capture_output=True, check=True, env=environment, cwd=tmp_path)
    assert (tmp_path / "feedback.csv").exists()
    module = [sys.executable, "-m", "harken", "demo", "--storage", "memory://"]
    shown = subprocess.run(module, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path).stdout
    assert shown.endswith(f"run: {sys.executable} -m harken --storage sqlite:///demo.db demo\n")


@pytest.mark.slow
def test_completion_is_installed_for_the_shell(tmp_path: Path) -> None:
    """A new shell completes the words of commands."""
    folder, environment = Path(sys.executable).parent, {**ENVIRONMENT, "HOME": str(tmp_path)}
    environment["PATH"] = f"{folder}{os.pathsep}{ENVIRONMENT['PATH']}"
    install = ["bash", "-c", "harken --install-completion && true"]
    ran = subprocess.run(install, capture_output=True, text=True, check=True, env=environment)
    assert "completion installed in" in ran.stdout
    complete = (
        'source ~/.bashrc; COMP_WORDS=(harken sta); COMP_CWORD=1; _harken_completion harken; echo "${COMPREPLY[@]}"'
    )
    ran = subprocess.run(["bash", "-c", complete], capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout == "stats\n"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("list", "--limit", "1000"), ("list", "--limit", "1000", "--json"), ("export",)])
def test_a_closed_pipe_ends_it_quietly(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """``harken ... | head`` prints no error."""
    with harken.connect(f"sqlite:///{tmp_path}/feedback.db") as hk:
        hk.collection.submit_many(
            harken.Submission(target=harken.Target("s"), rating="up", comment="x" * 900) for _ in range(1_000)
        )
    with subprocess.Popen(
        command(tmp_path, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.slow
def test_ctrl_c_ends_it_quietly(tmp_path: Path) -> None:
    """An interrupted import prints nothing, and has the exit code of SIGINT."""
    (tmp_path / "many.csv").write_text(rows(20_000))
    with subprocess.Popen(
        command(tmp_path, "import", str(tmp_path / "many.csv"), "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background process may ignore SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - there are no threads yet
    ) as process:
        _wait_for(tmp_path, 1_000)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no such terminals here")
def test_progress_goes_to_the_terminal_only(tmp_path: Path) -> None:
    """A terminal shows a progress bar on stderr; stdout has only the JSON document."""
    file = tmp_path / "old.csv"
    file.write_text(rows(3_000))
    ran, seen = _run_on_terminal(command(tmp_path, "import", str(file), "--json"))
    assert b"3,000 rows" in seen
    assert json.loads(ran.stdout)["added"] == 3_000
    urls = ("--from", f"sqlite:///{tmp_path}/feedback.db", "--to", f"sqlite:///{tmp_path}/copy.db")
    ran, seen = _run_on_terminal((*HARKEN, "copy", *urls, "--rejected", str(tmp_path / "rejected.jsonl"), "--json"))
    assert b"3,000 feedback" in seen
    assert json.loads(ran.stdout)["feedback"]["added"] == 3_000


def _run_on_terminal(words: tuple[str, ...]) -> tuple[Any, bytes]:
    """Run a command with stderr on a terminal. Returns the result and the terminal output."""
    ours, theirs = os.openpty()
    environment = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "100"}
    seen: list[bytes] = []

    def read() -> None:
        # While the command runs, as a terminal buffers only a few thousand bytes. Linux raises OSError at the end.
        with suppress(OSError):
            while part := os.read(ours, 100_000):
                seen.append(part)

    reader = Thread(target=read, daemon=True)
    reader.start()
    ran = subprocess.run(words, stdout=subprocess.PIPE, stderr=theirs, text=True, check=True, env=environment)
    os.close(theirs)
    reader.join(PATIENCE)
    assert not reader.is_alive()
    os.close(ours)
    return ran, b"".join(seen)


def _wait_for(tmp_path: Path, total: int) -> None:
    """Wait until an import has stored this number of rows."""
    with harken.connect(f"sqlite:///{tmp_path}/feedback.db") as hk:
        eventually(lambda: hk.summary().total >= total)


@pytest.mark.slow
def test_the_command_needs_no_package_of_the_service(tmp_path: Path) -> None:
    """With only the extra ``cli``, every command except ``serve`` works."""
    program = (
        "import sys\n"
        "for name in ('jwt', 'fastapi', 'starlette', 'uvicorn', 'limits', 'structlog', 'prometheus_client', 'flask', "
        "'django'): sys.modules[name] = None\n"
        "from harken_adapters.hosts.cli import main\nmain()"
    )
    words = [sys.executable, "-c", program, "--storage", "memory://", "stats"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")


# --- Streams that are closed, or a full disk ------------------------------------------------

CLOSED, FULL = "standard output is closed", "No space left on device"


def run_in_shell(tmp_path: Path, arguments: str, streams: str, **environment: str) -> tuple[int, str]:
    """Run a command with redirected streams. Returns its exit code and stderr."""
    ran = subprocess.run(
        f"{shlex.join(command(tmp_path, *shlex.split(arguments)))} {streams}",
        shell=True,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, **environment},
        timeout=PATIENCE,
        check=False,
    )
    return ran.returncode, ran.stderr


def comments(tmp_path: Path) -> list[str]:
    """The stored comments."""
    with harken.connect(f"sqlite:///{tmp_path}/feedback.db") as hk:
        return [one.comment for one in hk.collection.stream(hk.query())]


@pytest.mark.slow
@pytest.mark.parametrize(("streams", "reason"), [(">&-", CLOSED), (">/dev/full", FULL)])
def test_a_submission_is_stored_without_output(tmp_path: Path, streams: str, reason: str) -> None:
    """If the receipt cannot be written, the feedback is stored and the exit code is 1."""
    expected = (1, f"Error: The output could not be written: {reason}\n")
    assert run_in_shell(tmp_path, "submit s up hello", streams) == expected
    assert comments(tmp_path) == ["hello"]
    assert run_in_shell(tmp_path, "list", streams) == expected
    code, stderr = run_in_shell(tmp_path, "list --json", streams)
    assert (code, json.loads(stderr)["message"]) == (1, f"The output could not be written: {reason}")
    code, stderr = run_in_shell(tmp_path, "export", streams)
    assert (code, stderr.splitlines()[-1]) == (1, f"Error: The output could not be written: {reason}")


@pytest.mark.slow
def test_output_without_a_buffer(tmp_path: Path) -> None:
    """As in many containers: each write fails at once."""
    expected = (1, f"Error: The output could not be written: {FULL}\n")
    assert run_in_shell(tmp_path, "submit s up hello", ">/dev/full", PYTHONUNBUFFERED="1") == expected


@pytest.mark.slow
@pytest.mark.parametrize("streams", [">&-", ">/dev/full"])
def test_another_error_is_printed_once(tmp_path: Path, streams: str) -> None:
    """Its exit code and message do not depend on stdout."""
    (tmp_path / "feedback.db").write_bytes(b"not a database at all, really not" * 99)
    code, stderr = run_in_shell(tmp_path, "list", streams)
    assert (code, stderr.count("Error: "), stderr.count("\n")) == (5, 1, 1)


@pytest.mark.slow
def test_other_streams_may_be_closed_too(tmp_path: Path) -> None:
    """Without stderr the exit code is the same; without stdin no question is answered with yes."""
    with harken.connect(f"sqlite:///{tmp_path}/feedback.db"):
        pass
    assert run_in_shell(tmp_path, "show x", "2>&-") == (4, "")
    assert run_in_shell(tmp_path, "show x --json", ">&- 2>&- <&-") == (4, "")
    assert run_in_shell(tmp_path, "import - --format csv", "<&-") == (2, "Error: Cannot read stdin: it is closed\n")
