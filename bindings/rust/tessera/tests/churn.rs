//! Making and dropping objects leaves nothing behind. Alone in its process, because it counts all objects.

mod common;

use common::{batch, one_rank};
use tessera::{live_objects, Batch, Config, Dtype, Events, Kind, Model, Result, Tensor};

/// Resident memory in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn round() -> Result<()> {
    let _config = Config::new()?.with("train.steps", 3)?;
    let _model = Model::from_json(common::CONFIG_JSON)?;
    let _copy = Tensor::zeros(Dtype::F32, &[1024])?;
    let _moved = Tensor::from_vec(vec![1.0f32; 4096], &[4096])?;
    let _back = Tensor::from_vec(vec![1i64; 512], &[512])?.into_dlpack()?;
    let _events = Events::new(8)?;
    let mut batch = Batch::new()?;
    batch.push(&[1, 2, 3], None, &[3])
}

#[test]
fn churn_leaves_nothing_behind() -> Result<()> {
    let before = live_objects(Kind::Any)?;
    let work = |rounds: usize| {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(move || (0..rounds).for_each(|_| round().unwrap()));
            }
        });
    };
    work(500);
    let warm = memory();
    work(2500);
    for step in 0..20 {
        let mut job = one_rank()?;
        drop(job.trainer.step_async(&batch(0, step)?)?);
        job.world.close()?; // behind the step: nothing runs any more when the process ends
    }
    let after = memory();
    assert_eq!(live_objects(Kind::Any)?, before);
    assert!(
        after < warm + 64 * 1024,
        "{warm} KiB after 4000 rounds, {after} KiB after 24000"
    );
    Ok(())
}
