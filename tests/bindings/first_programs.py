#!/usr/bin/env python3
"""Runs the first program of every language's README as it stands there, with its recipe, and compares what they print.

    tests/bindings/first_programs.py BUILD_DIR [LANGUAGE...]

Only the numbers of the recipe that make it long are changed. A language whose toolchain is missing is left out and said; exit
status 77 when fewer than two are left. Only the standard library is used.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import compare

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
QUICKSTART = ROOT / "examples" / "quickstart"
CARGO = """[package]
name = "first"
version = "0.1.0"
edition = "2021"

[dependencies]
tessera = {{ path = "{root}/bindings/rust/tessera" }}
"""


def blocks(language):
    """The code blocks of a README by their kind."""
    text = (ROOT / "bindings" / language / "README.md").read_text()
    return {kind: code for kind, code in re.findall(r"^```(yaml|rust|go|java|julia|python)\n(.*?)^```$", text, re.S | re.M)
            if kind == "yaml" or kind == language}


def run(words, folder, **environment):
    done = subprocess.run([str(word) for word in words], cwd=folder, env=compare.clean_environment(**environment), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    if done.returncode == compare.SKIP:
        raise FileNotFoundError(done.stdout.strip())
    if done.returncode != 0:
        raise compare.Failure(f"{words} in {folder}:\n{done.stdout}{done.stderr}")
    return done.stdout


def sourced(language, build, command):
    """A command in the environment of a binding's tests."""
    place = ROOT / "bindings" / language
    return ["sh", "-euc", f'here=$PWD; build="{build}"; cd "{place}"; . ./environment.sh; cd "$here"; {command}']


def rust(code, folder, build):
    (folder / "src").mkdir()
    (folder / "src" / "main.rs").write_text(code)
    (folder / "Cargo.toml").write_text(CARGO.format(root=ROOT))
    shutil.copy(ROOT / "examples" / "rust" / "build.rs", folder)  # the run path, which the README speaks of
    locked = (ROOT / "examples" / "rust" / "Cargo.lock").read_text()
    (folder / "Cargo.lock").write_text(locked.replace('name = "train"', 'name = "first"'))
    run(["cargo", "build", "--quiet"], folder, TESSERA_LIB_DIR=f"{build}/lib", TESSERA_DIR="",
        TESSERA_INCLUDE_DIR=f"{ROOT}/capi/include", CARGO_TARGET_DIR=f"{build}/bindings/rust")
    return run([build / "bindings" / "rust" / "debug" / "first"], folder)


def go(code, folder, build):
    (folder / "first.go").write_text(code)
    (folder / "go.mod").write_text(f"module first\n\ngo 1.24\n\nrequire tessera v0.0.0\n\nreplace tessera => {ROOT}/bindings/go\n")
    return run(sourced("go", build, "go build -o first . && ./first"), folder)


def java(code, folder, build):
    (folder / "First.java").write_text(code)
    run([ROOT / "bindings" / "java" / "build_jar.sh", build], folder)
    jar = build / "bindings" / "java" / "tessera-0.1.0.jar"
    return run(["java", f"-Dtessera.library.path={build}/lib", "-cp", jar, "First.java"], folder)


def julia(code, folder, build):
    (folder / "first.jl").write_text(code)
    return run(sourced("julia", build, '"$julia" --startup-file=no first.jl'), folder)


def python(code, folder, build):
    (folder / "first.py").write_text(code)
    return run([sys.executable, "first.py"], folder, PYTHONPATH=f"{ROOT}/bindings/python", PYTHONDONTWRITEBYTECODE="1",
               TESSERA_LIBRARY=f"{build}/lib/libtessera.so")


def make_model(folder, build):
    """A Hugging Face directory with random weights, as the program in C exports it after one step."""
    run([build / "bin" / "tessera_example_c", f"model.config={QUICKSTART}/model/config.json", "data.format=chat", "ranks=1",
         f"data.path={QUICKSTART}/data/questions.jsonl", f"data.tokenizer={QUICKSTART}/model", "data.seq_len=64",
         "train.steps=1", "train.global_batch=1", f"output.dir={folder}/my-model", "threads=1"], folder)
    for file in (QUICKSTART / "model").iterdir():
        if not (folder / "my-model" / file.name).exists():
            shutil.copy(file, folder / "my-model")


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    printed = {}
    with tempfile.TemporaryDirectory() as name:
        inputs = pathlib.Path(name) / "inputs"
        inputs.mkdir()
        make_model(inputs, build)
        shutil.copy(QUICKSTART / "data" / "questions.jsonl", inputs / "chats.jsonl")
        for program in (rust, go, java, julia, python):
            language = program.__name__
            if sys.argv[2:] and language not in sys.argv[2:]:
                continue
            folder = pathlib.Path(name) / language
            shutil.copytree(inputs, folder)
            code = blocks(language)
            recipe = re.sub(r"seq_len: \d+", "seq_len: 64", re.sub(r"steps: \d+", "steps: 3", code["yaml"]))
            (folder / "recipe.yaml").write_text(recipe + "threads: 1\n")
            try:
                out = program(code[language], folder, build)
            except FileNotFoundError as missing:
                print(f"left out: {language}: {missing}")
                continue
            lines = [(int(step), float(loss).hex()) for step, loss in re.findall(r"^step (\d+) loss (\S+)$", out, re.M)]
            if [step for step, _ in lines] != [1, 2, 3] or not (folder / "trained" / "model.safetensors").exists():
                raise compare.Failure(f"{language}: three steps and a model were expected:\n{out}")
            json.loads((folder / "trained" / "config.json").read_text())
            printed[language] = lines
    if len(printed) < 2:
        sys.exit(compare.SKIP)
    if any(lines != next(iter(printed.values())) for lines in printed.values()):
        raise compare.Failure(f"the first programs compute different losses: {printed}")
    print(f"the first programs of {', '.join(printed)} print the same losses")


if __name__ == "__main__":
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        main()
    except compare.Failure as failure:
        print(failure)
        sys.exit(1)
