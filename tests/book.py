#!/usr/bin/env python3
"""Holds the pages of the documentation to each other and to the code.

    tests/book.py            says what is wrong
    tests/book.py --write    mends what is made from other files, then says what is wrong

docs/SUMMARY.md lists every page of the book by its title; every link of every page leads somewhere, and of the book's into the book; a block under
`<!-- from FILE ANCHOR -->` is what stands in that file between `ANCHOR: name` and `ANCHOR_END: name` (without an anchor: the
file), so that the code of a page is code that is compiled and tested; docs/CONFIGURATION.md is made from dataflow/lsie.toml.
"""

import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")
TAKEN = re.compile(r"^<!-- from (\S+)(?: (\S+))? -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def pages():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split() if (ROOT / name).exists()]


def anchors(page):
    """The headings of a page as GitHub and mdBook link to them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def dead_links(page):
    for target in LINK.findall(CODE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        led = (page.parent / name).resolve() if name else page
        if not led.exists():
            yield f"{target} leads nowhere"
        elif page.parent == DOCS and not led.is_relative_to(DOCS):
            yield f"{target} leads out of the book: name the file instead"
        elif anchor and led.suffix == ".md" and anchor not in anchors(led):
            yield f"{target}: that page has no such heading"


def region(file, anchor):
    text = (ROOT / file).read_text()
    if not anchor:
        return text
    found = re.search(rf"^[^\n]*ANCHOR: {anchor}\n(.*?)^[^\n]*ANCHOR_END: {anchor}$", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise SystemExit(f"book: {file} has no anchor {anchor}")
    return found[1]


def with_code(text):
    """The page with its blocks of code as they stand in their files."""

    def taken(match):
        file, anchor, language, _ = match.groups()
        mark = f"{file} {anchor}" if anchor else file
        return f"<!-- from {mark} -->\n```{language}\n{region(file, anchor)}```"

    return TAKEN.sub(taken, text)


def settings():
    """Section, name, default and comment of every setting, as the commented file of all defaults has them."""
    defaults = (ROOT / "dataflow/lsie.toml").read_text()
    values = tomllib.loads(defaults)
    section, comment, found = None, [], []
    for line in defaults.splitlines():
        if line.startswith("#"):
            comment.append(line.lstrip("# "))
        elif head := re.match(r"\[(.+)\]$", line):
            section = head[1]
            found.append((section, None, None, " ".join(comment)))
            comment = []
        elif key := re.match(r"(\w+) = ", line):
            found.append((section, key[1], values[section][key[1]], " ".join(comment)))
            comment = []
        elif not line.strip():
            comment = []
    return found


def configuration():
    out = [
        "# Configuration",
        "",
        "<!-- Made by tests/book.py --write from dataflow/lsie.toml. -->",
        "",
        "Every setting with its default. `lsie config defaults` prints them as a commented file to start from, `lsie config show` what",
        "holds, with secrets masked, and `lsie config check` reads all layers and says what is wrong.",
        "",
        "Four layers, the later one wins: the defaults; `lsie.toml` in the current folder, or the file of `--config`; the environment; flags.",
        "A setting in the environment is `LSIE_<SECTION>_<SETTING>`: `LSIE_ENGINE_WORKERS=2`. Texts are taken as they are, everything else as in the",
        "file. Unknown names are refused in both.",
    ]
    comment = None
    for section, name, default, said in settings():
        if name is None:
            out += ["", f"## `[{section}]`", ""]
            if said:
                out += [said, ""]
            comment = len(out)
            continue
        if comment == len(out):
            out += ["| setting | default | |", "|---|---|---|"]
        shown = toml(default).replace("|", "\\|")
        out.append(f"| `{name}` | `{shown}` | {said.replace('|', chr(92) + '|')} |")
    return "\n".join(out).rstrip() + "\n"


def toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return str(value)


def main():
    write = sys.argv[1:] == ["--write"]
    if sys.argv[1:] not in ([], ["--write"]):
        raise SystemExit(__doc__)
    faults = []
    made = {DOCS / "CONFIGURATION.md": configuration()}
    for page in pages():
        text = page.read_text()
        wanted = made.pop(page, None) or with_code(text)
        if wanted != text and write:
            page.write_text(wanted)
        elif wanted != text:
            faults.append(f"{page.relative_to(ROOT)} is not what its sources say: tests/book.py --write")
    for page, wanted in made.items():
        if write:
            page.write_text(wanted)
        else:
            faults.append(f"{page.relative_to(ROOT)} is missing: tests/book.py --write, and git add")
    summary = (DOCS / "SUMMARY.md").read_text()
    listed = {name: title for title, name in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", summary)}
    for page in pages():
        faults += [f"{page.relative_to(ROOT)}: {fault}" for fault in dead_links(page)]
        if page.parent == DOCS and page.name != "SUMMARY.md":
            title = page.read_text().splitlines()[0].removeprefix("# ")
            if listed.pop(page.name, None) != title:
                faults.append(f"docs/SUMMARY.md does not list [{title}]({page.name})")
    faults += [f"docs/SUMMARY.md lists {name}, which is no page" for name in listed]
    if faults:
        raise SystemExit("book: " + "\n      ".join(faults))
    print(f"book: {len(pages())} pages, their links and their code are well")


if __name__ == "__main__":
    main()
