# The C interface of Tessera as ccall sees it: constants, structs and functions. Generated from the C headers by bindings/generate.py; do not edit.

# enum tessera_status_code
const TESSERA_OK = Int32(0)
const TESSERA_E_ARGUMENT = Int32(1)
const TESSERA_E_HANDLE_NULL = Int32(2)
const TESSERA_E_HANDLE_STALE = Int32(3)
const TESSERA_E_HANDLE_TYPE = Int32(4)
const TESSERA_E_BUFFER = Int32(5)
const TESSERA_E_BUSY = Int32(6)
const TESSERA_E_TIMEOUT = Int32(7)
const TESSERA_E_CANCELLED = Int32(8)
const TESSERA_E_PEER_FAILED = Int32(9)
const TESSERA_E_COLLECTIVE_MISMATCH = Int32(10)
const TESSERA_E_IO = Int32(11)
const TESSERA_E_FORMAT = Int32(12)
const TESSERA_E_NOT_FOUND = Int32(13)
const TESSERA_E_UNSUPPORTED = Int32(14)
const TESSERA_E_OUT_OF_MEMORY = Int32(15)
const TESSERA_E_NUMERIC = Int32(16)
const TESSERA_E_END = Int32(17)
const TESSERA_E_STATE = Int32(18)
const TESSERA_E_FORKED = Int32(19)
const TESSERA_E_DEVICE = Int32(20)
const TESSERA_E_INTERNAL = Int32(21)

# enum tessera_kind
const TESSERA_KIND_ANY = Int32(0)
const TESSERA_KIND_CONFIG = Int32(1)
const TESSERA_KIND_WORLD = Int32(2)
const TESSERA_KIND_MESH = Int32(3)
const TESSERA_KIND_TENSOR = Int32(4)
const TESSERA_KIND_MODEL = Int32(5)
const TESSERA_KIND_BATCH = Int32(6)
const TESSERA_KIND_DATASET = Int32(7)
const TESSERA_KIND_TRAINER = Int32(8)
const TESSERA_KIND_FUTURE = Int32(9)
const TESSERA_KIND_EVENTS = Int32(10)
const TESSERA_KIND_TOKENIZER = Int32(11)

# enum tessera_dtype
const TESSERA_DTYPE_F32 = Int32(1)
const TESSERA_DTYPE_F64 = Int32(2)
const TESSERA_DTYPE_F16 = Int32(3)
const TESSERA_DTYPE_BF16 = Int32(4)
const TESSERA_DTYPE_I64 = Int32(5)
const TESSERA_DTYPE_I32 = Int32(6)
const TESSERA_DTYPE_U8 = Int32(7)

# enum tessera_domain
const TESSERA_DOMAIN_NONE = Int32(0)
const TESSERA_DOMAIN_OS = Int32(1)
const TESSERA_DOMAIN_CUDA = Int32(2)
const TESSERA_DOMAIN_NCCL = Int32(3)
const TESSERA_DOMAIN_TORCH = Int32(4)

# enum tessera_log_level
const TESSERA_LOG_TRACE = Int32(0)
const TESSERA_LOG_DEBUG = Int32(1)
const TESSERA_LOG_INFO = Int32(2)
const TESSERA_LOG_WARNING = Int32(3)
const TESSERA_LOG_ERROR = Int32(4)
const TESSERA_LOG_OFF = Int32(5)

# enum tessera_key_type
const TESSERA_KEY_BOOLEAN = Int32(0)
const TESSERA_KEY_INTEGER = Int32(1)
const TESSERA_KEY_REAL = Int32(2)
const TESSERA_KEY_TEXT = Int32(3)
const TESSERA_KEY_CHOICE = Int32(4)
const TESSERA_KEY_TEXT_LIST = Int32(5)
const TESSERA_KEY_REAL_LIST = Int32(6)

# enum tessera_backend
const TESSERA_BACKEND_AUTO = Int32(0)
const TESSERA_BACKEND_LOCAL = Int32(1)
const TESSERA_BACKEND_GLOO = Int32(2)
const TESSERA_BACKEND_NCCL = Int32(3)

# enum tessera_device
const TESSERA_DEVICE_CPU = Int32(0)
const TESSERA_DEVICE_CUDA = Int32(1)

# enum tessera_allocator
const TESSERA_ALLOCATOR_CACHING = Int32(0)
const TESSERA_ALLOCATOR_SYSTEM = Int32(1)

# enum tessera_switch
const TESSERA_SWITCH_AUTO = Int32(0)
const TESSERA_SWITCH_ON = Int32(1)
const TESSERA_SWITCH_OFF = Int32(2)

# enum tessera_reduce
const TESSERA_REDUCE_SUM = Int32(0)
const TESSERA_REDUCE_AVG = Int32(1)
const TESSERA_REDUCE_MAX = Int32(2)
const TESSERA_REDUCE_MIN = Int32(3)

# enum tessera_batch_array
const TESSERA_BATCH_TOKENS = Int32(0)
const TESSERA_BATCH_LABELS = Int32(1)
const TESSERA_BATCH_POSITIONS = Int32(2)
const TESSERA_BATCH_CU_SEQLENS = Int32(3)
const TESSERA_BATCH_CU_SEQLENS_PADDED = Int32(4)
const TESSERA_BATCH_SEGMENTS = Int32(5)

# enum tessera_batch_form
const TESSERA_BATCH_FORM_LENGTHS = Int32(0)
const TESSERA_BATCH_FORM_ROWS = Int32(1)
const TESSERA_BATCH_FORM_POSITIONS = Int32(2)
const TESSERA_BATCH_FORM_SEGMENTS = Int32(3)
const TESSERA_BATCH_FORM_CU_SEQLENS = Int32(4)

# enum tessera_plan_part
const TESSERA_PLAN_SUMMARY = Int32(0)
const TESSERA_PLAN_PROGRAM = Int32(1)
const TESSERA_PLAN_SEARCH = Int32(2)
const TESSERA_PLAN_SEARCH_JSON = Int32(3)

# enum tessera_timeline_format
const TESSERA_TIMELINE_TEXT = Int32(0)
const TESSERA_TIMELINE_COLOUR = Int32(1)
const TESSERA_TIMELINE_SVG = Int32(2)
const TESSERA_TIMELINE_TRACE = Int32(3)

# enum tessera_event_type
const TESSERA_EVENT_METRICS = Int32(1)
const TESSERA_EVENT_LOG = Int32(2)
const TESSERA_EVENT_FAILURE = Int32(3)
const TESSERA_EVENT_CHECKPOINT = Int32(4)

const TESSERA_VERSION_MAJOR = 0
const TESSERA_VERSION_MINOR = 1
const TESSERA_VERSION_PATCH = 0
const TESSERA_ABI_VERSION = 1
const TESSERA_FOREVER = -1

const LIBRARY = "libtessera.so.0.1"

struct TesseraConfig
    id::UInt64
end
struct TesseraWorld
    id::UInt64
end
struct TesseraMesh
    id::UInt64
end
struct TesseraTensor
    id::UInt64
end
struct TesseraModel
    id::UInt64
end
struct TesseraBatch
    id::UInt64
end
struct TesseraDataset
    id::UInt64
end
struct TesseraTrainer
    id::UInt64
end
struct TesseraFuture
    id::UInt64
end
struct TesseraEvents
    id::UInt64
end
struct TesseraTokenizer
    id::UInt64
end

mutable struct TesseraError
    code::Int32
    domain::Int32
    native_code::Int32
    rank::Int32
    message::NTuple{240,UInt8}
    TesseraError() = new()
end

mutable struct TesseraKeyInfo
    struct_size::Csize_t
    type::Int32
    has_min::Int32
    has_max::Int32
    reserved0::Int32
    min::Float64
    max::Float64
    name::NTuple{64,UInt8}
    default_value::NTuple{128,UInt8}
    choices::NTuple{256,UInt8}
    doc::NTuple{512,UInt8}
    TesseraKeyInfo() = new()
end

mutable struct TesseraWorldOptions
    struct_size::Csize_t
    rank::Int32
    size::Int32
    local_rank::Int32
    local_size::Int32
    backend::Int32
    device::Int32
    intra_op_threads::Int32
    agent_store::Int32
    timeout_ns::Int64
    rendezvous::Ptr{UInt8}
    job::Ptr{UInt8}
    allocator::Int32
    reserved0::Int32
    register_buffers::Int32
    expandable_segments::Int32
    TesseraWorldOptions() = new()
end

mutable struct TesseraMeshOptions
    struct_size::Csize_t
    pp::Int64
    dp_replicate::Int64
    dp_shard::Int64
    cp::Int64
    tp::Int64
    ep::Int64
    TesseraMeshOptions() = new()
end

mutable struct TesseraMetrics
    struct_size::Csize_t
    step::Int64
    loss::Float64
    grad_norm::Float64
    lr::Float64
    tokens::Int64
    label_tokens::Int64
    seconds::Float64
    tokens_per_s::Float64
    communication_seconds::Float64
    memory::Int64
    expert_load_ratio::Float64
    expert_idle::Float64
    expert_balance_loss::Float64
    expert_z_loss::Float64
    memory_reserved::Int64
    TesseraMetrics() = new()
end

mutable struct TesseraGenerateOptions
    struct_size::Csize_t
    max_new_tokens::Int64
    top_k::Int64
    seed::Int64
    temperature::Float64
    top_p::Float64
    TesseraGenerateOptions() = new()
end

mutable struct TesseraTimelineOptions
    struct_size::Csize_t
    format::Int32
    columns::Int32
    backward::Float64
    collective::Float64
    transfer::Float64
    TesseraTimelineOptions() = new()
end

mutable struct TesseraEvent
    struct_size::Csize_t
    type::Int32
    rank::Int32
    level::Int32
    status::Int32
    time_ns::Int64
    dropped::Int64
    step::Int64
    loss::Float64
    grad_norm::Float64
    lr::Float64
    tokens::Int64
    label_tokens::Int64
    seconds::Float64
    tokens_per_s::Float64
    memory::Int64
    message::NTuple{512,UInt8}
    expert_load_ratio::Float64
    expert_idle::Float64
    expert_balance_loss::Float64
    expert_z_loss::Float64
    TesseraEvent() = new()
end

tessera_status_name(status) =
    ccall((:tessera_status_name, LIBRARY), Cstring, (Int32,), status)
tessera_status_string(status) =
    ccall((:tessera_status_string, LIBRARY), Cstring, (Int32,), status)
tessera_handle_count(kind, out_count, err) =
    ccall((:tessera_handle_count, LIBRARY), Int32, (Int32,Ptr{Int64},Ptr{TesseraError},), kind, out_count, err)
tessera_version_string() =
    ccall((:tessera_version_string, LIBRARY), Cstring, ())
tessera_abi_version() =
    ccall((:tessera_abi_version, LIBRARY), Int32, ())
tessera_build_info(buf, cap, out_len, err) =
    ccall((:tessera_build_info, LIBRARY), Int32, (Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), buf, cap, out_len, err)
tessera_log_set_level(level, err) =
    ccall((:tessera_log_set_level, LIBRARY), Int32, (Int32,Ptr{TesseraError},), level, err)
tessera_log_get_level(out_level, err) =
    ccall((:tessera_log_get_level, LIBRARY), Int32, (Ptr{Int32},Ptr{TesseraError},), out_level, err)
tessera_log_set_events(events, err) =
    ccall((:tessera_log_set_events, LIBRARY), Int32, (TesseraEvents,Ptr{TesseraError},), events, err)
tessera_key_info_init(info, struct_size) =
    ccall((:tessera_key_info_init, LIBRARY), Int32, (Ptr{TesseraKeyInfo},Csize_t,), info, struct_size)
tessera_config_create(out_config, err) =
    ccall((:tessera_config_create, LIBRARY), Int32, (Ptr{TesseraConfig},Ptr{TesseraError},), out_config, err)
tessera_config_destroy(config) =
    ccall((:tessera_config_destroy, LIBRARY), Int32, (TesseraConfig,), config)
tessera_config_set(config, key, value, err) =
    ccall((:tessera_config_set, LIBRARY), Int32, (TesseraConfig,Cstring,Cstring,Ptr{TesseraError},), config, key, value, err)
tessera_config_get(config, key, buf, cap, out_len, err) =
    ccall((:tessera_config_get, LIBRARY), Int32, (TesseraConfig,Cstring,Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), config, key, buf, cap, out_len, err)
tessera_config_load(config, path, err) =
    ccall((:tessera_config_load, LIBRARY), Int32, (TesseraConfig,Cstring,Ptr{TesseraError},), config, path, err)
tessera_config_load_text(config, yaml, err) =
    ccall((:tessera_config_load_text, LIBRARY), Int32, (TesseraConfig,Cstring,Ptr{TesseraError},), config, yaml, err)
tessera_config_get_text(config, buf, cap, out_len, err) =
    ccall((:tessera_config_get_text, LIBRARY), Int32, (TesseraConfig,Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), config, buf, cap, out_len, err)
tessera_key_count(out_count, err) =
    ccall((:tessera_key_count, LIBRARY), Int32, (Ptr{Int64},Ptr{TesseraError},), out_count, err)
tessera_key_get(index, out_info, err) =
    ccall((:tessera_key_get, LIBRARY), Int32, (Int64,Ptr{TesseraKeyInfo},Ptr{TesseraError},), index, out_info, err)
tessera_key_describe(key, out_info, err) =
    ccall((:tessera_key_describe, LIBRARY), Int32, (Cstring,Ptr{TesseraKeyInfo},Ptr{TesseraError},), key, out_info, err)
tessera_world_options_init(options, struct_size) =
    ccall((:tessera_world_options_init, LIBRARY), Int32, (Ptr{TesseraWorldOptions},Csize_t,), options, struct_size)
tessera_world_options_load(options, config, err) =
    ccall((:tessera_world_options_load, LIBRARY), Int32, (Ptr{TesseraWorldOptions},TesseraConfig,Ptr{TesseraError},), options, config, err)
tessera_world_create(options, out_world, err) =
    ccall((:tessera_world_create, LIBRARY), Int32, (Ptr{TesseraWorldOptions},Ptr{TesseraWorld},Ptr{TesseraError},), options, out_world, err)
tessera_world_create_from_environment(options, out_world, err) =
    ccall((:tessera_world_create_from_environment, LIBRARY), Int32, (Ptr{TesseraWorldOptions},Ptr{TesseraWorld},Ptr{TesseraError},), options, out_world, err)
tessera_world_create_threads(size, options, out_worlds, err) =
    ccall((:tessera_world_create_threads, LIBRARY), Int32, (Int32,Ptr{TesseraWorldOptions},Ptr{TesseraWorld},Ptr{TesseraError},), size, options, out_worlds, err)
tessera_world_destroy(world) =
    ccall((:tessera_world_destroy, LIBRARY), Int32, (TesseraWorld,), world)
tessera_world_close(world, err) =
    ccall((:tessera_world_close, LIBRARY), Int32, (TesseraWorld,Ptr{TesseraError},), world, err)
tessera_world_close_async(world, out_future, err) =
    ccall((:tessera_world_close_async, LIBRARY), Int32, (TesseraWorld,Ptr{TesseraFuture},Ptr{TesseraError},), world, out_future, err)
tessera_world_abort(world, reason, err) =
    ccall((:tessera_world_abort, LIBRARY), Int32, (TesseraWorld,Cstring,Ptr{TesseraError},), world, reason, err)
tessera_world_get_rank(world, out_rank, err) =
    ccall((:tessera_world_get_rank, LIBRARY), Int32, (TesseraWorld,Ptr{Int32},Ptr{TesseraError},), world, out_rank, err)
tessera_world_get_size(world, out_size, err) =
    ccall((:tessera_world_get_size, LIBRARY), Int32, (TesseraWorld,Ptr{Int32},Ptr{TesseraError},), world, out_size, err)
tessera_mesh_options_init(options, struct_size) =
    ccall((:tessera_mesh_options_init, LIBRARY), Int32, (Ptr{TesseraMeshOptions},Csize_t,), options, struct_size)
tessera_mesh_options_load(options, config, err) =
    ccall((:tessera_mesh_options_load, LIBRARY), Int32, (Ptr{TesseraMeshOptions},TesseraConfig,Ptr{TesseraError},), options, config, err)
tessera_mesh_create(world, options, out_mesh, err) =
    ccall((:tessera_mesh_create, LIBRARY), Int32, (TesseraWorld,Ptr{TesseraMeshOptions},Ptr{TesseraMesh},Ptr{TesseraError},), world, options, out_mesh, err)
tessera_mesh_create_async(world, options, out_future, err) =
    ccall((:tessera_mesh_create_async, LIBRARY), Int32, (TesseraWorld,Ptr{TesseraMeshOptions},Ptr{TesseraFuture},Ptr{TesseraError},), world, options, out_future, err)
tessera_mesh_destroy(mesh) =
    ccall((:tessera_mesh_destroy, LIBRARY), Int32, (TesseraMesh,), mesh)
tessera_mesh_get_size(mesh, axis, out_size, err) =
    ccall((:tessera_mesh_get_size, LIBRARY), Int32, (TesseraMesh,Cstring,Ptr{Int64},Ptr{TesseraError},), mesh, axis, out_size, err)
tessera_mesh_get_index(mesh, axis, out_index, err) =
    ccall((:tessera_mesh_get_index, LIBRARY), Int32, (TesseraMesh,Cstring,Ptr{Int64},Ptr{TesseraError},), mesh, axis, out_index, err)
tessera_mesh_get_ranks(mesh, axis, buf, cap, out_len, err) =
    ccall((:tessera_mesh_get_ranks, LIBRARY), Int32, (TesseraMesh,Cstring,Ptr{Int32},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), mesh, axis, buf, cap, out_len, err)
tessera_mesh_get_text(mesh, buf, cap, out_len, err) =
    ccall((:tessera_mesh_get_text, LIBRARY), Int32, (TesseraMesh,Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), mesh, buf, cap, out_len, err)
tessera_tensor_create(dtype, dims, n_dims, data, bytes, out_tensor, err) =
    ccall((:tessera_tensor_create, LIBRARY), Int32, (Int32,Ptr{Int64},Int64,Ptr{Cvoid},Csize_t,Ptr{TesseraTensor},Ptr{TesseraError},), dtype, dims, n_dims, data, bytes, out_tensor, err)
tessera_tensor_create_view(dtype, dims, n_dims, data, bytes, out_tensor, err) =
    ccall((:tessera_tensor_create_view, LIBRARY), Int32, (Int32,Ptr{Int64},Int64,Ptr{Cvoid},Csize_t,Ptr{TesseraTensor},Ptr{TesseraError},), dtype, dims, n_dims, data, bytes, out_tensor, err)
tessera_tensor_create_dlpack(dlpack, out_tensor, err) =
    ccall((:tessera_tensor_create_dlpack, LIBRARY), Int32, (Ptr{Cvoid},Ptr{TesseraTensor},Ptr{TesseraError},), dlpack, out_tensor, err)
tessera_tensor_destroy(tensor) =
    ccall((:tessera_tensor_destroy, LIBRARY), Int32, (TesseraTensor,), tensor)
tessera_tensor_get_dtype(tensor, out_dtype, err) =
    ccall((:tessera_tensor_get_dtype, LIBRARY), Int32, (TesseraTensor,Ptr{Int32},Ptr{TesseraError},), tensor, out_dtype, err)
tessera_tensor_get_dims(tensor, buf, cap, out_len, err) =
    ccall((:tessera_tensor_get_dims, LIBRARY), Int32, (TesseraTensor,Ptr{Int64},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), tensor, buf, cap, out_len, err)
tessera_tensor_get_data(tensor, buf, cap, out_len, err) =
    ccall((:tessera_tensor_get_data, LIBRARY), Int32, (TesseraTensor,Ptr{Cvoid},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), tensor, buf, cap, out_len, err)
tessera_tensor_set_data(tensor, data, bytes, err) =
    ccall((:tessera_tensor_set_data, LIBRARY), Int32, (TesseraTensor,Ptr{Cvoid},Csize_t,Ptr{TesseraError},), tensor, data, bytes, err)
tessera_tensor_get_dlpack(tensor, out_dlpack, err) =
    ccall((:tessera_tensor_get_dlpack, LIBRARY), Int32, (TesseraTensor,Ptr{Ptr{Cvoid}},Ptr{TesseraError},), tensor, out_dlpack, err)
tessera_mesh_barrier(mesh, axis, err) =
    ccall((:tessera_mesh_barrier, LIBRARY), Int32, (TesseraMesh,Cstring,Ptr{TesseraError},), mesh, axis, err)
tessera_mesh_barrier_async(mesh, axis, out_future, err) =
    ccall((:tessera_mesh_barrier_async, LIBRARY), Int32, (TesseraMesh,Cstring,Ptr{TesseraFuture},Ptr{TesseraError},), mesh, axis, out_future, err)
tessera_mesh_all_reduce(mesh, axis, tensor, reduce, err) =
    ccall((:tessera_mesh_all_reduce, LIBRARY), Int32, (TesseraMesh,Cstring,TesseraTensor,Int32,Ptr{TesseraError},), mesh, axis, tensor, reduce, err)
tessera_mesh_all_reduce_async(mesh, axis, tensor, reduce, out_future, err) =
    ccall((:tessera_mesh_all_reduce_async, LIBRARY), Int32, (TesseraMesh,Cstring,TesseraTensor,Int32,Ptr{TesseraFuture},Ptr{TesseraError},), mesh, axis, tensor, reduce, out_future, err)
tessera_mesh_all_gather(mesh, axis, input, output, err) =
    ccall((:tessera_mesh_all_gather, LIBRARY), Int32, (TesseraMesh,Cstring,TesseraTensor,TesseraTensor,Ptr{TesseraError},), mesh, axis, input, output, err)
tessera_mesh_all_gather_async(mesh, axis, input, output, out_future, err) =
    ccall((:tessera_mesh_all_gather_async, LIBRARY), Int32, (TesseraMesh,Cstring,TesseraTensor,TesseraTensor,Ptr{TesseraFuture},Ptr{TesseraError},), mesh, axis, input, output, out_future, err)
tessera_mesh_reduce_scatter(mesh, axis, input, output, reduce, err) =
    ccall((:tessera_mesh_reduce_scatter, LIBRARY), Int32, (TesseraMesh,Cstring,TesseraTensor,TesseraTensor,Int32,Ptr{TesseraError},), mesh, axis, input, output, reduce, err)
tessera_mesh_reduce_scatter_async(mesh, axis, input, output, reduce, out_future, err) =
    ccall((:tessera_mesh_reduce_scatter_async, LIBRARY), Int32, (TesseraMesh,Cstring,TesseraTensor,TesseraTensor,Int32,Ptr{TesseraFuture},Ptr{TesseraError},), mesh, axis, input, output, reduce, out_future, err)
tessera_mesh_all_to_all(mesh, axis, input, output, err) =
    ccall((:tessera_mesh_all_to_all, LIBRARY), Int32, (TesseraMesh,Cstring,TesseraTensor,TesseraTensor,Ptr{TesseraError},), mesh, axis, input, output, err)
tessera_mesh_all_to_all_async(mesh, axis, input, output, out_future, err) =
    ccall((:tessera_mesh_all_to_all_async, LIBRARY), Int32, (TesseraMesh,Cstring,TesseraTensor,TesseraTensor,Ptr{TesseraFuture},Ptr{TesseraError},), mesh, axis, input, output, out_future, err)
tessera_mesh_broadcast(mesh, axis, tensor, root, err) =
    ccall((:tessera_mesh_broadcast, LIBRARY), Int32, (TesseraMesh,Cstring,TesseraTensor,Int64,Ptr{TesseraError},), mesh, axis, tensor, root, err)
tessera_mesh_broadcast_async(mesh, axis, tensor, root, out_future, err) =
    ccall((:tessera_mesh_broadcast_async, LIBRARY), Int32, (TesseraMesh,Cstring,TesseraTensor,Int64,Ptr{TesseraFuture},Ptr{TesseraError},), mesh, axis, tensor, root, out_future, err)
tessera_model_open(directory, out_model, err) =
    ccall((:tessera_model_open, LIBRARY), Int32, (Cstring,Ptr{TesseraModel},Ptr{TesseraError},), directory, out_model, err)
tessera_model_create(config_json, out_model, err) =
    ccall((:tessera_model_create, LIBRARY), Int32, (Cstring,Ptr{TesseraModel},Ptr{TesseraError},), config_json, out_model, err)
tessera_model_destroy(model) =
    ccall((:tessera_model_destroy, LIBRARY), Int32, (TesseraModel,), model)
tessera_model_get_text(model, buf, cap, out_len, err) =
    ccall((:tessera_model_get_text, LIBRARY), Int32, (TesseraModel,Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), model, buf, cap, out_len, err)
tessera_model_get_parameter_count(model, out_count, err) =
    ccall((:tessera_model_get_parameter_count, LIBRARY), Int32, (TesseraModel,Ptr{Int64},Ptr{TesseraError},), model, out_count, err)
tessera_model_set_tp_plan(model, name, plan, err) =
    ccall((:tessera_model_set_tp_plan, LIBRARY), Int32, (TesseraModel,Cstring,Cstring,Ptr{TesseraError},), model, name, plan, err)
tessera_model_open_plugin(directory, plugin, out_model, err) =
    ccall((:tessera_model_open_plugin, LIBRARY), Int32, (Cstring,Cstring,Ptr{TesseraModel},Ptr{TesseraError},), directory, plugin, out_model, err)
tessera_model_create_plugin(config_json, plugin, out_model, err) =
    ccall((:tessera_model_create_plugin, LIBRARY), Int32, (Cstring,Cstring,Ptr{TesseraModel},Ptr{TesseraError},), config_json, plugin, out_model, err)
tessera_batch_create(out_batch, err) =
    ccall((:tessera_batch_create, LIBRARY), Int32, (Ptr{TesseraBatch},Ptr{TesseraError},), out_batch, err)
tessera_batch_destroy(batch) =
    ccall((:tessera_batch_destroy, LIBRARY), Int32, (TesseraBatch,), batch)
tessera_batch_push(batch, tokens, labels, n_tokens, lengths, n_lengths, err) =
    ccall((:tessera_batch_push, LIBRARY), Int32, (TesseraBatch,Ptr{Int64},Ptr{Int64},Int64,Ptr{Int64},Int64,Ptr{TesseraError},), batch, tokens, labels, n_tokens, lengths, n_lengths, err)
tessera_batch_count(batch, out_count, err) =
    ccall((:tessera_batch_count, LIBRARY), Int32, (TesseraBatch,Ptr{Int64},Ptr{TesseraError},), batch, out_count, err)
tessera_batch_count_tokens(batch, out_tokens, out_labels, err) =
    ccall((:tessera_batch_count_tokens, LIBRARY), Int32, (TesseraBatch,Ptr{Int64},Ptr{Int64},Ptr{TesseraError},), batch, out_tokens, out_labels, err)
tessera_batch_get_array(batch, index, array, buf, cap, out_len, err) =
    ccall((:tessera_batch_get_array, LIBRARY), Int32, (TesseraBatch,Int64,Int32,Ptr{Int64},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), batch, index, array, buf, cap, out_len, err)
tessera_batch_push_form(batch, layout, form, tokens, labels, n_tokens, labels_shifted, index, n_index, extent, err) =
    ccall((:tessera_batch_push_form, LIBRARY), Int32, (TesseraBatch,TesseraConfig,Int32,Ptr{Int64},Ptr{Int64},Int64,Int32,Ptr{Int64},Int64,Int64,Ptr{TesseraError},), batch, layout, form, tokens, labels, n_tokens, labels_shifted, index, n_index, extent, err)
tessera_batch_get_rows(batch, index, row_length, pad_token, buf, cap, out_len, err) =
    ccall((:tessera_batch_get_rows, LIBRARY), Int32, (TesseraBatch,Int64,Int64,Int64,Ptr{Int64},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), batch, index, row_length, pad_token, buf, cap, out_len, err)
tessera_dataset_open(config, mesh, model, out_dataset, err) =
    ccall((:tessera_dataset_open, LIBRARY), Int32, (TesseraConfig,TesseraMesh,TesseraModel,Ptr{TesseraDataset},Ptr{TesseraError},), config, mesh, model, out_dataset, err)
tessera_dataset_create(config, mesh, model, out_dataset, err) =
    ccall((:tessera_dataset_create, LIBRARY), Int32, (TesseraConfig,TesseraMesh,TesseraModel,Ptr{TesseraDataset},Ptr{TesseraError},), config, mesh, model, out_dataset, err)
tessera_dataset_destroy(dataset) =
    ccall((:tessera_dataset_destroy, LIBRARY), Int32, (TesseraDataset,), dataset)
tessera_dataset_push(dataset, tokens, labels, count, err) =
    ccall((:tessera_dataset_push, LIBRARY), Int32, (TesseraDataset,Ptr{Int64},Ptr{Int64},Int64,Ptr{TesseraError},), dataset, tokens, labels, count, err)
tessera_dataset_push_end(dataset, err) =
    ccall((:tessera_dataset_push_end, LIBRARY), Int32, (TesseraDataset,Ptr{TesseraError},), dataset, err)
tessera_dataset_next(dataset, out_batch, err) =
    ccall((:tessera_dataset_next, LIBRARY), Int32, (TesseraDataset,Ptr{TesseraBatch},Ptr{TesseraError},), dataset, out_batch, err)
tessera_dataset_get_state(dataset, buf, cap, out_len, err) =
    ccall((:tessera_dataset_get_state, LIBRARY), Int32, (TesseraDataset,Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), dataset, buf, cap, out_len, err)
tessera_dataset_set_state(dataset, state, err) =
    ccall((:tessera_dataset_set_state, LIBRARY), Int32, (TesseraDataset,Cstring,Ptr{TesseraError},), dataset, state, err)
tessera_dataset_count_steps(dataset, out_steps, err) =
    ccall((:tessera_dataset_count_steps, LIBRARY), Int32, (TesseraDataset,Ptr{Int64},Ptr{TesseraError},), dataset, out_steps, err)
tessera_dataset_get_report(dataset, buf, cap, out_len, err) =
    ccall((:tessera_dataset_get_report, LIBRARY), Int32, (TesseraDataset,Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), dataset, buf, cap, out_len, err)
tessera_dataset_get_lengths(dataset, buf, cap, out_len, err) =
    ccall((:tessera_dataset_get_lengths, LIBRARY), Int32, (TesseraDataset,Ptr{Int64},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), dataset, buf, cap, out_len, err)
tessera_dataset_push_arrow(dataset, schema, array, err) =
    ccall((:tessera_dataset_push_arrow, LIBRARY), Int32, (TesseraDataset,Ptr{Cvoid},Ptr{Cvoid},Ptr{TesseraError},), dataset, schema, array, err)
tessera_metrics_init(metrics, struct_size) =
    ccall((:tessera_metrics_init, LIBRARY), Int32, (Ptr{TesseraMetrics},Csize_t,), metrics, struct_size)
tessera_generate_options_init(options, struct_size) =
    ccall((:tessera_generate_options_init, LIBRARY), Int32, (Ptr{TesseraGenerateOptions},Csize_t,), options, struct_size)
tessera_trainer_create(mesh, model, config, out_trainer, err) =
    ccall((:tessera_trainer_create, LIBRARY), Int32, (TesseraMesh,TesseraModel,TesseraConfig,Ptr{TesseraTrainer},Ptr{TesseraError},), mesh, model, config, out_trainer, err)
tessera_trainer_create_async(mesh, model, config, out_future, err) =
    ccall((:tessera_trainer_create_async, LIBRARY), Int32, (TesseraMesh,TesseraModel,TesseraConfig,Ptr{TesseraFuture},Ptr{TesseraError},), mesh, model, config, out_future, err)
tessera_trainer_destroy(trainer) =
    ccall((:tessera_trainer_destroy, LIBRARY), Int32, (TesseraTrainer,), trainer)
tessera_trainer_set_events(trainer, events, err) =
    ccall((:tessera_trainer_set_events, LIBRARY), Int32, (TesseraTrainer,TesseraEvents,Ptr{TesseraError},), trainer, events, err)
tessera_trainer_step(trainer, batch, out_metrics, err) =
    ccall((:tessera_trainer_step, LIBRARY), Int32, (TesseraTrainer,TesseraBatch,Ptr{TesseraMetrics},Ptr{TesseraError},), trainer, batch, out_metrics, err)
tessera_trainer_step_async(trainer, batch, out_future, err) =
    ccall((:tessera_trainer_step_async, LIBRARY), Int32, (TesseraTrainer,TesseraBatch,Ptr{TesseraFuture},Ptr{TesseraError},), trainer, batch, out_future, err)
tessera_trainer_forward_backward(trainer, batch, label_tokens, out_metrics, err) =
    ccall((:tessera_trainer_forward_backward, LIBRARY), Int32, (TesseraTrainer,TesseraBatch,Int64,Ptr{TesseraMetrics},Ptr{TesseraError},), trainer, batch, label_tokens, out_metrics, err)
tessera_trainer_forward_backward_async(trainer, batch, label_tokens, out_future, err) =
    ccall((:tessera_trainer_forward_backward_async, LIBRARY), Int32, (TesseraTrainer,TesseraBatch,Int64,Ptr{TesseraFuture},Ptr{TesseraError},), trainer, batch, label_tokens, out_future, err)
tessera_trainer_optimizer_step(trainer, out_metrics, err) =
    ccall((:tessera_trainer_optimizer_step, LIBRARY), Int32, (TesseraTrainer,Ptr{TesseraMetrics},Ptr{TesseraError},), trainer, out_metrics, err)
tessera_trainer_optimizer_step_async(trainer, out_future, err) =
    ccall((:tessera_trainer_optimizer_step_async, LIBRARY), Int32, (TesseraTrainer,Ptr{TesseraFuture},Ptr{TesseraError},), trainer, out_future, err)
tessera_trainer_zero_grad(trainer, err) =
    ccall((:tessera_trainer_zero_grad, LIBRARY), Int32, (TesseraTrainer,Ptr{TesseraError},), trainer, err)
tessera_trainer_get_step_count(trainer, out_steps, err) =
    ccall((:tessera_trainer_get_step_count, LIBRARY), Int32, (TesseraTrainer,Ptr{Int64},Ptr{TesseraError},), trainer, out_steps, err)
tessera_trainer_evaluate(trainer, batch, out_metrics, err) =
    ccall((:tessera_trainer_evaluate, LIBRARY), Int32, (TesseraTrainer,TesseraBatch,Ptr{TesseraMetrics},Ptr{TesseraError},), trainer, batch, out_metrics, err)
tessera_trainer_evaluate_async(trainer, batch, out_future, err) =
    ccall((:tessera_trainer_evaluate_async, LIBRARY), Int32, (TesseraTrainer,TesseraBatch,Ptr{TesseraFuture},Ptr{TesseraError},), trainer, batch, out_future, err)
tessera_trainer_generate(trainer, prompt, n_prompt, options, buf, cap, out_len, err) =
    ccall((:tessera_trainer_generate, LIBRARY), Int32, (TesseraTrainer,Ptr{Int64},Int64,Ptr{TesseraGenerateOptions},Ptr{Int64},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), trainer, prompt, n_prompt, options, buf, cap, out_len, err)
tessera_trainer_generate_async(trainer, prompt, n_prompt, options, out_future, err) =
    ccall((:tessera_trainer_generate_async, LIBRARY), Int32, (TesseraTrainer,Ptr{Int64},Int64,Ptr{TesseraGenerateOptions},Ptr{TesseraFuture},Ptr{TesseraError},), trainer, prompt, n_prompt, options, out_future, err)
tessera_trainer_get_logits(trainer, batch, out_logits, err) =
    ccall((:tessera_trainer_get_logits, LIBRARY), Int32, (TesseraTrainer,TesseraBatch,Ptr{TesseraTensor},Ptr{TesseraError},), trainer, batch, out_logits, err)
tessera_trainer_get_logits_async(trainer, batch, out_future, err) =
    ccall((:tessera_trainer_get_logits_async, LIBRARY), Int32, (TesseraTrainer,TesseraBatch,Ptr{TesseraFuture},Ptr{TesseraError},), trainer, batch, out_future, err)
tessera_trainer_count_parameters(trainer, out_count, err) =
    ccall((:tessera_trainer_count_parameters, LIBRARY), Int32, (TesseraTrainer,Ptr{Int64},Ptr{TesseraError},), trainer, out_count, err)
tessera_trainer_get_parameter_name(trainer, index, buf, cap, out_len, err) =
    ccall((:tessera_trainer_get_parameter_name, LIBRARY), Int32, (TesseraTrainer,Int64,Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), trainer, index, buf, cap, out_len, err)
tessera_trainer_get_parameter(trainer, name, out_tensor, err) =
    ccall((:tessera_trainer_get_parameter, LIBRARY), Int32, (TesseraTrainer,Cstring,Ptr{TesseraTensor},Ptr{TesseraError},), trainer, name, out_tensor, err)
tessera_trainer_get_parameter_async(trainer, name, out_future, err) =
    ccall((:tessera_trainer_get_parameter_async, LIBRARY), Int32, (TesseraTrainer,Cstring,Ptr{TesseraFuture},Ptr{TesseraError},), trainer, name, out_future, err)
tessera_trainer_get_gradient(trainer, name, out_tensor, err) =
    ccall((:tessera_trainer_get_gradient, LIBRARY), Int32, (TesseraTrainer,Cstring,Ptr{TesseraTensor},Ptr{TesseraError},), trainer, name, out_tensor, err)
tessera_trainer_get_gradient_async(trainer, name, out_future, err) =
    ccall((:tessera_trainer_get_gradient_async, LIBRARY), Int32, (TesseraTrainer,Cstring,Ptr{TesseraFuture},Ptr{TesseraError},), trainer, name, out_future, err)
tessera_trainer_set_parameter(trainer, name, tensor, err) =
    ccall((:tessera_trainer_set_parameter, LIBRARY), Int32, (TesseraTrainer,Cstring,TesseraTensor,Ptr{TesseraError},), trainer, name, tensor, err)
tessera_trainer_set_parameter_async(trainer, name, tensor, out_future, err) =
    ccall((:tessera_trainer_set_parameter_async, LIBRARY), Int32, (TesseraTrainer,Cstring,TesseraTensor,Ptr{TesseraFuture},Ptr{TesseraError},), trainer, name, tensor, out_future, err)
tessera_trainer_get_program(trainer, microbatches, buf, cap, out_len, err) =
    ccall((:tessera_trainer_get_program, LIBRARY), Int32, (TesseraTrainer,Int64,Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), trainer, microbatches, buf, cap, out_len, err)
tessera_checkpoint_save(trainer, directory, dataset, err) =
    ccall((:tessera_checkpoint_save, LIBRARY), Int32, (TesseraTrainer,Cstring,TesseraDataset,Ptr{TesseraError},), trainer, directory, dataset, err)
tessera_checkpoint_save_async(trainer, directory, dataset, out_future, err) =
    ccall((:tessera_checkpoint_save_async, LIBRARY), Int32, (TesseraTrainer,Cstring,TesseraDataset,Ptr{TesseraFuture},Ptr{TesseraError},), trainer, directory, dataset, out_future, err)
tessera_checkpoint_load(trainer, directory, dataset, err) =
    ccall((:tessera_checkpoint_load, LIBRARY), Int32, (TesseraTrainer,Cstring,TesseraDataset,Ptr{TesseraError},), trainer, directory, dataset, err)
tessera_checkpoint_load_async(trainer, directory, dataset, out_future, err) =
    ccall((:tessera_checkpoint_load_async, LIBRARY), Int32, (TesseraTrainer,Cstring,TesseraDataset,Ptr{TesseraFuture},Ptr{TesseraError},), trainer, directory, dataset, out_future, err)
tessera_checkpoint_export(trainer, directory, dtype, err) =
    ccall((:tessera_checkpoint_export, LIBRARY), Int32, (TesseraTrainer,Cstring,Cstring,Ptr{TesseraError},), trainer, directory, dtype, err)
tessera_checkpoint_export_async(trainer, directory, dtype, out_future, err) =
    ccall((:tessera_checkpoint_export_async, LIBRARY), Int32, (TesseraTrainer,Cstring,Cstring,Ptr{TesseraFuture},Ptr{TesseraError},), trainer, directory, dtype, out_future, err)
tessera_tokenizer_open(directory, out_tokenizer, err) =
    ccall((:tessera_tokenizer_open, LIBRARY), Int32, (Cstring,Ptr{TesseraTokenizer},Ptr{TesseraError},), directory, out_tokenizer, err)
tessera_tokenizer_destroy(tokenizer) =
    ccall((:tessera_tokenizer_destroy, LIBRARY), Int32, (TesseraTokenizer,), tokenizer)
tessera_tokenizer_count(tokenizer, out_count, err) =
    ccall((:tessera_tokenizer_count, LIBRARY), Int32, (TesseraTokenizer,Ptr{Int64},Ptr{TesseraError},), tokenizer, out_count, err)
tessera_tokenizer_encode(tokenizer, text, bytes, add_special, buf, cap, out_len, err) =
    ccall((:tessera_tokenizer_encode, LIBRARY), Int32, (TesseraTokenizer,Cstring,Csize_t,Int32,Ptr{Int64},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), tokenizer, text, bytes, add_special, buf, cap, out_len, err)
tessera_tokenizer_decode(tokenizer, ids, n_ids, skip_special, buf, cap, out_len, err) =
    ccall((:tessera_tokenizer_decode, LIBRARY), Int32, (TesseraTokenizer,Ptr{Int64},Int64,Int32,Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), tokenizer, ids, n_ids, skip_special, buf, cap, out_len, err)
tessera_tokenizer_get_chat_text(tokenizer, conversation, add_generation_prompt, buf, cap, out_len, err) =
    ccall((:tessera_tokenizer_get_chat_text, LIBRARY), Int32, (TesseraTokenizer,Cstring,Int32,Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), tokenizer, conversation, add_generation_prompt, buf, cap, out_len, err)
tessera_tokenizer_encode_chat(tokenizer, conversation, tokens, labels, cap, out_len, err) =
    ccall((:tessera_tokenizer_encode_chat, LIBRARY), Int32, (TesseraTokenizer,Cstring,Ptr{Int64},Ptr{Int64},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), tokenizer, conversation, tokens, labels, cap, out_len, err)
tessera_tokenizer_encode_batch(tokenizer, text, bytes, text_ends, n_texts, add_special, out_ends, buf, cap, out_len, err) =
    ccall((:tessera_tokenizer_encode_batch, LIBRARY), Int32, (TesseraTokenizer,Cstring,Csize_t,Ptr{Int64},Int64,Int32,Ptr{Int64},Ptr{Int64},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), tokenizer, text, bytes, text_ends, n_texts, add_special, out_ends, buf, cap, out_len, err)
tessera_pack_create(packer, lengths, n_lengths, capacity, seed, out_packs, out_pack_count, err) =
    ccall((:tessera_pack_create, LIBRARY), Int32, (Cstring,Ptr{Int64},Int64,Int64,Int64,Ptr{Int64},Ptr{Int64},Ptr{TesseraError},), packer, lengths, n_lengths, capacity, seed, out_packs, out_pack_count, err)
tessera_pack_get_pieces(config, lengths, n_lengths, buf, cap, out_len, err) =
    ccall((:tessera_pack_get_pieces, LIBRARY), Int32, (TesseraConfig,Ptr{Int64},Int64,Ptr{Int64},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), config, lengths, n_lengths, buf, cap, out_len, err)
tessera_plan_get_text(model, config, world_size, part, buf, cap, out_len, err) =
    ccall((:tessera_plan_get_text, LIBRARY), Int32, (TesseraModel,TesseraConfig,Int64,Int32,Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), model, config, world_size, part, buf, cap, out_len, err)
tessera_timeline_options_init(options, struct_size) =
    ccall((:tessera_timeline_options_init, LIBRARY), Int32, (Ptr{TesseraTimelineOptions},Csize_t,), options, struct_size)
tessera_plan_get_timeline(model, config, world_size, options, buf, cap, out_len, err) =
    ccall((:tessera_plan_get_timeline, LIBRARY), Int32, (TesseraModel,TesseraConfig,Int64,Ptr{TesseraTimelineOptions},Ptr{UInt8},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), model, config, world_size, options, buf, cap, out_len, err)
tessera_future_destroy(future) =
    ccall((:tessera_future_destroy, LIBRARY), Int32, (TesseraFuture,), future)
tessera_future_poll(future, out_done, err) =
    ccall((:tessera_future_poll, LIBRARY), Int32, (TesseraFuture,Ptr{Int32},Ptr{TesseraError},), future, out_done, err)
tessera_future_wait(future, timeout_ns, err) =
    ccall((:tessera_future_wait, LIBRARY), Int32, (TesseraFuture,Int64,Ptr{TesseraError},), future, timeout_ns, err)
tessera_future_wait_any(futures, count, timeout_ns, out_index, err) =
    ccall((:tessera_future_wait_any, LIBRARY), Int32, (Ptr{TesseraFuture},Int64,Int64,Ptr{Int64},Ptr{TesseraError},), futures, count, timeout_ns, out_index, err)
tessera_future_cancel(future, err) =
    ccall((:tessera_future_cancel, LIBRARY), Int32, (TesseraFuture,Ptr{TesseraError},), future, err)
tessera_future_get_result(future, err) =
    ccall((:tessera_future_get_result, LIBRARY), Int32, (TesseraFuture,Ptr{TesseraError},), future, err)
tessera_future_get_metrics(future, out_metrics, err) =
    ccall((:tessera_future_get_metrics, LIBRARY), Int32, (TesseraFuture,Ptr{TesseraMetrics},Ptr{TesseraError},), future, out_metrics, err)
tessera_future_get_tokens(future, buf, cap, out_len, err) =
    ccall((:tessera_future_get_tokens, LIBRARY), Int32, (TesseraFuture,Ptr{Int64},Csize_t,Ptr{Csize_t},Ptr{TesseraError},), future, buf, cap, out_len, err)
tessera_future_get_tensor(future, out_tensor, err) =
    ccall((:tessera_future_get_tensor, LIBRARY), Int32, (TesseraFuture,Ptr{TesseraTensor},Ptr{TesseraError},), future, out_tensor, err)
tessera_future_get_mesh(future, out_mesh, err) =
    ccall((:tessera_future_get_mesh, LIBRARY), Int32, (TesseraFuture,Ptr{TesseraMesh},Ptr{TesseraError},), future, out_mesh, err)
tessera_future_get_trainer(future, out_trainer, err) =
    ccall((:tessera_future_get_trainer, LIBRARY), Int32, (TesseraFuture,Ptr{TesseraTrainer},Ptr{TesseraError},), future, out_trainer, err)
tessera_event_init(event, struct_size) =
    ccall((:tessera_event_init, LIBRARY), Int32, (Ptr{TesseraEvent},Csize_t,), event, struct_size)
tessera_events_create(capacity, out_events, err) =
    ccall((:tessera_events_create, LIBRARY), Int32, (Int64,Ptr{TesseraEvents},Ptr{TesseraError},), capacity, out_events, err)
tessera_events_destroy(events) =
    ccall((:tessera_events_destroy, LIBRARY), Int32, (TesseraEvents,), events)
tessera_events_next(events, timeout_ns, out_event, err) =
    ccall((:tessera_events_next, LIBRARY), Int32, (TesseraEvents,Int64,Ptr{TesseraEvent},Ptr{TesseraError},), events, timeout_ns, out_event, err)
