//! Several ranks: collectives, calls under way, events, failures.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{batch, one_rank, options, TempFolder};
use tessera::{
    log, run_ranks, Code, Config, EventKind, Events, Mesh, MeshOptions, Pending, Reduce, Result, Tensor,
    WorldOptions,
};

#[test]
fn collectives_follow_the_axes() -> Result<()> {
    run_ranks(4, &options(), |world| {
        let rank = world.rank()?;
        let mut mesh = Mesh::new(world, &MeshOptions::new().dp_replicate(2))?;
        assert_eq!((mesh.size("dp")?, mesh.size("dp_shard")?), (4, 2));
        assert_eq!(mesh.index("dp")?, rank as usize);
        assert_eq!(mesh.ranks("dp_replicate")?, [rank % 2, rank % 2 + 2]);
        assert!(mesh.describe()?.contains("dp_replicate=2"));

        let mut pair = Tensor::from_vec(vec![rank as f32, 1.0], &[2])?;
        mesh.all_reduce("dp", &mut pair, Reduce::Sum)?;
        assert_eq!(pair.to_vec::<f32>()?, [6.0, 4.0]);
        pair.set(&[rank as f32, 1.0])?;
        mesh.broadcast("dp_shard", &mut pair, 1)?;
        assert_eq!(pair.to_vec::<f32>()?[0], if rank < 2 { 1.0 } else { 3.0 });

        pair.set(&[rank as f32, 1.0])?;
        let mut all = Tensor::zeros(tessera::Dtype::F32, &[4, 2])?;
        mesh.all_gather("dp", &pair, &mut all)?;
        assert_eq!(all.to_vec::<f32>()?, [0., 1., 1., 1., 2., 1., 3., 1.]);
        mesh.reduce_scatter("dp", &all, &mut pair, Reduce::Max)?;
        assert_eq!(pair.to_vec::<f32>()?, [rank as f32, 1.0]);
        let mut other = Tensor::zeros(tessera::Dtype::F32, &[4, 2])?;
        mesh.all_to_all("dp", &all, &mut other)?;
        assert_eq!(other.to_vec::<f32>()?[6], rank as f32);
        mesh.barrier("dp")?;

        let error = mesh.all_gather("dp_shard", &pair, &mut all).unwrap_err();
        assert_eq!(
            error.message(),
            "output has 8 elements instead of 2 times the 2 of input"
        );
        assert_eq!(mesh.barrier("dq").unwrap_err().code(), Code::Argument);

        // The same without waiting: tensors come back with the result.
        let pair = mesh.broadcast_async("dp", pair, 3)?.wait()?;
        let (pair, all) = mesh.all_gather_async("dp", pair, all)?.wait()?;
        assert_eq!(all.to_vec::<f32>()?, [3., 1., 3., 1., 3., 1., 3., 1.]);
        let (all, pair) = mesh.reduce_scatter_async("dp", all, pair, Reduce::Sum)?.wait()?;
        let pair = mesh.all_reduce_async("dp", pair, Reduce::Min)?.wait()?;
        assert_eq!(pair.to_vec::<f32>()?, [12.0, 4.0]);
        let (_, other) = mesh.all_to_all_async("dp", all, other)?.wait()?;
        assert_eq!(other.dims()?, [4, 2]);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_mesh_that_does_not_fit_is_refused() {
    let error = run_ranks(4, &options(), |world| Mesh::new(world, &MeshOptions::new().tp(3))).unwrap_err();
    assert_eq!(error.code(), Code::Argument);
    assert!(error.message().contains('3'), "{error}");
}

#[test]
fn one_thread_drives_all_ranks() -> Result<()> {
    let mut worlds = options().threads_of_process(2)?;
    let made: Vec<_> = worlds
        .iter_mut()
        .map(|world| Mesh::new_async(world, &MeshOptions::new()))
        .collect::<Result<_>>()?;
    let mut meshes: Vec<Mesh> = made.into_iter().map(Pending::wait).collect::<Result<_>>()?;
    let first = meshes[0].barrier_async("dp")?;
    assert_eq!(meshes[0].barrier("dp").unwrap_err().code(), Code::Busy);
    assert!(!first.is_done()?);
    assert!(!first.wait_timeout(Duration::from_millis(1))?);
    let both = [first, meshes[1].barrier_async("dp")?];
    assert!(Pending::wait_any(&both, None)?.is_some());
    for pending in both {
        pending.wait()?;
    }
    let closing: Vec<_> = worlds
        .into_iter()
        .map(|world| world.close_async())
        .collect::<Result<_>>()?;
    closing.into_iter().try_for_each(Pending::wait)
}

#[test]
fn work_that_has_not_begun_can_be_cancelled() -> Result<()> {
    let mut worlds = options().threads_of_process(2)?;
    let made: Vec<_> = worlds
        .iter_mut()
        .map(|world| Mesh::new_async(world, &MeshOptions::new()))
        .collect::<Result<_>>()?;
    let mut meshes: Vec<Mesh> = made.into_iter().map(Pending::wait).collect::<Result<_>>()?;
    let waiting = meshes[0].barrier_async("dp")?;
    assert!(!waiting.wait_timeout(Duration::from_millis(50))?); // by now it has begun
    let queued = Mesh::new_async(&mut worlds[0], &MeshOptions::new())?;
    queued.cancel()?;
    assert_eq!(queued.wait().unwrap_err().code(), Code::Cancelled);
    worlds[1].abort("the test says so")?;
    let error = waiting.wait().unwrap_err();
    assert_eq!(
        (error.code(), error.rank()),
        (Code::PeerFailed, Some(1)),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_panic_in_one_rank_is_an_error_and_frees_the_others() {
    let others = Mutex::new(Vec::new());
    let error = run_ranks(3, &options(), |world| {
        let mut mesh = Mesh::new(world, &MeshOptions::new())?;
        if world.rank()? == 1 {
            panic!("rank one had enough");
        }
        let result = mesh.barrier("dp");
        others.lock().unwrap().push(result.clone().unwrap_err());
        result
    })
    .unwrap_err();
    assert_eq!((error.code(), error.rank()), (Code::Panic, Some(1)));
    assert_eq!(error.message(), "panic: rank one had enough");
    let others = others.into_inner().unwrap();
    assert_eq!(others.len(), 2);
    for error in others {
        assert_eq!(
            (error.code(), error.rank()),
            (Code::PeerFailed, Some(1)),
            "{error}"
        );
    }
}

#[test]
fn an_error_in_one_rank_is_the_one_reported() {
    let error = run_ranks(2, &options(), |world| {
        let mut mesh = Mesh::new(world, &MeshOptions::new())?;
        if world.rank()? == 1 {
            std::fs::read("/no/such/file")?;
        }
        mesh.barrier("dp")
    })
    .unwrap_err();
    assert_eq!(
        (error.code(), error.domain(), error.native_code()),
        (Code::Io, tessera::Domain::Os, 2)
    );
}

#[test]
fn events_tell_of_steps_failures_and_checkpoints() -> Result<()> {
    let folder = TempFolder::new();
    let mut job = one_rank()?;
    let events = Events::new(0)?;
    job.trainer.set_events(Some(&events))?;
    assert!(events.next(Some(Duration::ZERO))?.is_none());
    let metrics = job.trainer.step(&batch(0, 0)?)?;
    assert!(job.trainer.parameter("no.such").is_err());
    job.trainer.save(folder.join("c"), None)?;
    let taken: Vec<_> = events.try_iter().collect();
    assert_eq!(taken.len(), 3);
    assert!(taken
        .iter()
        .all(|event| event.rank == Some(0) && event.dropped == 0));
    match &taken[0].kind {
        EventKind::Metrics(event) => assert_eq!((event.step, event.loss), (1, metrics.loss)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        &taken[1].kind,
        EventKind::Failure {
            code: Code::NotFound,
            ..
        }
    ));
    match &taken[2].kind {
        EventKind::Checkpoint { directory } => assert_eq!(directory, &folder.join("c")),
        other => panic!("{other:?}"),
    }
    job.trainer.set_events(None)?;
    job.trainer.step(&batch(0, 1)?)?;
    assert!(events.next(Some(Duration::from_millis(1)))?.is_none());
    events.close();
    assert_eq!(events.next(None).unwrap_err().code(), Code::HandleStale);
    Ok(())
}

#[test]
fn a_listener_gets_events_and_its_panic_is_an_error() -> Result<()> {
    let mut job = one_rank()?;
    let events = Arc::new(Events::new(0)?);
    job.trainer.set_events(Some(&events))?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let seen = Arc::clone(&seen);
        events.listen(move |event| {
            if let EventKind::Metrics(metrics) = event.kind {
                seen.lock().unwrap().push(metrics.step);
            }
        })?
    };
    for step in 0..3 {
        job.trainer.step(&batch(0, step)?)?;
    }
    while seen.lock().unwrap().len() < 3 {
        std::thread::yield_now();
    }
    listener.stop()?;
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);

    let events = Arc::new(Events::new(0)?);
    job.trainer.set_events(Some(&events))?;
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let listener = events.listen(move |_| {
        let _sender = &sender;
        panic!("a listener had enough")
    })?;
    job.trainer.step(&batch(0, 3)?)?;
    let _ = receiver.recv(); // ends when the panic has dropped the sender... or with the listener below
    assert_eq!(
        listener.stop().unwrap_err().message(),
        "panic: a listener had enough"
    );
    job.trainer.step(&batch(0, 4)?)?;
    Ok(())
}

#[test]
fn log_lines_can_go_to_a_queue() -> Result<()> {
    let events = Events::new(16)?;
    log::set_events(Some(&events))?;
    log::set_events(None)?;
    assert!(events.next(Some(Duration::ZERO))?.is_none());
    Ok(())
}

#[test]
fn options_come_from_a_configuration() -> Result<()> {
    let config = Config::new()?
        .with("backend", "local")?
        .with("threads", 1)?
        .with("parallel.dp_replicate", 2)?;
    let options = WorldOptions::from_config(&config)?.timeout(Duration::from_secs(60));
    run_ranks(2, &options, |world| {
        let mesh = Mesh::new(world, &MeshOptions::from_config(&config)?)?;
        assert_eq!(mesh.size("dp_replicate")?, 2);
        Ok(())
    })?;
    Ok(())
}
