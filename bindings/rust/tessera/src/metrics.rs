//! What a step reports.

use crate::error::Result;
use crate::handle::check;
use crate::sys;

/// What a step reports. All ranks get the same loss, gradient norm and counts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// From 1.
    pub step: i64,
    /// Sum of token losses over all ranks / label_tokens.
    pub loss: f64,
    /// Over all ranks, before clipping.
    pub grad_norm: f64,
    /// Learning rate.
    pub lr: f64,
    /// Over all ranks.
    pub tokens: i64,
    /// Those trained on.
    pub label_tokens: i64,
    /// Wall time.
    pub seconds: f64,
    /// Over all ranks.
    pub tokens_per_s: f64,
    /// What this rank waited for others or moved data.
    pub communication_seconds: f64,
    /// Peak bytes of this rank; ranks of one process share the number.
    pub memory: i64,
    /// The largest load of an expert over the mean, of the layer where that is largest; like the fields after it 0 for
    /// models without experts. A load is the number of tokens, over all ranks, that chose the expert.
    pub expert_load_ratio: f64,
    /// The share of all layers' experts that no token chose.
    pub expert_idle: f64,
    /// Mean over tokens and layers, before moe.balance_loss.
    pub expert_balance_loss: f64,
    /// Mean over tokens and layers, before moe.z_loss.
    pub expert_z_loss: f64,
    /// Peak bytes that the GPU's allocator held, those without a tensor too; 0 on CPUs and in events.
    pub memory_reserved: i64,
}

impl Metrics {
    pub(crate) fn read(
        call: impl FnOnce(*mut sys::tessera_metrics, *mut sys::tessera_error) -> sys::tessera_status,
    ) -> Result<Self> {
        let mut raw = sys::tessera_metrics::default();
        check(|error| unsafe {
            match sys::tessera_metrics_init(&mut raw, std::mem::size_of_val(&raw)) {
                0 => call(&mut raw, error),
                status => status,
            }
        })?;
        Ok(Metrics {
            step: raw.step,
            loss: raw.loss,
            grad_norm: raw.grad_norm,
            lr: raw.lr,
            tokens: raw.tokens,
            label_tokens: raw.label_tokens,
            seconds: raw.seconds,
            tokens_per_s: raw.tokens_per_s,
            communication_seconds: raw.communication_seconds,
            memory: raw.memory,
            expert_load_ratio: raw.expert_load_ratio,
            expert_idle: raw.expert_idle,
            expert_balance_loss: raw.expert_balance_loss,
            expert_z_loss: raw.expert_z_loss,
            memory_reserved: raw.memory_reserved,
        })
    }
}
