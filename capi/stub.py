#!/usr/bin/env python3
"""Writes C files from the headers for the check of the binary interface (tests/capi/check_abi.sh).

    capi/stub.py functions [INCLUDE] > stub.c     every function, doing nothing: compiled with debug information it shows the
                                                  interface that the headers promise, whatever the library was compiled with
    capi/stub.py layout [INCLUDE] > layout.c      a program that prints offset and size of each field of each struct that
                                                  carries its size
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


def layout():
    print("#include <stddef.h>\n#include <stdio.h>\n#include <tessera/tessera.h>\n"
          "#define FIELD(type, field) printf(#type \".\" #field \" at %zu, %zu bytes, %s\\n\", offsetof(type, field), "
          "sizeof(((type *)0)->field), _Generic(((type *)0)->field, float: \"real\", double: \"real\", default: \"other\"))\n"
          "int main(void) {")
    for header in generate.ORDER:
        text = (generate.INCLUDE / f"{header}.h").read_text()
        for name, body in re.findall(r"^typedef struct (tessera_\w+) \{\n(    size_t struct_size;.*?)^\}", text, re.S | re.M):
            for field in re.findall(r"^    [\w ]+?[ *]+(\w+)(?:\[\d+\])?;", body, re.M):
                print(f"FIELD({name}, {field});")
    print("return 0; }")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        generate.INCLUDE = pathlib.Path(sys.argv[2]) / "tessera"
    {"functions": functions, "layout": layout}[sys.argv[1]]()
