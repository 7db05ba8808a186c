#!/usr/bin/env python3
"""Runs every command of the documentation, and compares what is printed with what the page says.

    LSIE_TEST_KAFKA=HOST:PORT LSIE_TEST_POSTGRES=URL tests/documented.py [WORLD...]

A command stands in a fenced block: `sh` (it must succeed), `console` (each line after `$ ` must succeed and print the lines
below it; `…` stands for anything) or `python`. tests/documented.toml says which pages share a world, which is one shell in one
empty folder, and lists each block that cannot be run, with the reason. A block that is neither run nor listed is a failure, and so
is a reason whose block is gone.

A command whose comment says "until Ctrl-C" runs beside those that follow, and is sent SIGTERM where the next page that starts an
engine, or the world, ends. A text in quotes in that comment is waited for. Addresses that a page names are replaced by those of
this run.
"""

import argparse
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLAN = ROOT / "tests/documented.toml"
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
FENCE_ANY = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
ENGINE = re.compile(r"lsie (run|demo)")
BESIDE = re.compile(r"#.*until Ctrl-C")
RUN = ("sh", "console", "python")
# The ports of the pages' own servers: the API, the ingest, a collector of traces.
SERVED = (8000, 8001, 4318)
# What an identity, a time and a number may be where a world's results are not the same each time.
FREE = [
    (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"[0-9a-f-]{36}"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", r"\d{4}-\d\d-\d\dT[0-9:.]+Z"),
    (r"\d+(?:\.\d+)?", r"\d+(?:\.\d+)?"),
]


class Failed(Exception):
    """A command that does not do what its page says."""


class Block:
    """A fenced block of a page."""

    def __init__(self, page, line, language, text):
        self.page, self.line, self.language, self.text = page, line, language, text

    def __str__(self):
        first = next((line for line in self.text.splitlines() if line.strip()), "")
        return f"{self.page}:{self.line}: {first}"

    def commands(self):
        """Each command with the output that is shown below it; none where none is shown."""
        if self.language == "python":
            return [("python3 - <<'PYTHON'\n" + self.text + "PYTHON", None)]
        if self.language == "sh":
            return [(command, None) for command in whole(self.text.splitlines())]
        found = []
        lines = self.text.splitlines()
        while lines:
            line = lines.pop(0)
            if not line.startswith("$ "):
                raise Failed(f"{self}: a line of output without a command")
            command = line[2:]
            while lines and not complete(command):
                command += "\n" + lines.pop(0)
            shown = []
            while lines and not lines[0].startswith("$ "):
                shown.append(lines.pop(0))
            found.append((command, "\n".join(shown)))
        return found


def complete(command):
    """Whether the shell would not ask for another line."""
    check = subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True)
    return check.returncode == 0 and not command.endswith("\\") and "here-document" not in check.stderr


def whole(lines):
    """The commands of a script; a line that only comments belongs to none."""
    command = ""
    for line in lines:
        if not command and (not line.strip() or line.lstrip().startswith("#")):
            continue
        command = f"{command}\n{line}" if command else line
        if complete(command):
            yield command
            command = ""
    if command:
        raise Failed(f"not a whole command: {command}")


def blocks_of(page):
    text = (ROOT / page).read_text()
    for found in FENCE.finditer(text):
        if found[1] in RUN:
            yield Block(page, text[: found.start()].count("\n") + 2, found[1], found[2])


def pattern(shown, exact):
    """What output must look like: without white space, `…` for anything, numbers free unless they are exact."""
    parts = []
    for text in re.sub(r"\s+", "", shown).split("…"):
        if exact:
            parts.append(re.escape(text))
            continue
        one = "|".join(f"({written})" for written, _ in FREE)
        at, part = 0, ""
        for found in re.finditer(one, text):
            part += re.escape(text[at : found.start()]) + FREE[found.lastindex - 1][1]
            at = found.end()
        parts.append(part + re.escape(text[at:]))
    return ".*".join(parts)


def peers(cache):
    """A Python environment with the packages that the pages' Python needs."""
    wanted = (ROOT / "tests/peers/requirements.txt").read_text()
    venv, ready = cache / "peers", cache / "peers/ready"
    if not ready.exists() or ready.read_text() != wanted:
        print("documented: installing the readers of tests/peers/requirements.txt into the cache", flush=True)
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip = [venv / "bin/pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", "--only-binary=:all:"]
        subprocess.run([*pip, "--requirement", ROOT / "tests/peers/requirements.txt"], check=True)
        ready.write_text(wanted)
    return venv


def database(server):
    """A new database on the server, so that no other test's tables are in it."""
    name = f"documented_{os.getpid()}"
    made = subprocess.run(["psql", server, "-qc", f"CREATE DATABASE {name}"], capture_output=True, text=True)
    if made.returncode != 0:
        sys.exit(f"documented: {made.stderr}\n  mend: docker/setup/packages.sh test")
    return server.rsplit("/", 1)[0] + "/" + name


def free_ports(count):
    """Ports that nobody listens on, and that the system gives to nobody who asks for any: a world's servers start minutes later."""
    first_given = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = []
    for port in random.sample(range(10_000, max(first_given, 12_000)), 1_000):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    sys.exit(f"documented: of 1000 ports not {count} are free")


class Shell:
    """One bash that keeps its variables and aliases from command to command."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.process = subprocess.Popen(
            ["bash", "--norc", "-s"], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.number = 0
        self.beside = []
        self.send("shopt -s expand_aliases; set -o pipefail; set -m")

    def send(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self, after):
        """The line that the shell itself prints once `after` is sent."""
        self.send(f'{after}\necho "::$?:$!"')
        for line in self.process.stdout:
            if line.startswith("::"):
                return line.strip()[2:].split(":")
        raise Failed("the shell is gone")

    def run(self, command):
        """Runs a command to its end: its status and output."""
        self.number += 1
        source, output = self.folder / f".{self.number}.sh", self.folder / f".{self.number}.out"
        source.write_text(command + "\n")
        status, _ = self.answer(f'. "{source}" >"{output}" 2>&1 </dev/null')
        return int(status), output.read_text(errors="replace")

    def start(self, command, awaited, limit_s):
        """Starts a command that runs on, and waits for a text in its output, or for any output."""
        self.number += 1
        source, output = self.folder / f".{self.number}.sh", self.folder / f".{self.number}.out"
        source.write_text(command + "\n")
        output.touch()
        _, group = self.answer(f'. "{source}" >"{output}" 2>&1 </dev/null &')
        self.beside.append((command, int(group), output))
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            said = output.read_text(errors="replace")
            if (awaited in said) if awaited else said.strip():
                return
            if not alive(int(group)):
                raise Failed(f"{command}\n  ended at once:\n{said}")
            time.sleep(0.1)
        raise Failed(f"{command}\n  did not say {awaited!r} within {limit_s} s:\n{said}")

    def stop_beside(self, which=lambda command: True):
        """Ends what runs on in an orderly way."""
        for command, group, output in [one for one in reversed(self.beside) if which(one[0])]:
            if not alive(group):
                raise Failed(f"{command}\n  ended by itself:\n{output.read_text(errors='replace')}")
            os.killpg(group, 15)
            until = time.monotonic() + 60
            while alive(group) and time.monotonic() < until:
                time.sleep(0.1)
                self.answer("true")
            if alive(group):
                os.killpg(group, 9)
                raise Failed(f"{command}\n  did not end within 60 s of SIGTERM")
        self.beside = [one for one in self.beside if not which(one[0])]

    def close(self):
        """Nothing of it stays, whatever it was doing."""
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, session = int(stat.parent.name), int(stat.read_text().rsplit(")", 1)[1].split()[3])
                if session == self.process.pid:
                    os.kill(pid, 9)
            except (FileNotFoundError, ProcessLookupError):
                continue
        self.process.wait(timeout=30)


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class World:
    """Pages that are run one after the other in one shell."""

    def __init__(self, plan, left_out, places):
        self.plan, self.left_out, self.places = plan, left_out, places
        self.exact = plan.get("results", "any") == "exact"

    def replaced(self, text):
        for written, here in self.places.items():
            text = text.replace(written, here)
        return text

    def environment(self, folder, cache, venv):
        environment = dict(os.environ, HOME=str(folder), LSIE_LOG="warn", NO_COLOR="1", TERM="dumb")
        environment["PATH"] = f"{folder / '.bin'}:{venv / 'bin'}:{os.environ['PATH']}"
        environment |= {"LSIE_SOURCE": str(ROOT), "LSIE_CACHE": str(cache)}
        environment["LSIE_PYTHON"] = str(cache / "lint/venv/bin/python")
        environment["LSIE_API_LISTEN"] = self.places["127.0.0.1:8000"]
        environment["LSIE_INGEST_LISTEN"] = self.places["127.0.0.1:8001"]
        environment["LSIE_LOG_ADDRESS"] = "kafka:" + self.places["127.0.0.1:9092"]
        for name, value in self.plan.get("environment", {}).items():
            environment[name] = self.replaced(value)
        return environment

    def run(self, folder, environment):
        shell = Shell(folder, environment)
        count = 0
        try:
            for command in self.plan.get("before", []):
                self.one(shell, "before", self.replaced(command), None)
            for page in self.plan["pages"]:
                for block in blocks_of(page):
                    if reason(self.left_out, block):
                        continue
                    for command, shown in block.commands():
                        self.one(shell, block, self.replaced(command), shown)
                        count += 1
            for command in self.plan.get("after", []):
                self.one(shell, "after", self.replaced(command), None)
            shell.stop_beside()
        finally:
            shell.close()
        return count

    def one(self, shell, block, command, shown):
        began = time.monotonic()
        for start, given in self.plan.get("given", {}).items():
            if command.startswith(start):
                command = f"{self.replaced(given)} {command}"
        beside = BESIDE.search(command.splitlines()[0])
        if beside:
            if ENGINE.search(command):
                shell.stop_beside(ENGINE.search)
            quoted = re.search(r'"([^"]+)"', beside.string[beside.start() :])
            shell.start(command, quoted and quoted[1], 600)
        else:
            if "after Ctrl-C" in command or command in self.plan.get("after_ctrl_c", []):
                shell.stop_beside()
            status, output = shell.run(command)
            if status != 0:
                raise Failed(f"{block}\n$ {command}\n  ended with {status}:\n{output}")
            if shown is not None and shown.strip():
                wanted, found = pattern(self.replaced(shown), self.exact), re.sub(r"\s+", "", output)
                if not re.fullmatch(wanted, found, re.DOTALL):
                    raise Failed(f"{block}\n$ {command}\n  the page says:\n{shown}\n  it printed:\n{output}")
        print(f"  ok {time.monotonic() - began:6.1f} s  {command.splitlines()[0][:110]}", flush=True)


def reason(left_out, block):
    """Why a block is not run; none if it is."""
    for entry in left_out:
        if entry["page"] == block.page and entry["has"] in block.text:
            return entry["why"]
    return None


def check_plan(plan):
    """Every block has its place, every reason its block, every page its world."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    pages = [page for page in listed.stdout.split() if any(True for _ in blocks_of(page))]
    run = [page for world in plan["world"] for page in world["pages"]]
    faults = [f"{page}: two worlds run it" for page in set(run) if run.count(page) > 1]
    faults += [f"{page}: there is no such page with commands" for page in run if page not in pages]
    left_out = plan["not_run"]
    for page in listed.stdout.split():
        bare = re.findall(r"^ {4}((?:lsie|make|docker|curl|cargo) .*)$", FENCE_ANY.sub("", (ROOT / page).read_text()), re.MULTILINE)
        faults += [f"{page}: {command}: a command outside a fenced block" for command in bare]
    for page in pages:
        for block in blocks_of(page):
            if page not in run and not reason(left_out, block):
                faults.append(f"{block}\n    is neither run nor listed in tests/documented.toml")
    for entry in left_out:
        if not any(entry["has"] in block.text for block in blocks_of(entry["page"])):
            faults.append(f"{entry['page']}: no block has {entry['has']!r}; take it off the list of those not run")
    if faults:
        sys.exit("documented: " + "\n  ".join(faults))
    return pages


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", nargs="*", help="run these alone")
    parser.add_argument("--check", action="store_true", help="check the list alone, run nothing")
    arguments = parser.parse_args()
    plan = tomllib.loads(PLAN.read_text())
    pages = check_plan(plan)
    print("not run, and why:")
    for entry in plan["not_run"]:
        print(f"  {entry['page']}: {entry['has']}: {entry['why']}")
    if arguments.check:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binary = pathlib.Path(os.environ.get("LSIE", ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release/lsie"))
    kafka, postgres = os.environ["LSIE_TEST_KAFKA"], os.environ["LSIE_TEST_POSTGRES"]
    if not binary.exists():
        sys.exit(f"documented: {binary} is missing\n  mend: make build")
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    cache = pathlib.Path(os.environ.get("LSIE_CACHE", f"{cache}/lsie"))
    venv, postgres = peers(cache), database(postgres)
    passed, failed = 0, []
    for world in plan["world"]:
        if arguments.world and world["name"] not in arguments.world:
            continue
        print(f"\nworld {world['name']}: {', '.join(world['pages'])}", flush=True)
        folder = pathlib.Path(tempfile.mkdtemp(prefix="lsie-documented."))
        (folder / ".bin").mkdir()
        (folder / ".bin/lsie").symlink_to(binary.resolve())
        places = {f"127.0.0.1:{port}": f"127.0.0.1:{free}" for port, free in zip(SERVED, free_ports(len(SERVED)))}
        places |= {
            "127.0.0.1:9092": kafka,
            "postgresql://lsie@127.0.0.1/postgres": postgres,
        }
        try:
            world = World(world, plan["not_run"], places)
            passed += world.run(folder, world.environment(folder, cache, venv))
            shutil.rmtree(folder)
        except Failed as why:
            failed.append(f"{why}\n  its folder is kept: {folder}")
            print(f"  FAILED {failed[-1]}", flush=True)
    print(f"{passed} passed, {len(failed)} failed, {len(plan['not_run'])} blocks of {len(pages)} pages not run")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
