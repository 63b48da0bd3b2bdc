#!/usr/bin/env python3
"""Generates what follows from the headers: the symbol lists, the misuse tests, the list of functions that random hosts
call, and the reference page.

    capi/generate.py            write the files
    capi/generate.py --check    fail when a file is not what would be written

The headers are the specification. Each function is preceded by a doc comment with the tags @threading, @blocking,
@collective and @since; @nullable lists the parameters that may be NULL or {0}. Only the standard library is used.
"""
import argparse
import dataclasses
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "capi" / "include" / "tessera"
# In the order of tessera.h, which is the order of reading.
ORDER = re.findall(r'#include "tessera/(\w+)\.h"', (INCLUDE / "tessera.h").read_text())

TAGS = {
    "threading": {"any", "one-at-a-time"},
    "blocking": {"yes", "no"},
    "collective": {"no", "world", "mesh"},
}


@dataclasses.dataclass
class Param:
    type: str
    name: str

    @property
    def is_pointer(self):
        return "*" in self.type

    @property
    def is_handle(self):
        return not self.is_pointer and self.type.startswith("tessera_") and self.type != "tessera_status"


@dataclasses.dataclass
class Function:
    header: str
    returns: str
    name: str
    params: list
    doc: str
    tags: dict
    nullable: set

    @property
    def takes_err(self):
        return bool(self.params) and self.params[-1].type == "tessera_error *"

    @property
    def is_destroy(self):
        return self.name.endswith("_destroy")

    @property
    def is_init(self):
        return self.name.endswith("_init")


def parse_params(text):
    text = " ".join(text.split())
    if text == "void":
        return []
    params = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(.*?[\s*])(\w+)\s*", part)
        params.append(Param(match.group(1).strip(), match.group(2)))
    return params


def parse_header(name):
    text = (INCLUDE / f"{name}.h").read_text()
    pattern = re.compile(r"/\*\*((?:(?!\*/).)*)\*/\s*TESSERA_API\s+([\w\s]+?[\s*]+)(\w+)\(([^)]*)\);", re.S)
    functions = []
    for comment, returns, function, params in pattern.findall(text):
        lines = [re.sub(r"^\s*\*? {0,2}", "", line).rstrip() for line in comment.strip().splitlines()]
        doc = "\n".join(lines)
        tags = dict(re.findall(r"@(threading|blocking|collective|since) ([\w.-]+)", doc))
        nullable = set(re.findall(r"\w+", " ".join(re.findall(r"@nullable ([\w, ]+)", doc))))
        functions.append(
            Function(name, returns.strip(), function, parse_params(params), doc, tags, nullable))
    declared = len(re.findall(r"^TESSERA_API ", text, re.M))
    if declared != len(functions):
        sys.exit(f"{name}.h declares {declared} functions, {len(functions)} of them with a doc comment")
    return functions


def check(functions):
    problems = []
    for f in functions:
        for tag, values in TAGS.items():
            if f.tags.get(tag) not in values:
                problems.append(f"{f.name}: @{tag} is {f.tags.get(tag)}, not one of {sorted(values)}")
        if not re.fullmatch(r"\d+\.\d+", f.tags.get("since", "")):
            problems.append(f"{f.name}: no @since")
        names = {p.name for p in f.params}
        for name in f.nullable - names:
            problems.append(f"{f.name}: @nullable {name} is not a parameter")
        if f.returns == "tessera_status" and not (f.is_destroy or f.is_init or f.takes_err):
            problems.append(f"{f.name}: no tessera_error *err at the end")
        if f.tags.get("blocking") == "yes" and f.tags.get("collective") == "mesh":
            if f.name + "_async" not in {g.name for g in functions}:
                problems.append(f"{f.name}: collective, but has no _async twin")
    if problems:
        sys.exit("\n".join(problems))
    if len(functions) >= 160:
        sys.exit(f"{len(functions)} functions: the interface has fewer than 160")


def make_map(functions):
    major, minor = (re.search(rf"TESSERA_VERSION_{part} (\d+)", (INCLUDE / "version.h").read_text()).group(1)
                    for part in ("MAJOR", "MINOR"))
    symbols = "\n".join(f"    {name};" for name in sorted(f.name for f in functions))
    return (f"/* Exported symbols. Generated from the headers by capi/generate.py; do not edit. */\n"
            f"TESSERA_{major}.{minor} {{\n  global:\n{symbols}\n  local: *;\n}};\n")


def make_debian_symbols(functions):
    major, minor = (re.search(rf"TESSERA_VERSION_{part} (\d+)", (INCLUDE / "version.h").read_text()).group(1)
                    for part in ("MAJOR", "MINOR"))
    abi = f"{major}.{minor}"
    since = {f"TESSERA_{abi}": abi, **{f.name: f.tags["since"] for f in functions}}
    lines = [f" {name}@TESSERA_{abi} {version}" for name, version in sorted(since.items())]
    return "\n".join([f"libtessera.so.{abi} libtessera{abi} #MINVER#"] + lines) + "\n"


# ---- Tests ----------------------------------------------------------------------------------------------------------

# Values that are fine in themselves, so that the one wrong argument is what a call complains about.
SCALARS = {"tessera_status": "0", "int32_t": "1", "int64_t": "1", "size_t": "64", "double": "0"}
STRUCTS = ["tessera_world_options", "tessera_mesh_options", "tessera_generate_options", "tessera_metrics",
           "tessera_event", "tessera_key_info"]


def argument(f, p, wrong, handle):
    """The text of an argument: null when it is the wrong one."""
    if p.name == "err":
        return "&err"
    if p.is_handle:
        return handle(p)
    if p.is_pointer:
        if p.name == wrong:
            return "nullptr"
        base = p.type.replace("const", "").replace("*", "").strip()
        if base == "char" and "const" in p.type:
            return '"x"'
        if base in STRUCTS:
            return f"Initialised<{base}>::get({base}_init)" if base != "tessera_error" else "&err"
        if p.type.count("*") == 2:
            return "scratch_pointer()"
        return f"scratch<{base}>()"
    return SCALARS[p.type]


def call(f, wrong=None, handle=lambda p: f"{p.type}{{0}}"):
    return f"{f.name}({', '.join(argument(f, p, wrong, handle) for p in f.params)})"


def null_pointer_tests(functions):
    lines = []
    for f in functions:
        if f.returns != "tessera_status":
            continue
        for p in f.params:
            if not p.is_pointer or p.name == "err" or p.name in f.nullable:
                continue
            lines.append(f'  EXPECT_NULL_POINTER({call(f, p.name)}, "{f.name}", "{p.name}");')
    return lines


def handle_tests(functions, macro, value):
    lines = []
    for f in functions:
        handles = [p for p in f.params if p.is_handle]
        for wrong in handles:
            if macro == "EXPECT_NULL_HANDLE" and (f.is_destroy or wrong.name in f.nullable):
                continue
            # Those before the wrong one must be right, which only {0} of a nullable one is without a fixture.
            before = handles[:handles.index(wrong)]
            if any(p.name not in f.nullable for p in before):
                continue
            text = call(f, None, lambda p: value(p) if p is wrong else f"{p.type}{{0}}")
            lines.append(f'  {macro}({text}, "{f.name}", "{wrong.name}");')
    return lines


def everything_null(functions):
    lines = []
    for f in functions:
        if f.returns != "tessera_status":
            continue
        args = ["nullptr" if p.is_pointer else f"{p.type}{{0}}" if p.is_handle else "0" for p in f.params]
        lines.append(f"  (void){f.name}({', '.join(args)});")
    return lines


def firewall_tests(functions):
    return [f'  EXPECT_STOPPED({call(f)}, "{f.name}");' for f in functions if f.returns == "tessera_status"]


def make_tests(functions):
    def block(name, lines):
        body = "\n".join(lines)
        return f"// {len(lines)} calls\ninline void {name}() {{\n{body}\n}}\n"

    # The id of a handle that never existed, of the right kind: kind in the top byte, generation 7, slot 5,000,000.
    def stale(p):
        kind = "TESSERA_KIND_" + p.type.removeprefix("tessera_").upper()
        return f"{p.type}{{invented({kind})}}"

    parts = [
        "// Calls that misuse every function of the interface. Generated from the headers by capi/generate.py; do not "
        "edit.\n// clang-format off\n#pragma once\n",
        block("every_pointer_null_in_turn", null_pointer_tests(functions)),
        block("every_handle_null", handle_tests(functions, "EXPECT_NULL_HANDLE", lambda p: f"{p.type}{{0}}")),
        block("every_handle_invented", handle_tests(functions, "EXPECT_STALE_HANDLE", stale)),
        block("every_handle_of_another_kind",
              handle_tests(functions, "EXPECT_WRONG_HANDLE", lambda p: f"{p.type}{{other_kind<{p.type}>()}}")),
        block("everything_null", everything_null(functions)),
        block("every_function_throwing", firewall_tests(functions)),
    ]
    names = ",\n    ".join(f'"{f.name}"' for f in functions)
    parts.append(f"inline const char* const kFunctions[] = {{\n    {names}}};\n")
    return "\n".join(parts)


def make_calls(functions):
    """The functions as a macro list with the names of their parameters; nullable ones end in '?'."""
    lines = []
    for f in functions:
        names = ", ".join(f'"{p.name}{"?" if p.name in f.nullable else ""}"' for p in f.params)
        lines.append(f"  CALL({f.name}{', ' if names else ''}{names})")
    return ("// Every function of the interface with the names of its parameters ('?': may be null), for calls at random.\n"
            "// Generated from the headers by capi/generate.py; do not edit.\n// clang-format off\n#pragma once\n\n"
            "#define TESSERA_EVERY_FUNCTION(CALL) \\\n" + " \\\n".join(lines) + "\n")


# ---- Reference page -------------------------------------------------------------------------------------------------

def make_reference(functions):
    out = ["# C API reference", "",
           f"The {len(functions)} functions of `tessera/tessera.h`. Generated from the headers by `capi/generate.py`; "
           "do not edit. Structs, enumerations and the rules that hold for all functions are in the headers themselves; "
           "[c-api.md](../c-api.md) explains them.", ""]
    for header in ORDER:
        mine = [f for f in functions if f.header == header]
        if not mine:
            continue
        text = (INCLUDE / f"{header}.h").read_text()
        intro = re.match(r"/\*\n \* \w+\.h - (.*?)(?:\n \*\n|\n \*/)", text, re.S).group(1)
        intro = re.sub(r"\n \* ?", " ", intro)
        out += [f"## tessera/{header}.h", "", intro[0].upper() + intro[1:], ""]
        for f in mine:
            params = ", ".join((p.type + p.name if p.is_pointer else f"{p.type} {p.name}") for p in f.params) or "void"
            out += [f"### {f.name}", "", "```c", f"{f.returns} {f.name}({params});".replace("* tessera", "*tessera"), "```", ""]
            doc = re.sub(r"@(threading|blocking|collective|since|nullable) [^@\n]*", "", f.doc).strip()
            doc = re.sub(r"@see (\w+)", r"Like `\1`, but returns at once with a future.", doc)
            doc = re.sub(r"@param (\w+)", r"- `\1`:", doc)
            doc = re.sub(r"@return", "- returns", doc)
            doc = re.sub(r"(?m)^(- )", r"\n\1", doc, count=1)
            if doc:
                out += [doc, ""]
            notes = [f"threads: {f.tags['threading']}", f"blocks: {f.tags['blocking']}"]
            if f.tags["collective"] != "no":
                notes.append(f"collective over the {f.tags['collective']}")
            if f.nullable:
                notes.append("may be null: " + ", ".join(f"`{n}`" for n in sorted(f.nullable)))
            notes.append(f"since {f.tags['since']}")
            out += ["*" + " · ".join(notes) + "*", ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).rstrip() + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()

    functions = [f for header in ORDER for f in parse_header(header)]
    check(functions)
    outputs = {
        ROOT / "capi" / "tessera.map": make_map(functions),
        ROOT / "capi" / "libtessera.symbols": make_debian_symbols(functions),
        ROOT / "tests" / "capi" / "generated_misuse.h": make_tests(functions),
        ROOT / "tests" / "capi" / "generated_calls.h": make_calls(functions),
        ROOT / "docs" / "reference" / "c-api.md": make_reference(functions),
    }
    stale = [path for path, text in outputs.items() if not path.exists() or path.read_text() != text]
    if arguments.check:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what capi/generate.py writes")
        sys.exit(1 if stale else 0)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(outputs[path])
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
