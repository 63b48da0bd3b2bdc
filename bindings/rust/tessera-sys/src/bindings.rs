// Generated from capi/include/tessera by bindings/rust/generate; do not edit.

pub const TESSERA_VERSION_MAJOR: i32 = 0;
pub const TESSERA_VERSION_MINOR: i32 = 1;
pub const TESSERA_VERSION_PATCH: i32 = 0;
pub const TESSERA_ABI_VERSION: i32 = 1;
pub const TESSERA_FOREVER: i32 = -1;
pub type tessera_status = i32;
pub const TESSERA_OK: tessera_status_code = 0;
pub const TESSERA_E_ARGUMENT: tessera_status_code = 1;
pub const TESSERA_E_HANDLE_NULL: tessera_status_code = 2;
pub const TESSERA_E_HANDLE_STALE: tessera_status_code = 3;
pub const TESSERA_E_HANDLE_TYPE: tessera_status_code = 4;
pub const TESSERA_E_BUFFER: tessera_status_code = 5;
pub const TESSERA_E_BUSY: tessera_status_code = 6;
pub const TESSERA_E_TIMEOUT: tessera_status_code = 7;
pub const TESSERA_E_CANCELLED: tessera_status_code = 8;
pub const TESSERA_E_PEER_FAILED: tessera_status_code = 9;
pub const TESSERA_E_COLLECTIVE_MISMATCH: tessera_status_code = 10;
pub const TESSERA_E_IO: tessera_status_code = 11;
pub const TESSERA_E_FORMAT: tessera_status_code = 12;
pub const TESSERA_E_NOT_FOUND: tessera_status_code = 13;
pub const TESSERA_E_UNSUPPORTED: tessera_status_code = 14;
pub const TESSERA_E_OUT_OF_MEMORY: tessera_status_code = 15;
pub const TESSERA_E_NUMERIC: tessera_status_code = 16;
pub const TESSERA_E_END: tessera_status_code = 17;
pub const TESSERA_E_STATE: tessera_status_code = 18;
pub const TESSERA_E_FORKED: tessera_status_code = 19;
pub const TESSERA_E_DEVICE: tessera_status_code = 20;
pub const TESSERA_E_INTERNAL: tessera_status_code = 21;
pub type tessera_status_code = u32;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_config {
    pub id: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_config"][::core::mem::size_of::<tessera_config>() - 8usize];
    ["Alignment of tessera_config"][::core::mem::align_of::<tessera_config>() - 8usize];
    [
        "Offset of field: tessera_config::id",
    ][::core::mem::offset_of!(tessera_config, id) - 0usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_world {
    pub id: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_world"][::core::mem::size_of::<tessera_world>() - 8usize];
    ["Alignment of tessera_world"][::core::mem::align_of::<tessera_world>() - 8usize];
    [
        "Offset of field: tessera_world::id",
    ][::core::mem::offset_of!(tessera_world, id) - 0usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_mesh {
    pub id: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_mesh"][::core::mem::size_of::<tessera_mesh>() - 8usize];
    ["Alignment of tessera_mesh"][::core::mem::align_of::<tessera_mesh>() - 8usize];
    [
        "Offset of field: tessera_mesh::id",
    ][::core::mem::offset_of!(tessera_mesh, id) - 0usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_tensor {
    pub id: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_tensor"][::core::mem::size_of::<tessera_tensor>() - 8usize];
    ["Alignment of tessera_tensor"][::core::mem::align_of::<tessera_tensor>() - 8usize];
    [
        "Offset of field: tessera_tensor::id",
    ][::core::mem::offset_of!(tessera_tensor, id) - 0usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_model {
    pub id: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_model"][::core::mem::size_of::<tessera_model>() - 8usize];
    ["Alignment of tessera_model"][::core::mem::align_of::<tessera_model>() - 8usize];
    [
        "Offset of field: tessera_model::id",
    ][::core::mem::offset_of!(tessera_model, id) - 0usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_batch {
    pub id: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_batch"][::core::mem::size_of::<tessera_batch>() - 8usize];
    ["Alignment of tessera_batch"][::core::mem::align_of::<tessera_batch>() - 8usize];
    [
        "Offset of field: tessera_batch::id",
    ][::core::mem::offset_of!(tessera_batch, id) - 0usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_dataset {
    pub id: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_dataset"][::core::mem::size_of::<tessera_dataset>() - 8usize];
    [
        "Alignment of tessera_dataset",
    ][::core::mem::align_of::<tessera_dataset>() - 8usize];
    [
        "Offset of field: tessera_dataset::id",
    ][::core::mem::offset_of!(tessera_dataset, id) - 0usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_trainer {
    pub id: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_trainer"][::core::mem::size_of::<tessera_trainer>() - 8usize];
    [
        "Alignment of tessera_trainer",
    ][::core::mem::align_of::<tessera_trainer>() - 8usize];
    [
        "Offset of field: tessera_trainer::id",
    ][::core::mem::offset_of!(tessera_trainer, id) - 0usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_future {
    pub id: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_future"][::core::mem::size_of::<tessera_future>() - 8usize];
    ["Alignment of tessera_future"][::core::mem::align_of::<tessera_future>() - 8usize];
    [
        "Offset of field: tessera_future::id",
    ][::core::mem::offset_of!(tessera_future, id) - 0usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_events {
    pub id: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_events"][::core::mem::size_of::<tessera_events>() - 8usize];
    ["Alignment of tessera_events"][::core::mem::align_of::<tessera_events>() - 8usize];
    [
        "Offset of field: tessera_events::id",
    ][::core::mem::offset_of!(tessera_events, id) - 0usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_tokenizer {
    pub id: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_tokenizer"][::core::mem::size_of::<tessera_tokenizer>() - 8usize];
    [
        "Alignment of tessera_tokenizer",
    ][::core::mem::align_of::<tessera_tokenizer>() - 8usize];
    [
        "Offset of field: tessera_tokenizer::id",
    ][::core::mem::offset_of!(tessera_tokenizer, id) - 0usize];
};
pub const TESSERA_KIND_ANY: tessera_kind = 0;
pub const TESSERA_KIND_CONFIG: tessera_kind = 1;
pub const TESSERA_KIND_WORLD: tessera_kind = 2;
pub const TESSERA_KIND_MESH: tessera_kind = 3;
pub const TESSERA_KIND_TENSOR: tessera_kind = 4;
pub const TESSERA_KIND_MODEL: tessera_kind = 5;
pub const TESSERA_KIND_BATCH: tessera_kind = 6;
pub const TESSERA_KIND_DATASET: tessera_kind = 7;
pub const TESSERA_KIND_TRAINER: tessera_kind = 8;
pub const TESSERA_KIND_FUTURE: tessera_kind = 9;
pub const TESSERA_KIND_EVENTS: tessera_kind = 10;
pub const TESSERA_KIND_TOKENIZER: tessera_kind = 11;
pub type tessera_kind = u32;
pub const TESSERA_DTYPE_F32: tessera_dtype = 1;
pub const TESSERA_DTYPE_F64: tessera_dtype = 2;
pub const TESSERA_DTYPE_F16: tessera_dtype = 3;
pub const TESSERA_DTYPE_BF16: tessera_dtype = 4;
pub const TESSERA_DTYPE_I64: tessera_dtype = 5;
pub const TESSERA_DTYPE_I32: tessera_dtype = 6;
pub const TESSERA_DTYPE_U8: tessera_dtype = 7;
pub type tessera_dtype = u32;
pub const TESSERA_DOMAIN_NONE: tessera_domain = 0;
pub const TESSERA_DOMAIN_OS: tessera_domain = 1;
pub const TESSERA_DOMAIN_CUDA: tessera_domain = 2;
pub const TESSERA_DOMAIN_NCCL: tessera_domain = 3;
pub const TESSERA_DOMAIN_TORCH: tessera_domain = 4;
pub type tessera_domain = u32;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tessera_error {
    pub code: i32,
    pub domain: i32,
    pub native_code: i32,
    pub rank: i32,
    pub message: [::core::ffi::c_char; 240usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_error"][::core::mem::size_of::<tessera_error>() - 256usize];
    ["Alignment of tessera_error"][::core::mem::align_of::<tessera_error>() - 4usize];
    [
        "Offset of field: tessera_error::code",
    ][::core::mem::offset_of!(tessera_error, code) - 0usize];
    [
        "Offset of field: tessera_error::domain",
    ][::core::mem::offset_of!(tessera_error, domain) - 4usize];
    [
        "Offset of field: tessera_error::native_code",
    ][::core::mem::offset_of!(tessera_error, native_code) - 8usize];
    [
        "Offset of field: tessera_error::rank",
    ][::core::mem::offset_of!(tessera_error, rank) - 12usize];
    [
        "Offset of field: tessera_error::message",
    ][::core::mem::offset_of!(tessera_error, message) - 16usize];
};
impl Default for tessera_error {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const TESSERA_LOG_TRACE: tessera_log_level = 0;
pub const TESSERA_LOG_DEBUG: tessera_log_level = 1;
pub const TESSERA_LOG_INFO: tessera_log_level = 2;
pub const TESSERA_LOG_WARNING: tessera_log_level = 3;
pub const TESSERA_LOG_ERROR: tessera_log_level = 4;
pub const TESSERA_LOG_OFF: tessera_log_level = 5;
pub type tessera_log_level = u32;
pub const TESSERA_KEY_BOOLEAN: tessera_key_type = 0;
pub const TESSERA_KEY_INTEGER: tessera_key_type = 1;
pub const TESSERA_KEY_REAL: tessera_key_type = 2;
pub const TESSERA_KEY_TEXT: tessera_key_type = 3;
pub const TESSERA_KEY_CHOICE: tessera_key_type = 4;
pub const TESSERA_KEY_TEXT_LIST: tessera_key_type = 5;
pub const TESSERA_KEY_REAL_LIST: tessera_key_type = 6;
pub type tessera_key_type = u32;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tessera_key_info {
    pub struct_size: usize,
    pub type_: i32,
    pub has_min: i32,
    pub has_max: i32,
    pub reserved0: i32,
    pub min: f64,
    pub max: f64,
    pub name: [::core::ffi::c_char; 64usize],
    pub default_value: [::core::ffi::c_char; 128usize],
    pub choices: [::core::ffi::c_char; 256usize],
    pub doc: [::core::ffi::c_char; 512usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_key_info"][::core::mem::size_of::<tessera_key_info>() - 1000usize];
    [
        "Alignment of tessera_key_info",
    ][::core::mem::align_of::<tessera_key_info>() - 8usize];
    [
        "Offset of field: tessera_key_info::struct_size",
    ][::core::mem::offset_of!(tessera_key_info, struct_size) - 0usize];
    [
        "Offset of field: tessera_key_info::type_",
    ][::core::mem::offset_of!(tessera_key_info, type_) - 8usize];
    [
        "Offset of field: tessera_key_info::has_min",
    ][::core::mem::offset_of!(tessera_key_info, has_min) - 12usize];
    [
        "Offset of field: tessera_key_info::has_max",
    ][::core::mem::offset_of!(tessera_key_info, has_max) - 16usize];
    [
        "Offset of field: tessera_key_info::reserved0",
    ][::core::mem::offset_of!(tessera_key_info, reserved0) - 20usize];
    [
        "Offset of field: tessera_key_info::min",
    ][::core::mem::offset_of!(tessera_key_info, min) - 24usize];
    [
        "Offset of field: tessera_key_info::max",
    ][::core::mem::offset_of!(tessera_key_info, max) - 32usize];
    [
        "Offset of field: tessera_key_info::name",
    ][::core::mem::offset_of!(tessera_key_info, name) - 40usize];
    [
        "Offset of field: tessera_key_info::default_value",
    ][::core::mem::offset_of!(tessera_key_info, default_value) - 104usize];
    [
        "Offset of field: tessera_key_info::choices",
    ][::core::mem::offset_of!(tessera_key_info, choices) - 232usize];
    [
        "Offset of field: tessera_key_info::doc",
    ][::core::mem::offset_of!(tessera_key_info, doc) - 488usize];
};
impl Default for tessera_key_info {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const TESSERA_BACKEND_AUTO: tessera_backend = 0;
pub const TESSERA_BACKEND_LOCAL: tessera_backend = 1;
pub const TESSERA_BACKEND_GLOO: tessera_backend = 2;
pub const TESSERA_BACKEND_NCCL: tessera_backend = 3;
pub type tessera_backend = u32;
pub const TESSERA_DEVICE_CPU: tessera_device = 0;
pub const TESSERA_DEVICE_CUDA: tessera_device = 1;
pub type tessera_device = u32;
pub const TESSERA_ALLOCATOR_CACHING: tessera_allocator = 0;
pub const TESSERA_ALLOCATOR_SYSTEM: tessera_allocator = 1;
pub type tessera_allocator = u32;
pub const TESSERA_SWITCH_AUTO: tessera_switch = 0;
pub const TESSERA_SWITCH_ON: tessera_switch = 1;
pub const TESSERA_SWITCH_OFF: tessera_switch = 2;
pub type tessera_switch = u32;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tessera_world_options {
    pub struct_size: usize,
    pub rank: i32,
    pub size: i32,
    pub local_rank: i32,
    pub local_size: i32,
    pub backend: i32,
    pub device: i32,
    pub intra_op_threads: i32,
    pub agent_store: i32,
    pub timeout_ns: i64,
    pub rendezvous: *const ::core::ffi::c_char,
    pub job: *const ::core::ffi::c_char,
    pub allocator: i32,
    pub reserved0: i32,
    pub register_buffers: i32,
    pub expandable_segments: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of tessera_world_options",
    ][::core::mem::size_of::<tessera_world_options>() - 80usize];
    [
        "Alignment of tessera_world_options",
    ][::core::mem::align_of::<tessera_world_options>() - 8usize];
    [
        "Offset of field: tessera_world_options::struct_size",
    ][::core::mem::offset_of!(tessera_world_options, struct_size) - 0usize];
    [
        "Offset of field: tessera_world_options::rank",
    ][::core::mem::offset_of!(tessera_world_options, rank) - 8usize];
    [
        "Offset of field: tessera_world_options::size",
    ][::core::mem::offset_of!(tessera_world_options, size) - 12usize];
    [
        "Offset of field: tessera_world_options::local_rank",
    ][::core::mem::offset_of!(tessera_world_options, local_rank) - 16usize];
    [
        "Offset of field: tessera_world_options::local_size",
    ][::core::mem::offset_of!(tessera_world_options, local_size) - 20usize];
    [
        "Offset of field: tessera_world_options::backend",
    ][::core::mem::offset_of!(tessera_world_options, backend) - 24usize];
    [
        "Offset of field: tessera_world_options::device",
    ][::core::mem::offset_of!(tessera_world_options, device) - 28usize];
    [
        "Offset of field: tessera_world_options::intra_op_threads",
    ][::core::mem::offset_of!(tessera_world_options, intra_op_threads) - 32usize];
    [
        "Offset of field: tessera_world_options::agent_store",
    ][::core::mem::offset_of!(tessera_world_options, agent_store) - 36usize];
    [
        "Offset of field: tessera_world_options::timeout_ns",
    ][::core::mem::offset_of!(tessera_world_options, timeout_ns) - 40usize];
    [
        "Offset of field: tessera_world_options::rendezvous",
    ][::core::mem::offset_of!(tessera_world_options, rendezvous) - 48usize];
    [
        "Offset of field: tessera_world_options::job",
    ][::core::mem::offset_of!(tessera_world_options, job) - 56usize];
    [
        "Offset of field: tessera_world_options::allocator",
    ][::core::mem::offset_of!(tessera_world_options, allocator) - 64usize];
    [
        "Offset of field: tessera_world_options::reserved0",
    ][::core::mem::offset_of!(tessera_world_options, reserved0) - 68usize];
    [
        "Offset of field: tessera_world_options::register_buffers",
    ][::core::mem::offset_of!(tessera_world_options, register_buffers) - 72usize];
    [
        "Offset of field: tessera_world_options::expandable_segments",
    ][::core::mem::offset_of!(tessera_world_options, expandable_segments) - 76usize];
};
impl Default for tessera_world_options {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_mesh_options {
    pub struct_size: usize,
    pub pp: i64,
    pub dp_replicate: i64,
    pub dp_shard: i64,
    pub cp: i64,
    pub tp: i64,
    pub ep: i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of tessera_mesh_options",
    ][::core::mem::size_of::<tessera_mesh_options>() - 56usize];
    [
        "Alignment of tessera_mesh_options",
    ][::core::mem::align_of::<tessera_mesh_options>() - 8usize];
    [
        "Offset of field: tessera_mesh_options::struct_size",
    ][::core::mem::offset_of!(tessera_mesh_options, struct_size) - 0usize];
    [
        "Offset of field: tessera_mesh_options::pp",
    ][::core::mem::offset_of!(tessera_mesh_options, pp) - 8usize];
    [
        "Offset of field: tessera_mesh_options::dp_replicate",
    ][::core::mem::offset_of!(tessera_mesh_options, dp_replicate) - 16usize];
    [
        "Offset of field: tessera_mesh_options::dp_shard",
    ][::core::mem::offset_of!(tessera_mesh_options, dp_shard) - 24usize];
    [
        "Offset of field: tessera_mesh_options::cp",
    ][::core::mem::offset_of!(tessera_mesh_options, cp) - 32usize];
    [
        "Offset of field: tessera_mesh_options::tp",
    ][::core::mem::offset_of!(tessera_mesh_options, tp) - 40usize];
    [
        "Offset of field: tessera_mesh_options::ep",
    ][::core::mem::offset_of!(tessera_mesh_options, ep) - 48usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct DLManagedTensorVersioned {
    _unused: [u8; 0],
}
pub const TESSERA_REDUCE_SUM: tessera_reduce = 0;
pub const TESSERA_REDUCE_AVG: tessera_reduce = 1;
pub const TESSERA_REDUCE_MAX: tessera_reduce = 2;
pub const TESSERA_REDUCE_MIN: tessera_reduce = 3;
pub type tessera_reduce = u32;
pub const TESSERA_BATCH_TOKENS: tessera_batch_array = 0;
pub const TESSERA_BATCH_LABELS: tessera_batch_array = 1;
pub const TESSERA_BATCH_POSITIONS: tessera_batch_array = 2;
pub const TESSERA_BATCH_CU_SEQLENS: tessera_batch_array = 3;
pub const TESSERA_BATCH_CU_SEQLENS_PADDED: tessera_batch_array = 4;
pub const TESSERA_BATCH_SEGMENTS: tessera_batch_array = 5;
pub type tessera_batch_array = u32;
pub const TESSERA_BATCH_FORM_LENGTHS: tessera_batch_form = 0;
pub const TESSERA_BATCH_FORM_ROWS: tessera_batch_form = 1;
pub const TESSERA_BATCH_FORM_POSITIONS: tessera_batch_form = 2;
pub const TESSERA_BATCH_FORM_SEGMENTS: tessera_batch_form = 3;
pub const TESSERA_BATCH_FORM_CU_SEQLENS: tessera_batch_form = 4;
pub type tessera_batch_form = u32;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_metrics {
    pub struct_size: usize,
    pub step: i64,
    pub loss: f64,
    pub grad_norm: f64,
    pub lr: f64,
    pub tokens: i64,
    pub label_tokens: i64,
    pub seconds: f64,
    pub tokens_per_s: f64,
    pub communication_seconds: f64,
    pub memory: i64,
    pub expert_load_ratio: f64,
    pub expert_idle: f64,
    pub expert_balance_loss: f64,
    pub expert_z_loss: f64,
    pub memory_reserved: i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_metrics"][::core::mem::size_of::<tessera_metrics>() - 128usize];
    [
        "Alignment of tessera_metrics",
    ][::core::mem::align_of::<tessera_metrics>() - 8usize];
    [
        "Offset of field: tessera_metrics::struct_size",
    ][::core::mem::offset_of!(tessera_metrics, struct_size) - 0usize];
    [
        "Offset of field: tessera_metrics::step",
    ][::core::mem::offset_of!(tessera_metrics, step) - 8usize];
    [
        "Offset of field: tessera_metrics::loss",
    ][::core::mem::offset_of!(tessera_metrics, loss) - 16usize];
    [
        "Offset of field: tessera_metrics::grad_norm",
    ][::core::mem::offset_of!(tessera_metrics, grad_norm) - 24usize];
    [
        "Offset of field: tessera_metrics::lr",
    ][::core::mem::offset_of!(tessera_metrics, lr) - 32usize];
    [
        "Offset of field: tessera_metrics::tokens",
    ][::core::mem::offset_of!(tessera_metrics, tokens) - 40usize];
    [
        "Offset of field: tessera_metrics::label_tokens",
    ][::core::mem::offset_of!(tessera_metrics, label_tokens) - 48usize];
    [
        "Offset of field: tessera_metrics::seconds",
    ][::core::mem::offset_of!(tessera_metrics, seconds) - 56usize];
    [
        "Offset of field: tessera_metrics::tokens_per_s",
    ][::core::mem::offset_of!(tessera_metrics, tokens_per_s) - 64usize];
    [
        "Offset of field: tessera_metrics::communication_seconds",
    ][::core::mem::offset_of!(tessera_metrics, communication_seconds) - 72usize];
    [
        "Offset of field: tessera_metrics::memory",
    ][::core::mem::offset_of!(tessera_metrics, memory) - 80usize];
    [
        "Offset of field: tessera_metrics::expert_load_ratio",
    ][::core::mem::offset_of!(tessera_metrics, expert_load_ratio) - 88usize];
    [
        "Offset of field: tessera_metrics::expert_idle",
    ][::core::mem::offset_of!(tessera_metrics, expert_idle) - 96usize];
    [
        "Offset of field: tessera_metrics::expert_balance_loss",
    ][::core::mem::offset_of!(tessera_metrics, expert_balance_loss) - 104usize];
    [
        "Offset of field: tessera_metrics::expert_z_loss",
    ][::core::mem::offset_of!(tessera_metrics, expert_z_loss) - 112usize];
    [
        "Offset of field: tessera_metrics::memory_reserved",
    ][::core::mem::offset_of!(tessera_metrics, memory_reserved) - 120usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_generate_options {
    pub struct_size: usize,
    pub max_new_tokens: i64,
    pub top_k: i64,
    pub seed: i64,
    pub temperature: f64,
    pub top_p: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of tessera_generate_options",
    ][::core::mem::size_of::<tessera_generate_options>() - 48usize];
    [
        "Alignment of tessera_generate_options",
    ][::core::mem::align_of::<tessera_generate_options>() - 8usize];
    [
        "Offset of field: tessera_generate_options::struct_size",
    ][::core::mem::offset_of!(tessera_generate_options, struct_size) - 0usize];
    [
        "Offset of field: tessera_generate_options::max_new_tokens",
    ][::core::mem::offset_of!(tessera_generate_options, max_new_tokens) - 8usize];
    [
        "Offset of field: tessera_generate_options::top_k",
    ][::core::mem::offset_of!(tessera_generate_options, top_k) - 16usize];
    [
        "Offset of field: tessera_generate_options::seed",
    ][::core::mem::offset_of!(tessera_generate_options, seed) - 24usize];
    [
        "Offset of field: tessera_generate_options::temperature",
    ][::core::mem::offset_of!(tessera_generate_options, temperature) - 32usize];
    [
        "Offset of field: tessera_generate_options::top_p",
    ][::core::mem::offset_of!(tessera_generate_options, top_p) - 40usize];
};
pub const TESSERA_PLAN_SUMMARY: tessera_plan_part = 0;
pub const TESSERA_PLAN_PROGRAM: tessera_plan_part = 1;
pub const TESSERA_PLAN_SEARCH: tessera_plan_part = 2;
pub const TESSERA_PLAN_SEARCH_JSON: tessera_plan_part = 3;
pub type tessera_plan_part = u32;
pub const TESSERA_TIMELINE_TEXT: tessera_timeline_format = 0;
pub const TESSERA_TIMELINE_COLOUR: tessera_timeline_format = 1;
pub const TESSERA_TIMELINE_SVG: tessera_timeline_format = 2;
pub const TESSERA_TIMELINE_TRACE: tessera_timeline_format = 3;
pub type tessera_timeline_format = u32;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct tessera_timeline_options {
    pub struct_size: usize,
    pub format: i32,
    pub columns: i32,
    pub backward: f64,
    pub collective: f64,
    pub transfer: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of tessera_timeline_options",
    ][::core::mem::size_of::<tessera_timeline_options>() - 40usize];
    [
        "Alignment of tessera_timeline_options",
    ][::core::mem::align_of::<tessera_timeline_options>() - 8usize];
    [
        "Offset of field: tessera_timeline_options::struct_size",
    ][::core::mem::offset_of!(tessera_timeline_options, struct_size) - 0usize];
    [
        "Offset of field: tessera_timeline_options::format",
    ][::core::mem::offset_of!(tessera_timeline_options, format) - 8usize];
    [
        "Offset of field: tessera_timeline_options::columns",
    ][::core::mem::offset_of!(tessera_timeline_options, columns) - 12usize];
    [
        "Offset of field: tessera_timeline_options::backward",
    ][::core::mem::offset_of!(tessera_timeline_options, backward) - 16usize];
    [
        "Offset of field: tessera_timeline_options::collective",
    ][::core::mem::offset_of!(tessera_timeline_options, collective) - 24usize];
    [
        "Offset of field: tessera_timeline_options::transfer",
    ][::core::mem::offset_of!(tessera_timeline_options, transfer) - 32usize];
};
pub const TESSERA_EVENT_METRICS: tessera_event_type = 1;
pub const TESSERA_EVENT_LOG: tessera_event_type = 2;
pub const TESSERA_EVENT_FAILURE: tessera_event_type = 3;
pub const TESSERA_EVENT_CHECKPOINT: tessera_event_type = 4;
pub type tessera_event_type = u32;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct tessera_event {
    pub struct_size: usize,
    pub type_: i32,
    pub rank: i32,
    pub level: i32,
    pub status: i32,
    pub time_ns: i64,
    pub dropped: i64,
    pub step: i64,
    pub loss: f64,
    pub grad_norm: f64,
    pub lr: f64,
    pub tokens: i64,
    pub label_tokens: i64,
    pub seconds: f64,
    pub tokens_per_s: f64,
    pub memory: i64,
    pub message: [::core::ffi::c_char; 512usize],
    pub expert_load_ratio: f64,
    pub expert_idle: f64,
    pub expert_balance_loss: f64,
    pub expert_z_loss: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of tessera_event"][::core::mem::size_of::<tessera_event>() - 656usize];
    ["Alignment of tessera_event"][::core::mem::align_of::<tessera_event>() - 8usize];
    [
        "Offset of field: tessera_event::struct_size",
    ][::core::mem::offset_of!(tessera_event, struct_size) - 0usize];
    [
        "Offset of field: tessera_event::type_",
    ][::core::mem::offset_of!(tessera_event, type_) - 8usize];
    [
        "Offset of field: tessera_event::rank",
    ][::core::mem::offset_of!(tessera_event, rank) - 12usize];
    [
        "Offset of field: tessera_event::level",
    ][::core::mem::offset_of!(tessera_event, level) - 16usize];
    [
        "Offset of field: tessera_event::status",
    ][::core::mem::offset_of!(tessera_event, status) - 20usize];
    [
        "Offset of field: tessera_event::time_ns",
    ][::core::mem::offset_of!(tessera_event, time_ns) - 24usize];
    [
        "Offset of field: tessera_event::dropped",
    ][::core::mem::offset_of!(tessera_event, dropped) - 32usize];
    [
        "Offset of field: tessera_event::step",
    ][::core::mem::offset_of!(tessera_event, step) - 40usize];
    [
        "Offset of field: tessera_event::loss",
    ][::core::mem::offset_of!(tessera_event, loss) - 48usize];
    [
        "Offset of field: tessera_event::grad_norm",
    ][::core::mem::offset_of!(tessera_event, grad_norm) - 56usize];
    [
        "Offset of field: tessera_event::lr",
    ][::core::mem::offset_of!(tessera_event, lr) - 64usize];
    [
        "Offset of field: tessera_event::tokens",
    ][::core::mem::offset_of!(tessera_event, tokens) - 72usize];
    [
        "Offset of field: tessera_event::label_tokens",
    ][::core::mem::offset_of!(tessera_event, label_tokens) - 80usize];
    [
        "Offset of field: tessera_event::seconds",
    ][::core::mem::offset_of!(tessera_event, seconds) - 88usize];
    [
        "Offset of field: tessera_event::tokens_per_s",
    ][::core::mem::offset_of!(tessera_event, tokens_per_s) - 96usize];
    [
        "Offset of field: tessera_event::memory",
    ][::core::mem::offset_of!(tessera_event, memory) - 104usize];
    [
        "Offset of field: tessera_event::message",
    ][::core::mem::offset_of!(tessera_event, message) - 112usize];
    [
        "Offset of field: tessera_event::expert_load_ratio",
    ][::core::mem::offset_of!(tessera_event, expert_load_ratio) - 624usize];
    [
        "Offset of field: tessera_event::expert_idle",
    ][::core::mem::offset_of!(tessera_event, expert_idle) - 632usize];
    [
        "Offset of field: tessera_event::expert_balance_loss",
    ][::core::mem::offset_of!(tessera_event, expert_balance_loss) - 640usize];
    [
        "Offset of field: tessera_event::expert_z_loss",
    ][::core::mem::offset_of!(tessera_event, expert_z_loss) - 648usize];
};
impl Default for tessera_event {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
unsafe extern "C" {
    pub fn tessera_status_name(status: tessera_status) -> *const ::core::ffi::c_char;
    pub fn tessera_status_string(status: tessera_status) -> *const ::core::ffi::c_char;
    #[must_use]
    pub fn tessera_handle_count(
        kind: i32,
        out_count: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    pub fn tessera_version_string() -> *const ::core::ffi::c_char;
    pub fn tessera_abi_version() -> i32;
    #[must_use]
    pub fn tessera_build_info(
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_log_set_level(level: i32, err: *mut tessera_error) -> tessera_status;
    #[must_use]
    pub fn tessera_log_get_level(
        out_level: *mut i32,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_log_set_events(
        events: tessera_events,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_key_info_init(
        info: *mut tessera_key_info,
        struct_size: usize,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_config_create(
        out_config: *mut tessera_config,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_config_destroy(config: tessera_config) -> tessera_status;
    #[must_use]
    pub fn tessera_config_set(
        config: tessera_config,
        key: *const ::core::ffi::c_char,
        value: *const ::core::ffi::c_char,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_config_get(
        config: tessera_config,
        key: *const ::core::ffi::c_char,
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_config_load(
        config: tessera_config,
        path: *const ::core::ffi::c_char,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_config_load_text(
        config: tessera_config,
        yaml: *const ::core::ffi::c_char,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_config_get_text(
        config: tessera_config,
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_key_count(
        out_count: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_key_get(
        index: i64,
        out_info: *mut tessera_key_info,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_key_describe(
        key: *const ::core::ffi::c_char,
        out_info: *mut tessera_key_info,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_world_options_init(
        options: *mut tessera_world_options,
        struct_size: usize,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_world_options_load(
        options: *mut tessera_world_options,
        config: tessera_config,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_world_create(
        options: *const tessera_world_options,
        out_world: *mut tessera_world,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_world_create_from_environment(
        options: *const tessera_world_options,
        out_world: *mut tessera_world,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_world_create_threads(
        size: i32,
        options: *const tessera_world_options,
        out_worlds: *mut tessera_world,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_world_destroy(world: tessera_world) -> tessera_status;
    #[must_use]
    pub fn tessera_world_close(
        world: tessera_world,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_world_close_async(
        world: tessera_world,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_world_abort(
        world: tessera_world,
        reason: *const ::core::ffi::c_char,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_world_get_rank(
        world: tessera_world,
        out_rank: *mut i32,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_world_get_size(
        world: tessera_world,
        out_size: *mut i32,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_options_init(
        options: *mut tessera_mesh_options,
        struct_size: usize,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_options_load(
        options: *mut tessera_mesh_options,
        config: tessera_config,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_create(
        world: tessera_world,
        options: *const tessera_mesh_options,
        out_mesh: *mut tessera_mesh,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_create_async(
        world: tessera_world,
        options: *const tessera_mesh_options,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_destroy(mesh: tessera_mesh) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_get_size(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        out_size: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_get_index(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        out_index: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_get_ranks(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        buf: *mut i32,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_get_text(
        mesh: tessera_mesh,
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tensor_create(
        dtype: i32,
        dims: *const i64,
        n_dims: i64,
        data: *const ::core::ffi::c_void,
        bytes: usize,
        out_tensor: *mut tessera_tensor,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tensor_create_view(
        dtype: i32,
        dims: *const i64,
        n_dims: i64,
        data: *mut ::core::ffi::c_void,
        bytes: usize,
        out_tensor: *mut tessera_tensor,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tensor_create_dlpack(
        dlpack: *mut DLManagedTensorVersioned,
        out_tensor: *mut tessera_tensor,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tensor_destroy(tensor: tessera_tensor) -> tessera_status;
    #[must_use]
    pub fn tessera_tensor_get_dtype(
        tensor: tessera_tensor,
        out_dtype: *mut i32,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tensor_get_dims(
        tensor: tessera_tensor,
        buf: *mut i64,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tensor_get_data(
        tensor: tessera_tensor,
        buf: *mut ::core::ffi::c_void,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tensor_set_data(
        tensor: tessera_tensor,
        data: *const ::core::ffi::c_void,
        bytes: usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tensor_get_dlpack(
        tensor: tessera_tensor,
        out_dlpack: *mut *mut DLManagedTensorVersioned,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_barrier(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_barrier_async(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_all_reduce(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        tensor: tessera_tensor,
        reduce: i32,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_all_reduce_async(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        tensor: tessera_tensor,
        reduce: i32,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_all_gather(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        input: tessera_tensor,
        output: tessera_tensor,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_all_gather_async(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        input: tessera_tensor,
        output: tessera_tensor,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_reduce_scatter(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        input: tessera_tensor,
        output: tessera_tensor,
        reduce: i32,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_reduce_scatter_async(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        input: tessera_tensor,
        output: tessera_tensor,
        reduce: i32,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_all_to_all(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        input: tessera_tensor,
        output: tessera_tensor,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_all_to_all_async(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        input: tessera_tensor,
        output: tessera_tensor,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_broadcast(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        tensor: tessera_tensor,
        root: i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_mesh_broadcast_async(
        mesh: tessera_mesh,
        axis: *const ::core::ffi::c_char,
        tensor: tessera_tensor,
        root: i64,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_model_open(
        directory: *const ::core::ffi::c_char,
        out_model: *mut tessera_model,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_model_create(
        config_json: *const ::core::ffi::c_char,
        out_model: *mut tessera_model,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_model_destroy(model: tessera_model) -> tessera_status;
    #[must_use]
    pub fn tessera_model_get_text(
        model: tessera_model,
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_model_get_parameter_count(
        model: tessera_model,
        out_count: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_model_set_tp_plan(
        model: tessera_model,
        name: *const ::core::ffi::c_char,
        plan: *const ::core::ffi::c_char,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_model_open_plugin(
        directory: *const ::core::ffi::c_char,
        plugin: *const ::core::ffi::c_char,
        out_model: *mut tessera_model,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_model_create_plugin(
        config_json: *const ::core::ffi::c_char,
        plugin: *const ::core::ffi::c_char,
        out_model: *mut tessera_model,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_batch_create(
        out_batch: *mut tessera_batch,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_batch_destroy(batch: tessera_batch) -> tessera_status;
    #[must_use]
    pub fn tessera_batch_push(
        batch: tessera_batch,
        tokens: *const i64,
        labels: *const i64,
        n_tokens: i64,
        lengths: *const i64,
        n_lengths: i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_batch_count(
        batch: tessera_batch,
        out_count: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_batch_count_tokens(
        batch: tessera_batch,
        out_tokens: *mut i64,
        out_labels: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_batch_get_array(
        batch: tessera_batch,
        index: i64,
        array: i32,
        buf: *mut i64,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_batch_push_form(
        batch: tessera_batch,
        layout: tessera_config,
        form: i32,
        tokens: *const i64,
        labels: *const i64,
        n_tokens: i64,
        labels_shifted: i32,
        index: *const i64,
        n_index: i64,
        extent: i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_batch_get_rows(
        batch: tessera_batch,
        index: i64,
        row_length: i64,
        pad_token: i64,
        buf: *mut i64,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_dataset_open(
        config: tessera_config,
        mesh: tessera_mesh,
        model: tessera_model,
        out_dataset: *mut tessera_dataset,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_dataset_create(
        config: tessera_config,
        mesh: tessera_mesh,
        model: tessera_model,
        out_dataset: *mut tessera_dataset,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_dataset_destroy(dataset: tessera_dataset) -> tessera_status;
    #[must_use]
    pub fn tessera_dataset_push(
        dataset: tessera_dataset,
        tokens: *const i64,
        labels: *const i64,
        count: i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_dataset_push_end(
        dataset: tessera_dataset,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_dataset_next(
        dataset: tessera_dataset,
        out_batch: *mut tessera_batch,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_dataset_get_state(
        dataset: tessera_dataset,
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_dataset_set_state(
        dataset: tessera_dataset,
        state: *const ::core::ffi::c_char,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_dataset_count_steps(
        dataset: tessera_dataset,
        out_steps: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_dataset_get_report(
        dataset: tessera_dataset,
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_dataset_get_lengths(
        dataset: tessera_dataset,
        buf: *mut i64,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_dataset_push_arrow(
        dataset: tessera_dataset,
        schema: *mut ::core::ffi::c_void,
        array: *mut ::core::ffi::c_void,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_metrics_init(
        metrics: *mut tessera_metrics,
        struct_size: usize,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_generate_options_init(
        options: *mut tessera_generate_options,
        struct_size: usize,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_create(
        mesh: tessera_mesh,
        model: tessera_model,
        config: tessera_config,
        out_trainer: *mut tessera_trainer,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_create_async(
        mesh: tessera_mesh,
        model: tessera_model,
        config: tessera_config,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_destroy(trainer: tessera_trainer) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_set_events(
        trainer: tessera_trainer,
        events: tessera_events,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_step(
        trainer: tessera_trainer,
        batch: tessera_batch,
        out_metrics: *mut tessera_metrics,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_step_async(
        trainer: tessera_trainer,
        batch: tessera_batch,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_forward_backward(
        trainer: tessera_trainer,
        batch: tessera_batch,
        label_tokens: i64,
        out_metrics: *mut tessera_metrics,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_forward_backward_async(
        trainer: tessera_trainer,
        batch: tessera_batch,
        label_tokens: i64,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_optimizer_step(
        trainer: tessera_trainer,
        out_metrics: *mut tessera_metrics,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_optimizer_step_async(
        trainer: tessera_trainer,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_zero_grad(
        trainer: tessera_trainer,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_get_step_count(
        trainer: tessera_trainer,
        out_steps: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_evaluate(
        trainer: tessera_trainer,
        batch: tessera_batch,
        out_metrics: *mut tessera_metrics,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_evaluate_async(
        trainer: tessera_trainer,
        batch: tessera_batch,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_generate(
        trainer: tessera_trainer,
        prompt: *const i64,
        n_prompt: i64,
        options: *const tessera_generate_options,
        buf: *mut i64,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_generate_async(
        trainer: tessera_trainer,
        prompt: *const i64,
        n_prompt: i64,
        options: *const tessera_generate_options,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_get_logits(
        trainer: tessera_trainer,
        batch: tessera_batch,
        out_logits: *mut tessera_tensor,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_get_logits_async(
        trainer: tessera_trainer,
        batch: tessera_batch,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_count_parameters(
        trainer: tessera_trainer,
        out_count: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_get_parameter_name(
        trainer: tessera_trainer,
        index: i64,
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_get_parameter(
        trainer: tessera_trainer,
        name: *const ::core::ffi::c_char,
        out_tensor: *mut tessera_tensor,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_get_parameter_async(
        trainer: tessera_trainer,
        name: *const ::core::ffi::c_char,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_get_gradient(
        trainer: tessera_trainer,
        name: *const ::core::ffi::c_char,
        out_tensor: *mut tessera_tensor,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_get_gradient_async(
        trainer: tessera_trainer,
        name: *const ::core::ffi::c_char,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_set_parameter(
        trainer: tessera_trainer,
        name: *const ::core::ffi::c_char,
        tensor: tessera_tensor,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_set_parameter_async(
        trainer: tessera_trainer,
        name: *const ::core::ffi::c_char,
        tensor: tessera_tensor,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_trainer_get_program(
        trainer: tessera_trainer,
        microbatches: i64,
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_checkpoint_save(
        trainer: tessera_trainer,
        directory: *const ::core::ffi::c_char,
        dataset: tessera_dataset,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_checkpoint_save_async(
        trainer: tessera_trainer,
        directory: *const ::core::ffi::c_char,
        dataset: tessera_dataset,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_checkpoint_load(
        trainer: tessera_trainer,
        directory: *const ::core::ffi::c_char,
        dataset: tessera_dataset,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_checkpoint_load_async(
        trainer: tessera_trainer,
        directory: *const ::core::ffi::c_char,
        dataset: tessera_dataset,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_checkpoint_export(
        trainer: tessera_trainer,
        directory: *const ::core::ffi::c_char,
        dtype: *const ::core::ffi::c_char,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_checkpoint_export_async(
        trainer: tessera_trainer,
        directory: *const ::core::ffi::c_char,
        dtype: *const ::core::ffi::c_char,
        out_future: *mut tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tokenizer_open(
        directory: *const ::core::ffi::c_char,
        out_tokenizer: *mut tessera_tokenizer,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tokenizer_destroy(tokenizer: tessera_tokenizer) -> tessera_status;
    #[must_use]
    pub fn tessera_tokenizer_count(
        tokenizer: tessera_tokenizer,
        out_count: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tokenizer_encode(
        tokenizer: tessera_tokenizer,
        text: *const ::core::ffi::c_char,
        bytes: usize,
        add_special: i32,
        buf: *mut i64,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tokenizer_decode(
        tokenizer: tessera_tokenizer,
        ids: *const i64,
        n_ids: i64,
        skip_special: i32,
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tokenizer_get_chat_text(
        tokenizer: tessera_tokenizer,
        conversation: *const ::core::ffi::c_char,
        add_generation_prompt: i32,
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tokenizer_encode_chat(
        tokenizer: tessera_tokenizer,
        conversation: *const ::core::ffi::c_char,
        tokens: *mut i64,
        labels: *mut i64,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_tokenizer_encode_batch(
        tokenizer: tessera_tokenizer,
        text: *const ::core::ffi::c_char,
        bytes: usize,
        text_ends: *const i64,
        n_texts: i64,
        add_special: i32,
        out_ends: *mut i64,
        buf: *mut i64,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_pack_create(
        packer: *const ::core::ffi::c_char,
        lengths: *const i64,
        n_lengths: i64,
        capacity: i64,
        seed: i64,
        out_packs: *mut i64,
        out_pack_count: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_pack_get_pieces(
        config: tessera_config,
        lengths: *const i64,
        n_lengths: i64,
        buf: *mut i64,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_plan_get_text(
        model: tessera_model,
        config: tessera_config,
        world_size: i64,
        part: i32,
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_timeline_options_init(
        options: *mut tessera_timeline_options,
        struct_size: usize,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_plan_get_timeline(
        model: tessera_model,
        config: tessera_config,
        world_size: i64,
        options: *const tessera_timeline_options,
        buf: *mut ::core::ffi::c_char,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_future_destroy(future: tessera_future) -> tessera_status;
    #[must_use]
    pub fn tessera_future_poll(
        future: tessera_future,
        out_done: *mut i32,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_future_wait(
        future: tessera_future,
        timeout_ns: i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_future_wait_any(
        futures: *const tessera_future,
        count: i64,
        timeout_ns: i64,
        out_index: *mut i64,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_future_cancel(
        future: tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_future_get_result(
        future: tessera_future,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_future_get_metrics(
        future: tessera_future,
        out_metrics: *mut tessera_metrics,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_future_get_tokens(
        future: tessera_future,
        buf: *mut i64,
        cap: usize,
        out_len: *mut usize,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_future_get_tensor(
        future: tessera_future,
        out_tensor: *mut tessera_tensor,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_future_get_mesh(
        future: tessera_future,
        out_mesh: *mut tessera_mesh,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_future_get_trainer(
        future: tessera_future,
        out_trainer: *mut tessera_trainer,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_event_init(
        event: *mut tessera_event,
        struct_size: usize,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_events_create(
        capacity: i64,
        out_events: *mut tessera_events,
        err: *mut tessera_error,
    ) -> tessera_status;
    #[must_use]
    pub fn tessera_events_destroy(events: tessera_events) -> tessera_status;
    #[must_use]
    pub fn tessera_events_next(
        events: tessera_events,
        timeout_ns: i64,
        out_event: *mut tessera_event,
        err: *mut tessera_error,
    ) -> tessera_status;
}
