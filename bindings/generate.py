#!/usr/bin/env python3
"""Writes what the Go, Java, Julia and Python bindings take from the C headers: constants, structs and the calls themselves; and
the programs in docs/languages.md.

    bindings/generate.py            write the files
    bindings/generate.py --check    fail when a file is not what would be written
    bindings/generate.py --java F   what the foreign flavour of the Java binding is built from

The functions of Go come from SWIG (bindings/go/generate.sh). Only the standard library is used.
"""
import argparse
import dataclasses
import importlib.util
import pathlib
import re
import sys

import foreign

ROOT = pathlib.Path(__file__).resolve().parent.parent
_spec = importlib.util.spec_from_file_location("capi_generate", ROOT / "capi" / "generate.py")
capi = importlib.util.module_from_spec(_spec)
sys.modules["capi_generate"] = capi
_spec.loader.exec_module(capi)

NOTE = "Generated from the C headers by bindings/generate.py; do not edit."
HANDLES = ["config", "world", "mesh", "tensor", "model", "batch", "dataset", "trainer", "future", "events", "tokenizer"]


@dataclasses.dataclass
class Field:
    type: str  # C type without the array
    name: str
    length: int  # of an array of char; 0: no array
    doc: str


def headers():
    return [(name, (capi.INCLUDE / f"{name}.h").read_text()) for name in capi.ORDER]


def enums():
    """(name without prefix, [(constant, value, comment)]) of every enumeration."""
    out = []
    for _, text in headers():
        for name, body in re.findall(r"^enum tessera_(\w+) \{(.*?)^\};", text, re.S | re.M):
            # A comment may span lines; it belongs to the constant before it.
            items = re.findall(r"(TESSERA_\w+) = (\d+),?[ \t]*(?:/\*(.*?)\*/)?", body, re.S)
            out.append((name, [(c, int(v), " ".join(doc.split())) for c, v, doc in items]))
    return out


def structs():
    """(name without prefix, [Field]) of every struct that is not a handle."""
    out = []
    for _, text in headers():
        for name, body, _ in re.findall(r"^typedef struct tessera_(\w+) \{\n(.*?)^\} (tessera_\w+);", text, re.S | re.M):
            fields = [Field(t.strip(), n, int(length or 0), " ".join(doc.split())) for t, n, length, doc in re.findall(
                r"^    ([\w ]+?[ *]+)(\w+)(?:\[(\d+)\])?;[ \t]*(?:/\*(.*?)\*/)?", body, re.S | re.M)]
            out.append((name, fields))
    return out


def macros():
    out = []
    for _, text in headers():
        out += [(n, int(v.strip("()"))) for n, v in re.findall(r"^#define (TESSERA_\w+) (\(?-?\d+\)?)$", text, re.M)]
    return out


def camel(text):
    return "".join(part.capitalize() for part in text.lower().split("_"))


# ---- Go -------------------------------------------------------------------------------------------------------------

GO_TYPES = {"int32_t": "int32", "int64_t": "int64", "size_t": "uint64", "double": "float64",
            "const char *": "unsafe.Pointer"}
GO_ENUMS = {"status_code": "Code", "batch_array": "BatchArray", "batch_form": "BatchForm", "key_type": "KeyType", "event_type": "EventType",
            "log_level": "LogLevel", "plan_part": "PlanPart", "dtype": "DType"}


def go_constant(name):
    short = name.removeprefix("TESSERA_")
    if short.startswith("E_"):
        return "Err" + camel(short[2:]).replace("Io", "IO")
    return camel(short).replace("Dtype", "DType").replace("Bf16", "BF16") if short != "OK" else "OK"


def make_go_constants():
    out = [f"// The enumerations of the C interface. {NOTE}", "", "package tessera", ""]
    for name, items in enums():
        go = GO_ENUMS.get(name, camel(name))
        out += [f"// {go} is the enumeration tessera_{name} of the C interface.", f"type {go} int32", "", "const ("]
        names = [go_constant(c) for c, _, _ in items]
        width = max(map(len, names))
        lines = [f"\t{n.ljust(width)} {go} = {v}" for n, (_, v, _) in zip(names, items)]
        # gofmt aligns the comments of neighbouring lines that have one.
        for line, (i, (_, _, doc)) in zip(lines, enumerate(items)):
            run = [j for j in _run_with_doc(items, i)]
            pad = max(len(lines[j]) for j in run) if run else 0
            out.append(f"{line.ljust(pad)} // {doc}" if doc else line)
        out += [")", ""]
    out += ["// ABIVersion is the number of the C interface that this package was made for.",
            f"const ABIVersion = {dict(macros())['TESSERA_ABI_VERSION']}", ""]
    return "\n".join(out)


def _run_with_doc(items, i):
    """The indices of the lines around i that have a comment, without a gap."""
    if not items[i][2]:
        return []
    first = last = i
    while first > 0 and items[first - 1][2]:
        first -= 1
    while last + 1 < len(items) and items[last + 1][2]:
        last += 1
    return range(first, last + 1)


def make_go_structs():
    abi = dict(macros())["TESSERA_ABI_VERSION"]
    out = [f"// The structs of the C interface, field by field. {NOTE}", "", "package capi", "",
           "// #include <tessera/tessera.h>", f"// #if TESSERA_ABI_VERSION != {abi}",
           f"// #error the headers of libtessera have another TESSERA_ABI_VERSION than the {abi} that this package was made for",
           "// #endif", 'import "C"', "", 'import "unsafe"', ""]
    for name, fields in structs():
        go = camel(name)
        out += [f"// {go} is tessera_{name}.", f"type {go} struct {{"]
        width = max(len(camel(f.name)) for f in fields)
        for f in fields:
            kind = f"[{f.length}]byte" if f.length else GO_TYPES[f.type]
            out.append(f"\t{camel(f.name).ljust(width)} {kind}")
        out += ["}", ""]
    out += ["// A header may be newer, with fields that are added at the end, but not older.", "const ("]
    out += [f"\t_ = uintptr(C.sizeof_tessera_{name}) - unsafe.Sizeof({camel(name)}{{}})" for name, _ in structs()]
    out += [")", ""]
    return "\n".join(out)


# ---- Julia ----------------------------------------------------------------------------------------------------------

JULIA_TYPES = {"int32_t": "Int32", "int64_t": "Int64", "size_t": "Csize_t", "double": "Float64", "tessera_status": "Int32",
               "const char *": "Cstring", "char *": "Ptr{UInt8}", "void *": "Ptr{Cvoid}", "const void *": "Ptr{Cvoid}"}


def julia_type(c):
    c = c.replace("struct ", "")
    if c in JULIA_TYPES:
        return JULIA_TYPES[c]
    if c.endswith("**"):
        return "Ptr{Ptr{Cvoid}}"
    if c.startswith("DL") or c.startswith("const DL"):
        return "Ptr{Cvoid}"
    base = c.replace("const ", "").replace("*", "").strip()
    if c.endswith("*"):
        # Ptr{T} takes an array, a Ref and C_NULL.
        return f"Ptr{{{JULIA_TYPES.get(base, camel(base))}}}"
    return camel(base)


def make_julia():
    out = [f"# The C interface of Tessera as ccall sees it: constants, structs and functions. {NOTE}", ""]
    for name, items in enums():
        out += [f"# enum tessera_{name}"] + [f"const {c} = Int32({v})" for c, v, _ in items] + [""]
    out += [f"const {n} = {v}" for n, v in macros()] + [""]
    version = [v for n, v in macros() if n in ("TESSERA_VERSION_MAJOR", "TESSERA_VERSION_MINOR")]
    # The name under which the loader knows it: Tessera.jl has opened it by its path before.
    out += [f'const LIBRARY = "libtessera.so.{version[0]}.{version[1]}"', ""]
    for name in HANDLES:
        out += [f"struct Tessera{camel(name)}\n    id::UInt64\nend"]
    out.append("")
    for name, fields in structs():
        lines = [f"    {f.name}::{f'NTuple{{{f.length},UInt8}}' if f.length else 'Ptr{UInt8}' if '*' in f.type else JULIA_TYPES[f.type]}"
                 for f in fields]
        # Mutable, so that a function of the library can fill it.
        out += [f"mutable struct Tessera{camel(name)}"] + lines + [f"    Tessera{camel(name)}() = new()", "end", ""]
    for header in capi.ORDER:
        for f in capi.parse_header(header):
            returns = "Cstring" if "char" in f.returns else julia_type(f.returns)
            types = "".join(julia_type(p.type) + "," for p in f.params)
            names = "".join(", " + p.name for p in f.params)
            out.append(f"{f.name}({names[2:]}) =\n    ccall((:{f.name}, LIBRARY), {returns}, ({types}){names})")
    return "\n".join(out) + "\n"


# ---- Python ---------------------------------------------------------------------------------------------------------

PYTHON_TYPES = {"int32_t": "c_int32", "int64_t": "c_int64", "size_t": "c_size_t", "double": "c_double",
                "tessera_status": "c_int32", "const char *": "c_char_p", "char *": "c_char_p", "void *": "c_void_p",
                "const void *": "c_void_p"}


def python_type(c):
    c = c.replace("struct ", "")
    if c in PYTHON_TYPES:
        return PYTHON_TYPES[c]
    if c.endswith("**"):
        return "POINTER(c_void_p)"
    if "DLManaged" in c:
        return "c_void_p"
    base = c.replace("const ", "").replace("*", "").strip()
    inner = PYTHON_TYPES.get(base, camel(base.removeprefix("tessera_")))
    return f"POINTER({inner})" if c.endswith("*") else inner


def make_python():
    out = [f'"""The C interface of Tessera as ctypes sees it: constants, structs and functions. {NOTE}"""',
           "from ctypes import POINTER, Structure, c_char, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint64, c_void_p", ""]
    for name, items in enums():
        out += [f"# enum tessera_{name}"] + [f"{c.removeprefix('TESSERA_')} = {v}" for c, v, _ in items] + [""]
    out += [f"{n.removeprefix('TESSERA_')} = {v}" for n, v in macros()] + [""]
    for name in HANDLES:
        out += ["", f"class {camel(name)}(Structure):", '    _fields_ = [("id", c_uint64)]', ""]
    for name, fields in structs():
        out += ["", f"class {camel(name)}(Structure):", "    _fields_ = ["]
        out += [f'        ("{f.name}", {f"c_char * {f.length}" if f.length else python_type(f.type)}),' for f in fields]
        out += ["    ]", ""]
    out += ["", "# name: (result, arguments)", "FUNCTIONS = {"]
    for header in capi.ORDER:
        for f in capi.parse_header(header):
            returns = "c_char_p" if "char" in f.returns else python_type(f.returns)
            out.append(f'    "{f.name}": ({returns}, [{", ".join(python_type(p.type) for p in f.params)}]),')
    return "\n".join(out) + "\n}\n"


# ---- docs/languages.md ----------------------------------------------------------------------------------------------

# ---- Java, by foreign functions --------------------------------------------------------------------------------------

def make_java():
    kinds = dict((c.removeprefix("TESSERA_KIND_").lower(), v) for name, items in enums() if name == "kind" for c, v, _ in items)
    functions = [f for name in capi.ORDER for f in capi.parse_header(name)]
    sized = [(name, fields) for name, fields in structs() if fields[0].name == "struct_size"]
    return foreign.make_java_foreign(NOTE, functions, set(HANDLES), sized, [(k, kinds[k]) for k in HANDLES], dict(macros()))


# ---- Programs in the documentation ------------------------------------------------------------------------------------

# File ending: (name for the highlighter, first line of what one rank does, its last line).
PROGRAMS = {
    ".c": ("c", r"/\* One rank:", r"}"),
    ".cpp": ("cpp", r"/// One rank:", r"}"),
    ".rs": ("rust", r"/// One rank:", r"}"),
    ".go": ("go", r"// runRank is one rank:", r"}"),
    ".java": ("java", r"  /\*\* One rank:", r"  }"),
    ".jl": ("julia", r"# One rank:", r"end"),
    ".py": ("python", r"def train\(", r""),
}


def program_part(path):
    """What one rank does, as a block of Markdown."""
    language, first, last = PROGRAMS[pathlib.Path(path).suffix]
    lines = (ROOT / path).read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if re.match(first, line))
    # A function ends with a line of its own; Python's with two empty ones.
    end = next(i for i in range(start + 1, len(lines))
               if lines[i] == last and (last or not lines[i + 1]))
    part = lines[start:end + 1] if last else lines[start:end]
    indent = len(part[0]) - len(part[0].lstrip())
    return "\n".join([f"```{language}"] + [line[indent:] for line in part] + ["```"])


def make_languages():
    def fill(match):
        path = match.group(1)
        part = program_part(path) + "\n" if (ROOT / path).exists() else ""
        return f"<!-- program: {path} -->\n{part}<!-- end -->"

    text = (ROOT / "docs" / "languages.md").read_text()
    return re.sub(r"<!-- program: (\S+) -->\n.*?<!-- end -->", fill, text, flags=re.S)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--java", metavar="FILE", help="write the class NativeLayer by foreign functions, and nothing else")
    arguments = parser.parse_args()
    if arguments.java:
        pathlib.Path(arguments.java).write_text(make_java())
        return
    here = ROOT / "bindings"
    outputs = {
        here / "go" / "constants.go": make_go_constants(),
        here / "go" / "internal" / "capi" / "structs.go": make_go_structs(),
        here / "julia" / "src" / "capi.jl": make_julia(),
        here / "python" / "tessera" / "capi.py": make_python(),
        ROOT / "docs" / "languages.md": make_languages(),
    }
    stale = [path for path, text in outputs.items() if not path.exists() or path.read_text() != text]
    if arguments.check:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what bindings/generate.py writes")
        sys.exit(1 if stale else 0)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(outputs[path])
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
