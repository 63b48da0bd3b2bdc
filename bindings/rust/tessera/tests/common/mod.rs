//! A small job for the tests: a tiny model, batches, and a folder that goes with the test.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tessera::{Batch, Config, Mesh, MeshOptions, Model, Result, Trainer, World, WorldOptions};

pub const CONFIG_JSON: &str = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64,
  "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
  "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
  "tie_word_embeddings": false, "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2}"#;

pub fn config() -> Result<Config> {
    Config::new()?
        .with("precision.param", "fp32")?
        .with("optimizer.lr", 0.01)?
        .with("train.seed", 3)
}

pub fn model() -> Result<Model> {
    Model::from_json(CONFIG_JSON)
}

/// Ranks that compute with one thread each: tests that run side by side do not get in each other's way.
pub fn options() -> WorldOptions {
    WorldOptions::new().threads(1)
}

/// One micro-batch of two documents, different for each part and step.
pub fn push_part(batch: &mut Batch, part: usize, step: usize) -> Result<()> {
    let tokens: Vec<i64> = (0..12)
        .map(|i| ((i * 7 + part * 5 + step * 3) % 64) as i64)
        .collect();
    batch.push(&tokens, None, &[7, 5])
}

pub fn batch(part: usize, step: usize) -> Result<Batch> {
    let mut made = Batch::new()?;
    push_part(&mut made, part, step)?;
    Ok(made)
}

/// A trainer on one rank, for calls where other ranks do not matter.
pub struct OneRank {
    pub trainer: Trainer,
    pub mesh: Mesh,
    pub model: Model,
    pub world: World,
}

pub fn one_rank() -> Result<OneRank> {
    let mut world = options().threads_of_process(1)?.remove(0);
    let mut mesh = Mesh::new(&mut world, &MeshOptions::new())?;
    let model = model()?;
    let trainer = Trainer::new(&mut mesh, &model, &config()?)?;
    Ok(OneRank {
        trainer,
        mesh,
        model,
        world,
    })
}

/// A folder that goes with the test.
pub struct TempFolder(PathBuf);

impl TempFolder {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "tessera_rust_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder for the test");
        TempFolder(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
