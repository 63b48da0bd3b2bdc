"""Writes the low layer of the Java binding for Java's foreign function interface (Java 22 and newer): the class NativeLayer, which
SWIG writes with JNI otherwise, method for method with the same signatures. Called by generate.py.
"""

SIZES = {"int32_t": 4, "int64_t": 8, "size_t": 8, "double": 8, "const char *": 8}
# Java types of C types in parameters and fields, and of arrays in parameters.
SCALARS = {"int32_t": "int", "int64_t": "long", "size_t": "long", "double": "double", "tessera_status": "int"}
ARRAYS = {"int32_t *": "int[]", "int64_t *": "long[]", "size_t *": "long[]", "const int64_t *": "long[]",
          "const char *": "byte[]", "char *": "byte[]", "struct DLManagedTensorVersioned **": "long[]"}
ADDRESSES = {"void *", "const void *", "struct DLManagedTensorVersioned *"}
LETTERS = {"int": "i", "long": "l", "double": "d"}


def class_of(struct):
    return "".join(word.capitalize() for word in struct.split("_")) + "Struct"


def method(f, handles, structs):
    """One C function: its handle, and the static method that calls it."""
    java, letters, arguments = [], "", []
    params = list(f.params)
    status = params and params[-1].type == "tessera_error *"
    if status:
        params.pop()
    previous = None
    for p in params:
        base = p.type.replace("const ", "").replace("*", "").strip()
        name = base.removeprefix("tessera_")
        if p.type == base and name in handles:
            java.append(f"NativeObject {p.name}")
            letters, argument = letters + "l", f"call.id({p.name})"
        elif name in handles:  # handles in or out
            java.append(f"long[] {p.name}")
            letters, argument = letters + "p", f"call.{'in' if p.type.startswith('const') else 'out'}({p.name})"
        elif name in structs:
            java.append(f"long {p.name}, {class_of(name)} of_{p.name}")
            letters, argument = letters + "p", f"call.at({p.name})"
        elif p.type in ADDRESSES:
            java.append(f"long {p.name}")
            letters, argument = letters + "p", f"call.at({p.name})"
        elif p.type in ARRAYS:
            java.append(f"{ARRAYS[p.type]} {p.name}")
            letters, argument = letters + "p", f"call.{'in' if p.type.startswith('const') else 'out'}({p.name})"
            previous = p
        elif p.type == "size_t" and previous and (p.name == "cap" or (previous.name, p.name) == ("text", "bytes")):
            letters, argument = letters + "l", f"call.length({previous.name})"  # of the array before it
        else:
            java.append(f"{SCALARS[p.type]} {p.name}")
            letters, argument = letters + LETTERS[SCALARS[p.type]], p.name
        arguments.append(argument)
    if status:
        letters, arguments = letters + "p", arguments + ["call.error()"]
    text = f.returns == "const char *"
    returns = "byte[]" if text else SCALARS[f.returns]
    result = "MemorySegment" if text else returns
    invoked = f"({result}) {f.name}.invokeExact({', '.join(arguments)})"
    if text:
        invoked = f"Foreign.text({invoked})"
    elif status:
        invoked = f"call.end({invoked})"
    opening = "try (Foreign call = new Foreign())" if any("call." in a for a in arguments) else "try"
    return [f"  private static final MethodHandle {f.name} =",
            f'      Foreign.function("{f.name}", "{"p" if text else LETTERS[returns]}", "{letters}");', "",
            f"  static {returns} {f.name}({', '.join(java)}) {{",
            f"    {opening} {{",
            f"      return {invoked};",
            "    } catch (Throwable error) {",
            "      throw Foreign.unchecked(error);",
            "    }",
            "  }", ""]


def offsets(fields):
    """Where each field begins, and the size of the struct, as C lays it out."""
    out, end = {}, 0
    for f in fields:
        size = 1 if f.length else SIZES[f.type]
        out[f.name] = (end + size - 1) // size * size
        end = out[f.name] + (f.length or size)
    return out, (end + 7) // 8 * 8


def accessors(name, fields):
    """What SWIG makes of a struct: get and set of each field, new and delete."""
    owner, out = class_of(name), []
    at, size = offsets(fields)
    for f in fields:
        self, place = f"long object, {owner} self", f"object + {at[f.name]}"
        if f.length:
            out += [f"  static byte[] {owner}_{f.name}_get({self}) {{",
                    f"    return Foreign.text({place}, {f.length});", "  }", ""]
        elif f.type in SCALARS and f.name not in ("struct_size", "reserved0"):
            java = SCALARS[f.type]
            out += [f"  static {java} {owner}_{f.name}_get({self}) {{",
                    f"    return Foreign.MEMORY.get(ValueLayout.JAVA_{java.upper()}, {place});", "  }", "",
                    f"  static void {owner}_{f.name}_set({self}, {java} value) {{",
                    f"    Foreign.MEMORY.set(ValueLayout.JAVA_{java.upper()}, {place}, value);", "  }", ""]
    # Texts are owned by the struct.
    texts = [f.name for f in fields if f.type == "const char *"]
    out += [f"  static long new_{owner}() {{", f'    return Foreign.make("tessera_{name}_init", {size});', "  }", "",
            f"  static void delete_{owner}(long object) {{"]
    out += [f"    Foreign.setText(object + {at[t]}, null);" for t in texts]
    out += ["    Foreign.free(object);", "  }", ""]
    if texts:
        arguments = ", ".join(f"byte[] {t}" for t in texts)
        out += [f"  static void {owner}_set_texts(long object, {owner} self, {arguments}) {{"]
        out += [f"    Foreign.setText(object + {at[t]}, {t});" for t in texts] + ["  }", ""]
    return out


def make_java_foreign(note, functions, handles, structs, kinds, macros):
    """`structs`: (name, fields) of those with struct_size; `kinds`: the number of each kind of handle."""
    names = {name for name, _ in structs}
    soname = f"libtessera.so.{macros['TESSERA_VERSION_MAJOR']}.{macros['TESSERA_VERSION_MINOR']}"
    out = [f"// {note}", "package org.tessera;", "", "import java.lang.foreign.MemorySegment;", "import java.lang.foreign.ValueLayout;",
           "import java.lang.invoke.MethodHandle;", "import java.nio.Buffer;", "",
           "/**",
           " * Every function of the C interface by Java's foreign function interface. Takes the place of the class of this name that SWIG",
           " * writes with JNI: the same methods, without a native library of its own.",
           " */",
           "final class NativeLayer {",
           "  /** There is no library between this class and libtessera. */",
           "  static final String LIBRARY = null;", "",
           "  static {",
           "    NativeLibrary.load();",
           "  }", "",
           "  private NativeLayer() {}", "",
           "  static void openInstalled() {", f'    Foreign.open("{soname}");', "  }", "",
           "  static long buffer_address(Object buffer) {", "    return Foreign.address((Buffer) buffer);", "  }", "",
           "  static int header_abi_version() {", f"    return {macros['TESSERA_ABI_VERSION']};", "  }", "",
           "  static int wait_round(long[] ids, long count, long timeout_ns) {",
           "    try (Foreign call = new Foreign()) {",
           "      return (int) tessera_future_wait_any.invokeExact(",
           "          call.in(ids), count, timeout_ns, call.out(new long[1]), MemorySegment.NULL);",
           "    } catch (Throwable error) {", "      throw Foreign.unchecked(error);", "    }", "  }", "",
           "  static int has_ended(long id) {",
           "    try (Foreign call = new Foreign()) {",
           "      int[] done = new int[1];",
           "      int status = (int) tessera_future_poll.invokeExact(id, call.out(done), MemorySegment.NULL);",
           "      call.copyBack();",
           "      return status != 0 || done[0] != 0 ? 1 : 0;",
           "    } catch (Throwable error) {", "      throw Foreign.unchecked(error);", "    }", "  }", "",
           "  private static final MethodHandle[] DESTROY = new MethodHandle[32];", "", "  static {"]
    out += [f'    DESTROY[{number}] = Foreign.function("tessera_{kind}_destroy", "i", "l");' for kind, number in kinds]
    out += ["  }", "",
            "  static void destroy(int kind, long id) {",
            "    try {",
            "      int ignored = (int) DESTROY[kind].invokeExact(id);",
            "    } catch (Throwable error) {", "      throw Foreign.unchecked(error);", "    }", "  }", ""]
    for name, fields in structs:
        out += accessors(name, fields)
    for f in functions:
        if not f.name.endswith("_destroy") and not f.name.endswith("_init"):
            out += method(f, handles, names)
    out += ["  static {", "    NativeLibrary.checkAbi();", "  }", "}", ""]
    return "\n".join(out)
