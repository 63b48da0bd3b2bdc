//! Training: ranks as threads, steps in all their forms, weights, checkpoints, export.

mod common;

use common::{batch, config, model, one_rank, options, push_part, TempFolder};
use tessera::{
    run_ranks, Batch, Code, Dataset, GenerateOptions, Mesh, MeshOptions, Model, Result, Tensor, Trainer,
};

/// The losses of three steps over four parts that `size` ranks share.
fn losses(size: usize) -> Result<Vec<f64>> {
    let all = run_ranks(size, &options(), |world| {
        let rank = world.rank()? as usize;
        let mut mesh = Mesh::new(world, &MeshOptions::new())?;
        let mut trainer = Trainer::new(&mut mesh, &model()?, &config()?)?;
        (0..3)
            .map(|step| {
                let mut batch = Batch::new()?;
                for part in rank * 4 / size..(rank + 1) * 4 / size {
                    push_part(&mut batch, part, step)?;
                }
                let metrics = trainer.step(&batch)?;
                assert_eq!((metrics.step, metrics.label_tokens), (step as i64 + 1, 40));
                Ok(metrics.loss)
            })
            .collect::<Result<Vec<f64>>>()
    })?;
    for other in &all {
        assert_eq!(other, &all[0], "all ranks report the same");
    }
    Ok(all[0].clone())
}

#[test]
fn four_ranks_train_like_one() {
    let (one, four) = (losses(1).unwrap(), losses(4).unwrap());
    assert!(one[2] < one[0] && one[0] < 6.0, "{one:?}");
    for (a, b) in one.iter().zip(&four) {
        assert!((a - b).abs() < 1e-5 * a, "{one:?} {four:?}");
    }
}

#[test]
fn the_halves_of_a_step_make_a_step() -> Result<()> {
    let mut job = one_rank()?;
    let batch = batch(0, 0)?;
    let before = job.trainer.forward_backward(&batch, None)?;
    let gradient = job.trainer.gradient("model.norm.weight")?.to_vec::<f32>()?;
    assert!(gradient.iter().any(|value| *value != 0.0));
    assert_eq!(job.trainer.optimizer_step()?.step, 1);
    let after = job.trainer.evaluate(&batch)?;
    assert!(after.loss < before.loss);
    assert_eq!(after.label_tokens, 10);
    job.trainer.forward_backward(&batch, Some(10))?;
    job.trainer.zero_grad()?;
    assert_eq!(job.trainer.step_count()?, 1);
    job.world.close()
}

#[test]
fn parameters_go_out_and_in_by_name() -> Result<()> {
    let mut job = one_rank()?;
    let names = job.trainer.parameter_names()?;
    assert_eq!(names.len(), 2 * 9 + 3);
    assert!(names
        .iter()
        .any(|name| name == "model.layers.1.self_attn.q_proj.weight"));
    let twos = Tensor::from_vec(vec![2.0f32; 32], &[32])?;
    job.trainer.set_parameter("model.norm.weight", &twos)?;
    assert_eq!(
        job.trainer.parameter("model.norm.weight")?.to_vec::<f32>()?,
        vec![2.0; 32]
    );
    let error = job.trainer.parameter("model.norm.weights").unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().contains("model.norm.weights"), "{error}");
    Ok(())
}

#[test]
fn generation_gives_the_same_tokens_both_ways() -> Result<()> {
    let mut job = one_rank()?;
    let options = GenerateOptions::new().max_new_tokens(5);
    let tokens = job.trainer.generate(&[1, 5, 9], &options)?;
    assert!(!tokens.is_empty() && tokens.len() <= 5);
    assert_eq!(job.trainer.generate_async(&[1, 5, 9], &options)?.wait()?, tokens);
    let long = GenerateOptions::new()
        .max_new_tokens(100)
        .temperature(1.0)
        .top_k(5)
        .top_p(0.9)
        .seed(7);
    assert!(job.trainer.generate(&[1], &long)?.len() <= 100);
    assert_eq!(
        job.trainer.generate(&[1, 64], &options).unwrap_err().code(),
        Code::Argument
    );
    let logits = job.trainer.logits(&batch(0, 0)?)?;
    assert_eq!(logits.dims()?, [12, 64]);
    assert_eq!(
        job.trainer.logits_async(&batch(0, 0)?)?.wait()?.to_bytes()?,
        logits.to_bytes()?
    );
    Ok(())
}

#[test]
fn pushed_documents_are_a_dataset_whose_position_is_saved() -> Result<()> {
    let folder = TempFolder::new();
    let mut job = one_rank()?;
    let config = config()?.with("train.global_batch", 2)?.with("data.epochs", 2)?;
    let mut data = Dataset::pushed(&config, &job.mesh, &job.model)?;
    assert_eq!(data.next_batch().unwrap_err().code(), Code::State);
    for d in 0..6 {
        data.push(&[d, d + 1, d + 2], None)?;
    }
    assert_eq!(data.push(&[1, 64], None).unwrap_err().code(), Code::Argument);
    assert_eq!(
        data.push(&[1, 2], Some(&[1])).unwrap_err().message(),
        "1 labels for 2 tokens"
    );
    data.push_end()?;
    assert_eq!(data.steps_per_epoch()?, Some(3));

    let first = job.trainer.steps(&mut data).next().unwrap()?.loss;
    let state = data.state()?;
    job.trainer.save(folder.join("checkpoint"), &mut data)?;
    let rest: Vec<f64> = job
        .trainer
        .steps(&mut data)
        .map(|m| m.map(|m| m.loss))
        .collect::<Result<_>>()?;
    assert_eq!(rest.len(), 5);
    assert!(data.next_batch()?.is_none());

    job.trainer.load(folder.join("checkpoint"), &mut data)?;
    assert_eq!(job.trainer.step_count()?, 1);
    assert_eq!(data.state()?, state);
    let again: Vec<f64> = job
        .trainer
        .steps(&mut data)
        .map(|m| m.map(|m| m.loss))
        .collect::<Result<_>>()?;
    assert_eq!(again, rest, "resumed bit for bit");
    assert!(first > 0.0);
    data.set_state(&state)?;
    assert_eq!(data.by_ref().count(), 5);
    assert!(data.set_state("no state").is_err());
    Ok(())
}

#[test]
fn an_export_opens_again_with_the_same_loss() -> Result<()> {
    let folder = TempFolder::new();
    let mut job = one_rank()?;
    let batch = batch(0, 0)?;
    job.trainer.step(&batch)?;
    let loss = job.trainer.evaluate(&batch)?.loss;
    job.trainer.export(folder.join("hf"), None)?;
    job.trainer
        .export_async(folder.join("bf16"), Some(tessera::Dtype::Bf16))?
        .wait()?;
    let error = job
        .trainer
        .export(folder.join("hf"), Some(tessera::Dtype::U8))
        .unwrap_err();
    assert_eq!(error.message(), "dtype=U8 is not one of F32, Bf16, F16");
    let model = Model::open(folder.join("hf"))?;
    assert!(model.parameter_count()? > 0);
    assert!(model.to_json()?.contains("LlamaForCausalLM"));
    let mut again = Trainer::new(&mut job.mesh, &model, &config()?)?;
    assert_eq!(again.evaluate(&batch)?.loss, loss);
    Ok(())
}

#[test]
fn plans_and_programs_are_text() -> Result<()> {
    let mut job = one_rank()?;
    assert!(job.trainer.program(2)?.contains("forward u1 mb1"));
    let config = config()?
        .with("train.global_batch", 8)?
        .with("data.seq_len", 16)?;
    assert!(tessera::plan::summary(&job.model, &config, 4)?.contains("dp_shard"));
    assert!(tessera::plan::program(&job.model, &config, 4)?.lines().count() > 10);
    assert!(tessera::plan::summary(&job.model, &config, 3).is_err());
    job.model.set_tp_plan("whole", r#"{"*": "replicate"}"#)?;
    assert!(job.model.set_tp_plan("auto", "{}").is_err());
    use tessera::plan::{timeline, TimelineFormat, TimelineOptions};
    let draw = |format| {
        timeline(
            &job.model,
            &config,
            4,
            &TimelineOptions::new(format).columns(60).transfer(0.1),
        )
    };
    assert!(draw(TimelineFormat::Text)?.contains("rank 0"));
    assert!(draw(TimelineFormat::Colour)?.contains('\u{1b}'));
    assert!(draw(TimelineFormat::Svg)?.starts_with("<svg"));
    assert!(draw(TimelineFormat::Trace)?.contains("traceEvents"));
    let slow = TimelineOptions::new(TimelineFormat::Text)
        .backward(3.0)
        .collective(-1.0);
    assert!(timeline(&job.model, &config, 4, &slow).is_err());
    Ok(())
}

#[test]
fn objects_may_be_dropped_in_any_order_while_a_step_runs() -> Result<()> {
    for step in 0..20 {
        let mut job = one_rank()?;
        let batch = batch(0, step)?;
        let pending = job.trainer.step_async(&batch)?;
        let common::OneRank {
            trainer,
            mesh,
            model,
            world,
        } = job;
        drop(world);
        drop(batch);
        drop(trainer);
        drop(mesh);
        drop(model);
        assert!(pending.wait()?.loss > 0.0);
    }
    Ok(())
}
