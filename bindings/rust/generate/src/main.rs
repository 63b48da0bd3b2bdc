//! Writes `tessera-sys/src/bindings.rs` from the headers in `capi/include`; with `--check` fails when the file is not
//! what would be written. Needs libclang (`LIBCLANG_PATH` when it is not found).

use std::path::Path;

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let include = here.join("../../../capi/include");
    let target = here.join("../tessera-sys/src/bindings.rs");
    let generated = bindgen::builder()
        .header(
            include
                .join("tessera/tessera.h")
                .to_str()
                .expect("a path in UTF-8"),
        )
        .clang_args(["-std=c99", "-I", include.to_str().expect("a path in UTF-8")])
        .allowlist_item("(tessera|TESSERA)_.*")
        .blocklist_item("TESSERA_[A-Z]+_H")
        // Only a name to C; whoever fills one has the definition of DLPack.
        .opaque_type("DLManagedTensorVersioned")
        // Constants, as in C: a number that this version does not know is no undefined behaviour.
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .default_macro_constant_type(bindgen::MacroTypeVariation::Signed)
        .translate_enum_integer_types(true)
        .derive_default(true)
        .must_use_type("tessera_status")
        // The headers are the documentation; without it here only a changed declaration changes the file.
        .generate_comments(false)
        .merge_extern_blocks(true)
        .use_core()
        .rust_target("1.82".parse().expect("a version of Rust"))
        .rust_edition(bindgen::RustEdition::Edition2021)
        .formatter(bindgen::Formatter::Prettyplease)
        .disable_header_comment()
        .raw_line("// Generated from capi/include/tessera by bindings/rust/generate; do not edit.")
        .generate()
        .expect("headers that compile")
        .to_string();
    if std::env::args().any(|argument| argument == "--check") {
        let committed = std::fs::read_to_string(&target).expect("a committed bindings.rs");
        if committed != generated {
            eprintln!(
                "{} is not what the headers give: run cargo run -p tessera-generate",
                target.display()
            );
            std::process::exit(1);
        }
    } else {
        std::fs::write(&target, generated).expect("a writable bindings.rs");
    }
}
