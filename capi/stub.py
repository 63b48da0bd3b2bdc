#!/usr/bin/env python3
"""Writes C files from the headers for the check of the binary interface (tests/capi/check_abi.sh).

    capi/stub.py functions [INCLUDE] > stub.c     every function, doing nothing: compiled with debug information it shows the
                                                  interface that the headers promise, whatever the library was compiled with
    capi/stub.py layout [INCLUDE] > layout.c      a program that prints offset and size of each field of each struct that
                                                  carries its size
    capi/stub.py older|newer INCLUDE OUT          the headers as an older or a newer version has them: structs that carry their
                                                  size lack their last eight bytes or more, or have a field more
"""
import pathlib
import re
import sys

import generate


def functions():
    print("#include <tessera/tessera.h>")
    for header in generate.ORDER:
        for f in generate.parse_header(header):
            params = ", ".join(f"{p.type} {p.name}" for p in f.params) or "void"
            returns = f.returns if f.returns.endswith("*") else f.returns + " "
            print(f"{returns}{f.name}({params}) {{ return 0; }}")


SIZED_STRUCT = re.compile(r"^typedef struct (tessera_\w+) \{\n(    size_t struct_size;.*?)^\}", re.S | re.M)


def sized_structs():
    for header in generate.ORDER:
        yield from SIZED_STRUCT.findall((generate.INCLUDE / f"{header}.h").read_text())


def layout():
    print("#include <stddef.h>\n#include <stdio.h>\n#include <tessera/tessera.h>\n"
          "#define FIELD(type, field) printf(#type \".\" #field \" at %zu, %zu bytes, %s\\n\", offsetof(type, field), "
          "sizeof(((type *)0)->field), _Generic(((type *)0)->field, float: \"real\", double: \"real\", default: \"other\"))\n"
          "int main(void) {")
    for name, body in sized_structs():
        for field in re.findall(r"^    [\w ]+?[ *]+(\w+)(?:\[\d+\])?;", body, re.M):
            print(f"FIELD({name}, {field});")
    print("return 0; }")


def aged(out, newer):
    def change(match):
        fields = match[2].splitlines(keepends=True)
        if newer:
            fields.append("    int64_t of_a_newer_version;\n")
        else:
            fields = fields[:-2] if fields[-1].lstrip().startswith("int32_t") else fields[:-1]
        return f"typedef struct {match[1]} {{\n{''.join(fields)}}}"

    out.mkdir(parents=True)
    for path in generate.INCLUDE.glob("*.h"):
        (out / path.name).write_text(SIZED_STRUCT.sub(change, path.read_text()))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        generate.INCLUDE = pathlib.Path(sys.argv[2]) / "tessera"
    if sys.argv[1] in ("older", "newer"):
        aged(pathlib.Path(sys.argv[3]) / "tessera", sys.argv[1] == "newer")
    else:
        {"functions": functions, "layout": layout}[sys.argv[1]]()
