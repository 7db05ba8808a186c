#!/usr/bin/env python3
"""Whether the engine takes the settings and the commands that the deployment files give it, by `lsie config check` itself.

    settings.py DOCKER     with lsie on the path
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml


def run(arguments, environment, folder):
    done = subprocess.run(["lsie", *arguments], env=environment, cwd=folder, text=True, capture_output=True)
    return None if done.returncode == 0 else f"lsie {' '.join(arguments)}: {done.stderr.strip()}"


def plain(value):
    """A value with the defaults of the variables in it."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    scratch = tempfile.mkdtemp()
    base = {name: os.environ[name] for name in ("PATH", "LSIE_CACHE")}
    made = subprocess.run([folder / "secrets.sh", scratch], text=True, capture_output=True, check=True).stdout
    tokens = re.search(r"LSIE_API_TOKENS='(.*)'", made)[1]
    checks = []
    for name, service in yaml.safe_load((folder / "compose.yaml").read_text())["services"].items():
        if not service["image"].startswith("lsie"):
            continue
        # The settings of the image come first.
        environment = base | {"LSIE_API_LISTEN": "0.0.0.0:8000", "LSIE_API_TOKENS": tokens}
        given = {key: plain(value).replace("/run/secrets", scratch) for key, value in service.get("environment", {}).items()}
        environment |= given | {"LSIE_API_TOKENS": tokens}
        checks.append((f"compose {name}", ["config", "check"], environment))
        words = [plain(word) for word in service["command"]]
        checks.append((f"compose {name}", [*words, "--help"], environment))
    settings = folder / "kubernetes/lsie.toml"
    checks.append(("kubernetes", ["--config", str(settings), "config", "check"], base | {"LSIE_API_TOKENS": tokens}))
    run_of_several = ["--config", str(settings), "run", "--process", "0", "--hosts", "hosts", "--help"]
    checks.append(("kubernetes-several", run_of_several, base | {"LSIE_API_TOKENS": tokens}))
    faults = [f"{what}: {fault}" for what, arguments, environment in checks if (fault := run(arguments, environment, scratch))]
    if faults:
        raise SystemExit("settings: " + "\n          ".join(faults))
    print(f"settings: the engine takes {len(checks)} sets of settings and commands")


if __name__ == "__main__":
    main()
