"""Real servers for the tests: a HAPI FHIR server and a PostgreSQL cluster, each started for one `with` block.

Both listen on 127.0.0.1 only, keep nothing after the block, and raise `MissingTool` with a sentence that says what to
install when this machine cannot run them.
"""

import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

HAPI = Path(__file__).parent / "hapi"
TARGET = HAPI / "target"
JAR = TARGET / "hapi-test-server.jar"
CLASSPATH = TARGET / "classpath.txt"
CLASS_ARCHIVE = TARGET / "hapi.jsa"

BUILD_SECONDS = 900
START_SECONDS = 180
STOP_SECONDS = 60


class MissingTool(RuntimeError):
    """A program that the server needs is not installed."""


class ServerFailed(RuntimeError):
    """A server could not be built, or ended or stayed silent while starting; the message ends with its output."""


@dataclass(frozen=True)
class RunningServer:
    """A FHIR server that answers requests."""

    base_url: str
    log: Path


@dataclass(frozen=True)
class RunningPostgres:
    """A PostgreSQL cluster that accepts connections; `url` is SQLAlchemy's form."""

    url: str
    log: Path

    def fresh_database(self, encoding: str = "UTF8") -> str:
        """Create an empty database and return its URL."""
        name = f"test_{uuid.uuid4().hex}"
        locale = "C.UTF-8" if encoding == "UTF8" else "C"
        with psycopg.connect(_libpq(self.url), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE '{locale}'")
        return f"{self.url.rpartition('/')[0]}/{name}"


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def start_hapi() -> Iterator[RunningServer]:
    """Run a HAPI FHIR JPA server (R4, in memory, rest-hook subscriptions on), building it first when it is stale."""
    java, classpath = hapi_java()
    port = free_port()
    base_url = f"http://127.0.0.1:{port}/fhir"
    fresh_archive = TARGET / f"hapi-{port}.jsa"
    archive = f"SharedArchiveFile={CLASS_ARCHIVE}" if _archive_is_fresh() else f"ArchiveClassesAtExit={fresh_archive}"
    command = [java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx1g", "-Xlog:disable", f"-XX:{archive}"]
    command += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classpath]
    command += ["afterdose.hapi.HapiServer", str(port)]
    with tempfile.TemporaryDirectory(prefix="hapi-") as folder:
        log = Path(folder) / "hapi.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_until(lambda: _answers(f"{base_url}/metadata"), process, log, "HAPI")
            yield RunningServer(base_url, log)
        finally:
            # HAPI ends with its standard input, so it also ends when this process is killed and never gets here.
            if process.stdin:
                process.stdin.close()
            _wait_for_end(process)
            _keep_archive(fresh_archive, process.returncode)


def hapi_java() -> tuple[str, str]:
    """The Java program and the class path of `tests/hapi`, which is built first when it is stale."""
    java = _tool("java", "HAPI needs Java 17 or later: install a JDK (Debian: openjdk-17-jdk-headless).")
    maven = _tool("mvn", "HAPI is built with Maven: install it (Debian: maven).")
    _build_hapi(maven)
    return java, f"{JAR}{os.pathsep}{CLASSPATH.read_text().strip()}"


@contextmanager
def start_postgres() -> Iterator[RunningPostgres]:
    """Run a throw-away PostgreSQL cluster with fsync on and no passwords."""
    binaries = _postgres_binaries()
    owner = _postgres_owner()
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    data, log = folder / "data", folder / "postgres.log"
    try:
        if owner:
            shutil.chown(folder, owner)
        _run_initdb(binaries / "initdb", data, owner)
        command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=on", "-c", "max_connections=200"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, **_as_user(owner), start_new_session=True
            )
        try:
            postgres = RunningPostgres(f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres", log)
            _wait_until(lambda: _accepts(postgres.url), process, log, "PostgreSQL")
            yield postgres
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: does not wait for clients
            _wait_for_end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tool(name: str, advice: str) -> str:
    found = shutil.which(name)
    if not found:
        raise MissingTool(f"The program `{name}` is not on the PATH. {advice}")
    return found


def _build_hapi(maven: str) -> None:
    TARGET.mkdir(exist_ok=True)
    with (TARGET / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes that run side by side build once
        if _hapi_is_built():
            return
        command = [maven, "--quiet", "--batch-mode", "--no-transfer-progress", "package"]
        build = subprocess.run(command, cwd=HAPI, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
        if build.returncode:
            raise ServerFailed(f"Maven could not build tests/hapi:\n{(build.stdout + build.stderr)[-4000:]}")
        JAR.touch()  # Maven leaves the jar alone when nothing in it changed


def _hapi_is_built() -> bool:
    if not (JAR.exists() and CLASSPATH.exists()):
        return False
    sources = [HAPI / "pom.xml", *(HAPI / "src").rglob("*.java")]
    newest_source = max(source.stat().st_mtime for source in sources)
    libraries = CLASSPATH.read_text().strip().split(os.pathsep)
    return JAR.stat().st_mtime >= newest_source and all(Path(library).exists() for library in libraries)


def _archive_is_fresh() -> bool:
    return CLASS_ARCHIVE.exists() and CLASS_ARCHIVE.stat().st_mtime >= JAR.stat().st_mtime


def _keep_archive(fresh_archive: Path, exit_code: int) -> None:
    """Put a class archive in its place in one step, and only when the JVM that wrote it ended in order."""
    if not fresh_archive.exists():
        return
    if exit_code == 0:
        fresh_archive.replace(CLASS_ARCHIVE)
    else:
        fresh_archive.unlink()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=START_SECONDS) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def _accepts(url: str) -> bool:
    try:
        psycopg.connect(_libpq(url), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _libpq(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _postgres_binaries() -> Path:
    """The folder with the newest `initdb` and `postgres`: Debian keeps them off the PATH, one folder a version."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    on_path = shutil.which("initdb")
    candidates = [*reversed(debian), *([Path(on_path).parent] if on_path else [])]
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise MissingTool("PostgreSQL's server programs are missing: install PostgreSQL 15 (Debian: postgresql-15).")


def _postgres_owner() -> str | None:
    """The user to run as: PostgreSQL refuses root, so root lends it the account that its package creates."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise MissingTool("PostgreSQL refuses to run as root and there is no user `postgres`: create one.") from None


def _as_user(owner: str | None) -> dict[str, Any]:
    return {"user": owner, "group": pwd.getpwnam(owner).pw_gid, "extra_groups": []} if owner else {}


def _run_initdb(initdb: Path, data: Path, owner: str | None) -> None:
    command = [str(initdb), "-D", str(data), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
    command.append("--no-sync")  # only for making the cluster; the server itself runs with fsync on
    done = subprocess.run(command, cwd=data.parent, capture_output=True, text=True, check=False, **_as_user(owner))
    if done.returncode:
        raise ServerFailed(f"initdb failed:\n{(done.stdout + done.stderr)[-4000:]}")


def _wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, name: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerFailed(f"{name} ended with {process.returncode} while starting:\n{_tail(log)}")
        if ready():
            return
        time.sleep(0.05)
    raise ServerFailed(f"{name} did not answer within {START_SECONDS} s:\n{_tail(log)}")


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]
