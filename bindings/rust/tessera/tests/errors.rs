//! Each thread gets the error of its own call, a thousand times over.

use tessera::{Code, Config};

#[test]
fn thirty_two_threads_get_their_own_errors() {
    std::thread::scope(|scope| {
        for thread in 0..32 {
            scope.spawn(move || {
                let config = Config::new().unwrap();
                for call in 0..1000 {
                    let key = format!("no.such.key.{thread}.{call}");
                    let error = config.set(&key, 1).unwrap_err();
                    assert_eq!(error.code(), Code::NotFound);
                    std::thread::yield_now();
                    assert!(error.message().contains(&key), "{error}");
                    let value = format!("-{thread}{call:04}");
                    let error = config.set("train.steps", &value).unwrap_err();
                    assert_eq!(error.code(), Code::Argument);
                    assert!(error.message().contains(&value), "{error}");
                }
            });
        }
    });
}
