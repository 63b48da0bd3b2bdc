//! Lets the program find libtessera.so where it was built against, without LD_LIBRARY_PATH.

fn main() {
    if let Ok(folder) = std::env::var("DEP_TESSERA_RUST_LIB_DIR") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
