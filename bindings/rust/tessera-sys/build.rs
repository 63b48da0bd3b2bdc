//! Finds libtessera: `TESSERA_DIR` (an installation), or `TESSERA_LIB_DIR` and `TESSERA_INCLUDE_DIR` (a build tree), else
//! pkg-config. Fails when its headers are of another ABI than the committed declarations.

use std::path::{Path, PathBuf};

/// Where a library was found.
struct Found {
    lib: PathBuf,
    include: PathBuf,
}

fn variable(name: &str) -> Option<PathBuf> {
    println!("cargo:rerun-if-env-changed={name}");
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The folder of `prefix` that holds the library; distributions differ in its name.
fn lib_folder(prefix: &Path) -> Result<PathBuf, String> {
    let triple = format!(
        "lib/{}-linux-gnu",
        std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default()
    );
    ["lib", "lib64", triple.as_str()]
        .iter()
        .map(|folder| prefix.join(folder))
        .find(|folder| folder.join("libtessera.so").exists())
        .ok_or_else(|| format!("TESSERA_DIR={} has no lib/libtessera.so", prefix.display()))
}

fn from_pkg_config() -> Result<Found, String> {
    let library = pkg_config::Config::new()
        .cargo_metadata(false)
        .probe("tessera")
        .map_err(|error| {
            format!(
                "libtessera was not found; install it, or set TESSERA_DIR to where it is installed\n{error}"
            )
        })?;
    let lib = library
        .link_paths
        .first()
        .cloned()
        .unwrap_or_else(|| PathBuf::from("/usr/lib"));
    let include = library
        .include_paths
        .iter()
        .find(|folder| folder.join("tessera/version.h").exists())
        .cloned()
        .unwrap_or_else(|| PathBuf::from("/usr/include"));
    Ok(Found { lib, include })
}

fn find() -> Result<Found, String> {
    let (dir, lib, include) = (
        variable("TESSERA_DIR"),
        variable("TESSERA_LIB_DIR"),
        variable("TESSERA_INCLUDE_DIR"),
    );
    match (dir, lib, include) {
        (Some(dir), _, _) => Ok(Found {
            lib: lib_folder(&dir)?,
            include: dir.join("include"),
        }),
        (_, Some(lib), Some(include)) => Ok(Found { lib, include }),
        _ => from_pkg_config(),
    }
}

/// The number behind `#define TESSERA_ABI_VERSION` or `pub const TESSERA_ABI_VERSION: i32 =`.
fn abi_in(path: &Path) -> Result<i32, String> {
    println!("cargo:rerun-if-changed={}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.lines()
        .filter(|line| line.contains("TESSERA_ABI_VERSION"))
        .find_map(|line| {
            line.trim_end_matches(';')
                .split_whitespace()
                .next_back()?
                .parse()
                .ok()
        })
        .ok_or_else(|| format!("{} does not define TESSERA_ABI_VERSION", path.display()))
}

fn run() -> Result<(), String> {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("DOCS_RS").is_some() {
        return Ok(());
    }
    let found = find()?;
    let header = found.include.join("tessera/version.h");
    let (theirs, ours) = (abi_in(&header)?, abi_in(Path::new("src/bindings.rs"))?);
    if theirs != ours {
        return Err(format!(
            "{} has ABI {theirs}, but this crate is for ABI {ours}",
            header.display()
        ));
    }
    println!("cargo:rustc-link-search=native={}", found.lib.display());
    println!("cargo:rustc-link-lib=dylib=tessera");
    // Seen by build scripts of direct dependents as DEP_TESSERA_LIB_DIR.
    println!("cargo:lib_dir={}", found.lib.display());
    Ok(())
}

fn main() {
    if let Err(message) = run() {
        eprintln!("{message}");
        std::process::exit(1);
    }
}
