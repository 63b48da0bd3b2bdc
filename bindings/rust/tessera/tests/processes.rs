//! Ranks as processes: one is killed, and the other learns it from an error.

mod common;

use std::process::{Command, Stdio};
use std::time::Duration;

use common::TempFolder;
use tessera::{Backend, Code, Mesh, MeshOptions, Reduce, Result, Tensor, World, WorldOptions};

const RENDEZVOUS: &str = "TESSERA_RUST_TEST_RENDEZVOUS";

fn join(rank: u32, rendezvous: &str, backend: Backend) -> Result<World> {
    WorldOptions::new()
        .rank(rank)
        .size(2)
        .local(rank, 2)
        .threads(1)
        .backend(backend)
        .timeout(Duration::from_secs(60))
        .rendezvous(rendezvous)?
        .join()
}

fn backend_of(name: &str) -> Backend {
    if name.ends_with("gloo") {
        Backend::Gloo
    } else {
        Backend::Local
    }
}

/// Not a test of its own: rank 1 of the test below, which sums until it is killed.
#[test]
#[ignore = "the child of a_killed_rank_is_an_error_in_the_other"]
fn child() {
    let Ok(rendezvous) = std::env::var(RENDEZVOUS) else {
        return;
    };
    let mut world = join(1, &rendezvous, backend_of(&rendezvous)).unwrap();
    let mut mesh = Mesh::new(&mut world, &MeshOptions::new()).unwrap();
    let mut one = Tensor::from_vec(vec![1.0f32], &[1]).unwrap();
    loop {
        mesh.all_reduce("dp", &mut one, Reduce::Avg).unwrap();
    }
}

fn killed_rank(backend: Backend, name: &str) -> Result<()> {
    let folder = TempFolder::new();
    let rendezvous = format!("file://{}", folder.join(name).display());
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(RENDEZVOUS, &rendezvous)
        .stdout(Stdio::null())
        .spawn()?;
    let mut world = join(0, &rendezvous, backend)?;
    let mut mesh = Mesh::new(&mut world, &MeshOptions::new())?;
    let mut one = Tensor::from_vec(vec![1.0f32], &[1])?;
    for _ in 0..100 {
        mesh.all_reduce("dp", &mut one, Reduce::Avg)?;
    }
    child.kill()?; // SIGKILL
    let error = (0..1_000_000)
        .find_map(|_| mesh.all_reduce("dp", &mut one, Reduce::Avg).err())
        .expect("an error after the other rank is dead");
    child.wait()?;
    assert_eq!(
        (error.code(), error.rank()),
        (Code::PeerFailed, Some(1)),
        "{error}"
    );
    // This process lives, and can begin anew.
    assert_eq!(
        tessera::run_ranks(2, &common::options(), |world| world.size())?,
        [2, 2]
    );
    Ok(())
}

#[test]
fn a_killed_rank_is_an_error_in_the_other() {
    killed_rank(Backend::Local, "local").unwrap();
}

#[test]
fn a_killed_rank_is_an_error_in_the_other_over_sockets() {
    killed_rank(Backend::Gloo, "gloo").unwrap();
}
