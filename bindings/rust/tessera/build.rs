//! Hands the library's folder on, so that a program's own build script can write a run path (see the README).

fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TESSERA_LIB_DIR");
    if let Ok(folder) = std::env::var("DEP_TESSERA_LIB_DIR") {
        println!("cargo:lib_dir={folder}");
    }
}
