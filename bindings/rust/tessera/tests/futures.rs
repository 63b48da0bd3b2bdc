//! Calls under way as futures of the language, on a little executor of this test.
#![cfg(feature = "async")]

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use common::{batch, model, one_rank, options};
use tessera::{Code, Mesh, MeshOptions, Result, Trainer};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

async fn rank(mut world: tessera::World) -> Result<f64> {
    let mut mesh = Mesh::new_async(&mut world, &MeshOptions::new())?.await?;
    let mut trainer = Trainer::new_async(&mut mesh, &model()?, &common::config()?)?.await?;
    let mut loss = 0.0;
    for step in 0..3 {
        loss = trainer.step_async(&batch(0, step)?)?.await?.loss;
    }
    world.close_async()?.await?;
    Ok(loss)
}

#[test]
fn many_ranks_run_as_tasks() {
    let worlds = options().threads_of_process(4).unwrap();
    let losses: Vec<f64> = std::thread::scope(|scope| {
        let tasks: Vec<_> = worlds
            .into_iter()
            .map(|world| scope.spawn(move || block_on(rank(world))))
            .collect();
        tasks
            .into_iter()
            .map(|task| task.join().unwrap().unwrap())
            .collect()
    });
    assert!(
        losses[0] > 0.0 && losses.iter().all(|loss| *loss == losses[0]),
        "{losses:?}"
    );
}

#[test]
fn a_dropped_call_does_not_disturb_the_others() -> Result<()> {
    let mut job = one_rank()?;
    for step in 0..50 {
        let batch = batch(0, step)?;
        let mut pending = job.trainer.step_async(&batch)?;
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        if std::pin::Pin::new(&mut pending)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
            && step % 2 == 0
        {
            drop(pending);
        } else if !pending.is_done()? {
            block_on(pending)?;
        }
        while job
            .trainer
            .zero_grad()
            .is_err_and(|error| error.code() == Code::Busy)
        {
            std::thread::yield_now();
        }
    }
    assert_eq!(job.trainer.step_count()?, 50);
    Ok(())
}
