//! One call from Rust through the safe crate.
use std::hint::black_box;
use std::time::Instant;

fn nanoseconds_of(mut call: impl FnMut()) -> f64 {
    let rounds = 5_000_000;
    let start = Instant::now();
    for _ in 0..rounds {
        call();
    }
    start.elapsed().as_nanos() as f64 / f64::from(rounds)
}

fn main() {
    let worlds = tessera::WorldOptions::new().threads_of_process(1).expect("a world");
    // SAFETY: it takes nothing and returns a constant.
    let empty = nanoseconds_of(|| {
        black_box(unsafe { tessera_sys::tessera_abi_version() });
    });
    let call = nanoseconds_of(|| {
        let _ = black_box(worlds[0].rank());
    });
    println!("rust {empty:.1} {call:.1}");
}
