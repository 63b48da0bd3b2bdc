"""The C interface of Tessera as ctypes sees it: constants, structs and functions. Generated from the C headers by bindings/generate.py; do not edit."""
from ctypes import POINTER, Structure, c_char, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint64, c_void_p

# enum tessera_status_code
OK = 0
E_ARGUMENT = 1
E_HANDLE_NULL = 2
E_HANDLE_STALE = 3
E_HANDLE_TYPE = 4
E_BUFFER = 5
E_BUSY = 6
E_TIMEOUT = 7
E_CANCELLED = 8
E_PEER_FAILED = 9
E_COLLECTIVE_MISMATCH = 10
E_IO = 11
E_FORMAT = 12
E_NOT_FOUND = 13
E_UNSUPPORTED = 14
E_OUT_OF_MEMORY = 15
E_NUMERIC = 16
E_END = 17
E_STATE = 18
E_FORKED = 19
E_DEVICE = 20
E_INTERNAL = 21

# enum tessera_kind
KIND_ANY = 0
KIND_CONFIG = 1
KIND_WORLD = 2
KIND_MESH = 3
KIND_TENSOR = 4
KIND_MODEL = 5
KIND_BATCH = 6
KIND_DATASET = 7
KIND_TRAINER = 8
KIND_FUTURE = 9
KIND_EVENTS = 10
KIND_TOKENIZER = 11

# enum tessera_dtype
DTYPE_F32 = 1
DTYPE_F64 = 2
DTYPE_F16 = 3
DTYPE_BF16 = 4
DTYPE_I64 = 5
DTYPE_I32 = 6
DTYPE_U8 = 7

# enum tessera_domain
DOMAIN_NONE = 0
DOMAIN_OS = 1
DOMAIN_CUDA = 2
DOMAIN_NCCL = 3
DOMAIN_TORCH = 4

# enum tessera_log_level
LOG_TRACE = 0
LOG_DEBUG = 1
LOG_INFO = 2
LOG_WARNING = 3
LOG_ERROR = 4
LOG_OFF = 5

# enum tessera_key_type
KEY_BOOLEAN = 0
KEY_INTEGER = 1
KEY_REAL = 2
KEY_TEXT = 3
KEY_CHOICE = 4
KEY_TEXT_LIST = 5
KEY_REAL_LIST = 6

# enum tessera_backend
BACKEND_AUTO = 0
BACKEND_LOCAL = 1
BACKEND_GLOO = 2
BACKEND_NCCL = 3

# enum tessera_device
DEVICE_CPU = 0
DEVICE_CUDA = 1

# enum tessera_allocator
ALLOCATOR_CACHING = 0
ALLOCATOR_SYSTEM = 1

# enum tessera_switch
SWITCH_AUTO = 0
SWITCH_ON = 1
SWITCH_OFF = 2

# enum tessera_reduce
REDUCE_SUM = 0
REDUCE_AVG = 1
REDUCE_MAX = 2
REDUCE_MIN = 3

# enum tessera_batch_array
BATCH_TOKENS = 0
BATCH_LABELS = 1
BATCH_POSITIONS = 2
BATCH_CU_SEQLENS = 3
BATCH_CU_SEQLENS_PADDED = 4
BATCH_SEGMENTS = 5

# enum tessera_batch_form
BATCH_FORM_LENGTHS = 0
BATCH_FORM_ROWS = 1
BATCH_FORM_POSITIONS = 2
BATCH_FORM_SEGMENTS = 3
BATCH_FORM_CU_SEQLENS = 4

# enum tessera_plan_part
PLAN_SUMMARY = 0
PLAN_PROGRAM = 1
PLAN_SEARCH = 2
PLAN_SEARCH_JSON = 3

# enum tessera_timeline_format
TIMELINE_TEXT = 0
TIMELINE_COLOUR = 1
TIMELINE_SVG = 2
TIMELINE_TRACE = 3

# enum tessera_event_type
EVENT_METRICS = 1
EVENT_LOG = 2
EVENT_FAILURE = 3
EVENT_CHECKPOINT = 4

VERSION_MAJOR = 0
VERSION_MINOR = 1
VERSION_PATCH = 0
ABI_VERSION = 1
FOREVER = -1


class Config(Structure):
    _fields_ = [("id", c_uint64)]


class World(Structure):
    _fields_ = [("id", c_uint64)]


class Mesh(Structure):
    _fields_ = [("id", c_uint64)]


class Tensor(Structure):
    _fields_ = [("id", c_uint64)]


class Model(Structure):
    _fields_ = [("id", c_uint64)]


class Batch(Structure):
    _fields_ = [("id", c_uint64)]


class Dataset(Structure):
    _fields_ = [("id", c_uint64)]


class Trainer(Structure):
    _fields_ = [("id", c_uint64)]


class Future(Structure):
    _fields_ = [("id", c_uint64)]


class Events(Structure):
    _fields_ = [("id", c_uint64)]


class Tokenizer(Structure):
    _fields_ = [("id", c_uint64)]


class Error(Structure):
    _fields_ = [
        ("code", c_int32),
        ("domain", c_int32),
        ("native_code", c_int32),
        ("rank", c_int32),
        ("message", c_char * 240),
    ]


class KeyInfo(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("type", c_int32),
        ("has_min", c_int32),
        ("has_max", c_int32),
        ("reserved0", c_int32),
        ("min", c_double),
        ("max", c_double),
        ("name", c_char * 64),
        ("default_value", c_char * 128),
        ("choices", c_char * 256),
        ("doc", c_char * 512),
    ]


class WorldOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("rank", c_int32),
        ("size", c_int32),
        ("local_rank", c_int32),
        ("local_size", c_int32),
        ("backend", c_int32),
        ("device", c_int32),
        ("intra_op_threads", c_int32),
        ("agent_store", c_int32),
        ("timeout_ns", c_int64),
        ("rendezvous", c_char_p),
        ("job", c_char_p),
        ("allocator", c_int32),
        ("reserved0", c_int32),
        ("register_buffers", c_int32),
        ("expandable_segments", c_int32),
    ]


class MeshOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("pp", c_int64),
        ("dp_replicate", c_int64),
        ("dp_shard", c_int64),
        ("cp", c_int64),
        ("tp", c_int64),
        ("ep", c_int64),
    ]


class Metrics(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("step", c_int64),
        ("loss", c_double),
        ("grad_norm", c_double),
        ("lr", c_double),
        ("tokens", c_int64),
        ("label_tokens", c_int64),
        ("seconds", c_double),
        ("tokens_per_s", c_double),
        ("communication_seconds", c_double),
        ("memory", c_int64),
        ("expert_load_ratio", c_double),
        ("expert_idle", c_double),
        ("expert_balance_loss", c_double),
        ("expert_z_loss", c_double),
        ("memory_reserved", c_int64),
    ]


class GenerateOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("max_new_tokens", c_int64),
        ("top_k", c_int64),
        ("seed", c_int64),
        ("temperature", c_double),
        ("top_p", c_double),
    ]


class TimelineOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("format", c_int32),
        ("columns", c_int32),
        ("backward", c_double),
        ("collective", c_double),
        ("transfer", c_double),
    ]


class Event(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("type", c_int32),
        ("rank", c_int32),
        ("level", c_int32),
        ("status", c_int32),
        ("time_ns", c_int64),
        ("dropped", c_int64),
        ("step", c_int64),
        ("loss", c_double),
        ("grad_norm", c_double),
        ("lr", c_double),
        ("tokens", c_int64),
        ("label_tokens", c_int64),
        ("seconds", c_double),
        ("tokens_per_s", c_double),
        ("memory", c_int64),
        ("message", c_char * 512),
        ("expert_load_ratio", c_double),
        ("expert_idle", c_double),
        ("expert_balance_loss", c_double),
        ("expert_z_loss", c_double),
    ]


# name: (result, arguments)
FUNCTIONS = {
    "tessera_status_name": (c_char_p, [c_int32]),
    "tessera_status_string": (c_char_p, [c_int32]),
    "tessera_handle_count": (c_int32, [c_int32, POINTER(c_int64), POINTER(Error)]),
    "tessera_version_string": (c_char_p, []),
    "tessera_abi_version": (c_int32, []),
    "tessera_build_info": (c_int32, [c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_log_set_level": (c_int32, [c_int32, POINTER(Error)]),
    "tessera_log_get_level": (c_int32, [POINTER(c_int32), POINTER(Error)]),
    "tessera_log_set_events": (c_int32, [Events, POINTER(Error)]),
    "tessera_key_info_init": (c_int32, [POINTER(KeyInfo), c_size_t]),
    "tessera_config_create": (c_int32, [POINTER(Config), POINTER(Error)]),
    "tessera_config_destroy": (c_int32, [Config]),
    "tessera_config_set": (c_int32, [Config, c_char_p, c_char_p, POINTER(Error)]),
    "tessera_config_get": (c_int32, [Config, c_char_p, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_config_load": (c_int32, [Config, c_char_p, POINTER(Error)]),
    "tessera_config_load_text": (c_int32, [Config, c_char_p, POINTER(Error)]),
    "tessera_config_get_text": (c_int32, [Config, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_key_count": (c_int32, [POINTER(c_int64), POINTER(Error)]),
    "tessera_key_get": (c_int32, [c_int64, POINTER(KeyInfo), POINTER(Error)]),
    "tessera_key_describe": (c_int32, [c_char_p, POINTER(KeyInfo), POINTER(Error)]),
    "tessera_world_options_init": (c_int32, [POINTER(WorldOptions), c_size_t]),
    "tessera_world_options_load": (c_int32, [POINTER(WorldOptions), Config, POINTER(Error)]),
    "tessera_world_create": (c_int32, [POINTER(WorldOptions), POINTER(World), POINTER(Error)]),
    "tessera_world_create_from_environment": (c_int32, [POINTER(WorldOptions), POINTER(World), POINTER(Error)]),
    "tessera_world_create_threads": (c_int32, [c_int32, POINTER(WorldOptions), POINTER(World), POINTER(Error)]),
    "tessera_world_destroy": (c_int32, [World]),
    "tessera_world_close": (c_int32, [World, POINTER(Error)]),
    "tessera_world_close_async": (c_int32, [World, POINTER(Future), POINTER(Error)]),
    "tessera_world_abort": (c_int32, [World, c_char_p, POINTER(Error)]),
    "tessera_world_get_rank": (c_int32, [World, POINTER(c_int32), POINTER(Error)]),
    "tessera_world_get_size": (c_int32, [World, POINTER(c_int32), POINTER(Error)]),
    "tessera_mesh_options_init": (c_int32, [POINTER(MeshOptions), c_size_t]),
    "tessera_mesh_options_load": (c_int32, [POINTER(MeshOptions), Config, POINTER(Error)]),
    "tessera_mesh_create": (c_int32, [World, POINTER(MeshOptions), POINTER(Mesh), POINTER(Error)]),
    "tessera_mesh_create_async": (c_int32, [World, POINTER(MeshOptions), POINTER(Future), POINTER(Error)]),
    "tessera_mesh_destroy": (c_int32, [Mesh]),
    "tessera_mesh_get_size": (c_int32, [Mesh, c_char_p, POINTER(c_int64), POINTER(Error)]),
    "tessera_mesh_get_index": (c_int32, [Mesh, c_char_p, POINTER(c_int64), POINTER(Error)]),
    "tessera_mesh_get_ranks": (c_int32, [Mesh, c_char_p, POINTER(c_int32), c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_mesh_get_text": (c_int32, [Mesh, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_tensor_create": (c_int32, [c_int32, POINTER(c_int64), c_int64, c_void_p, c_size_t, POINTER(Tensor), POINTER(Error)]),
    "tessera_tensor_create_view": (c_int32, [c_int32, POINTER(c_int64), c_int64, c_void_p, c_size_t, POINTER(Tensor), POINTER(Error)]),
    "tessera_tensor_create_dlpack": (c_int32, [c_void_p, POINTER(Tensor), POINTER(Error)]),
    "tessera_tensor_destroy": (c_int32, [Tensor]),
    "tessera_tensor_get_dtype": (c_int32, [Tensor, POINTER(c_int32), POINTER(Error)]),
    "tessera_tensor_get_dims": (c_int32, [Tensor, POINTER(c_int64), c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_tensor_get_data": (c_int32, [Tensor, c_void_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_tensor_set_data": (c_int32, [Tensor, c_void_p, c_size_t, POINTER(Error)]),
    "tessera_tensor_get_dlpack": (c_int32, [Tensor, POINTER(c_void_p), POINTER(Error)]),
    "tessera_mesh_barrier": (c_int32, [Mesh, c_char_p, POINTER(Error)]),
    "tessera_mesh_barrier_async": (c_int32, [Mesh, c_char_p, POINTER(Future), POINTER(Error)]),
    "tessera_mesh_all_reduce": (c_int32, [Mesh, c_char_p, Tensor, c_int32, POINTER(Error)]),
    "tessera_mesh_all_reduce_async": (c_int32, [Mesh, c_char_p, Tensor, c_int32, POINTER(Future), POINTER(Error)]),
    "tessera_mesh_all_gather": (c_int32, [Mesh, c_char_p, Tensor, Tensor, POINTER(Error)]),
    "tessera_mesh_all_gather_async": (c_int32, [Mesh, c_char_p, Tensor, Tensor, POINTER(Future), POINTER(Error)]),
    "tessera_mesh_reduce_scatter": (c_int32, [Mesh, c_char_p, Tensor, Tensor, c_int32, POINTER(Error)]),
    "tessera_mesh_reduce_scatter_async": (c_int32, [Mesh, c_char_p, Tensor, Tensor, c_int32, POINTER(Future), POINTER(Error)]),
    "tessera_mesh_all_to_all": (c_int32, [Mesh, c_char_p, Tensor, Tensor, POINTER(Error)]),
    "tessera_mesh_all_to_all_async": (c_int32, [Mesh, c_char_p, Tensor, Tensor, POINTER(Future), POINTER(Error)]),
    "tessera_mesh_broadcast": (c_int32, [Mesh, c_char_p, Tensor, c_int64, POINTER(Error)]),
    "tessera_mesh_broadcast_async": (c_int32, [Mesh, c_char_p, Tensor, c_int64, POINTER(Future), POINTER(Error)]),
    "tessera_model_open": (c_int32, [c_char_p, POINTER(Model), POINTER(Error)]),
    "tessera_model_create": (c_int32, [c_char_p, POINTER(Model), POINTER(Error)]),
    "tessera_model_destroy": (c_int32, [Model]),
    "tessera_model_get_text": (c_int32, [Model, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_model_get_parameter_count": (c_int32, [Model, POINTER(c_int64), POINTER(Error)]),
    "tessera_model_set_tp_plan": (c_int32, [Model, c_char_p, c_char_p, POINTER(Error)]),
    "tessera_model_open_plugin": (c_int32, [c_char_p, c_char_p, POINTER(Model), POINTER(Error)]),
    "tessera_model_create_plugin": (c_int32, [c_char_p, c_char_p, POINTER(Model), POINTER(Error)]),
    "tessera_batch_create": (c_int32, [POINTER(Batch), POINTER(Error)]),
    "tessera_batch_destroy": (c_int32, [Batch]),
    "tessera_batch_push": (c_int32, [Batch, POINTER(c_int64), POINTER(c_int64), c_int64, POINTER(c_int64), c_int64, POINTER(Error)]),
    "tessera_batch_count": (c_int32, [Batch, POINTER(c_int64), POINTER(Error)]),
    "tessera_batch_count_tokens": (c_int32, [Batch, POINTER(c_int64), POINTER(c_int64), POINTER(Error)]),
    "tessera_batch_get_array": (c_int32, [Batch, c_int64, c_int32, POINTER(c_int64), c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_batch_push_form": (c_int32, [Batch, Config, c_int32, POINTER(c_int64), POINTER(c_int64), c_int64, c_int32, POINTER(c_int64), c_int64, c_int64, POINTER(Error)]),
    "tessera_batch_get_rows": (c_int32, [Batch, c_int64, c_int64, c_int64, POINTER(c_int64), c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_dataset_open": (c_int32, [Config, Mesh, Model, POINTER(Dataset), POINTER(Error)]),
    "tessera_dataset_create": (c_int32, [Config, Mesh, Model, POINTER(Dataset), POINTER(Error)]),
    "tessera_dataset_destroy": (c_int32, [Dataset]),
    "tessera_dataset_push": (c_int32, [Dataset, POINTER(c_int64), POINTER(c_int64), c_int64, POINTER(Error)]),
    "tessera_dataset_push_end": (c_int32, [Dataset, POINTER(Error)]),
    "tessera_dataset_next": (c_int32, [Dataset, POINTER(Batch), POINTER(Error)]),
    "tessera_dataset_get_state": (c_int32, [Dataset, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_dataset_set_state": (c_int32, [Dataset, c_char_p, POINTER(Error)]),
    "tessera_dataset_count_steps": (c_int32, [Dataset, POINTER(c_int64), POINTER(Error)]),
    "tessera_dataset_get_report": (c_int32, [Dataset, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_dataset_get_lengths": (c_int32, [Dataset, POINTER(c_int64), c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_dataset_push_arrow": (c_int32, [Dataset, c_void_p, c_void_p, POINTER(Error)]),
    "tessera_metrics_init": (c_int32, [POINTER(Metrics), c_size_t]),
    "tessera_generate_options_init": (c_int32, [POINTER(GenerateOptions), c_size_t]),
    "tessera_trainer_create": (c_int32, [Mesh, Model, Config, POINTER(Trainer), POINTER(Error)]),
    "tessera_trainer_create_async": (c_int32, [Mesh, Model, Config, POINTER(Future), POINTER(Error)]),
    "tessera_trainer_destroy": (c_int32, [Trainer]),
    "tessera_trainer_set_events": (c_int32, [Trainer, Events, POINTER(Error)]),
    "tessera_trainer_step": (c_int32, [Trainer, Batch, POINTER(Metrics), POINTER(Error)]),
    "tessera_trainer_step_async": (c_int32, [Trainer, Batch, POINTER(Future), POINTER(Error)]),
    "tessera_trainer_forward_backward": (c_int32, [Trainer, Batch, c_int64, POINTER(Metrics), POINTER(Error)]),
    "tessera_trainer_forward_backward_async": (c_int32, [Trainer, Batch, c_int64, POINTER(Future), POINTER(Error)]),
    "tessera_trainer_optimizer_step": (c_int32, [Trainer, POINTER(Metrics), POINTER(Error)]),
    "tessera_trainer_optimizer_step_async": (c_int32, [Trainer, POINTER(Future), POINTER(Error)]),
    "tessera_trainer_zero_grad": (c_int32, [Trainer, POINTER(Error)]),
    "tessera_trainer_get_step_count": (c_int32, [Trainer, POINTER(c_int64), POINTER(Error)]),
    "tessera_trainer_evaluate": (c_int32, [Trainer, Batch, POINTER(Metrics), POINTER(Error)]),
    "tessera_trainer_evaluate_async": (c_int32, [Trainer, Batch, POINTER(Future), POINTER(Error)]),
    "tessera_trainer_generate": (c_int32, [Trainer, POINTER(c_int64), c_int64, POINTER(GenerateOptions), POINTER(c_int64), c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_trainer_generate_async": (c_int32, [Trainer, POINTER(c_int64), c_int64, POINTER(GenerateOptions), POINTER(Future), POINTER(Error)]),
    "tessera_trainer_get_logits": (c_int32, [Trainer, Batch, POINTER(Tensor), POINTER(Error)]),
    "tessera_trainer_get_logits_async": (c_int32, [Trainer, Batch, POINTER(Future), POINTER(Error)]),
    "tessera_trainer_count_parameters": (c_int32, [Trainer, POINTER(c_int64), POINTER(Error)]),
    "tessera_trainer_get_parameter_name": (c_int32, [Trainer, c_int64, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_trainer_get_parameter": (c_int32, [Trainer, c_char_p, POINTER(Tensor), POINTER(Error)]),
    "tessera_trainer_get_parameter_async": (c_int32, [Trainer, c_char_p, POINTER(Future), POINTER(Error)]),
    "tessera_trainer_get_gradient": (c_int32, [Trainer, c_char_p, POINTER(Tensor), POINTER(Error)]),
    "tessera_trainer_get_gradient_async": (c_int32, [Trainer, c_char_p, POINTER(Future), POINTER(Error)]),
    "tessera_trainer_set_parameter": (c_int32, [Trainer, c_char_p, Tensor, POINTER(Error)]),
    "tessera_trainer_set_parameter_async": (c_int32, [Trainer, c_char_p, Tensor, POINTER(Future), POINTER(Error)]),
    "tessera_trainer_get_program": (c_int32, [Trainer, c_int64, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_checkpoint_save": (c_int32, [Trainer, c_char_p, Dataset, POINTER(Error)]),
    "tessera_checkpoint_save_async": (c_int32, [Trainer, c_char_p, Dataset, POINTER(Future), POINTER(Error)]),
    "tessera_checkpoint_load": (c_int32, [Trainer, c_char_p, Dataset, POINTER(Error)]),
    "tessera_checkpoint_load_async": (c_int32, [Trainer, c_char_p, Dataset, POINTER(Future), POINTER(Error)]),
    "tessera_checkpoint_export": (c_int32, [Trainer, c_char_p, c_char_p, POINTER(Error)]),
    "tessera_checkpoint_export_async": (c_int32, [Trainer, c_char_p, c_char_p, POINTER(Future), POINTER(Error)]),
    "tessera_tokenizer_open": (c_int32, [c_char_p, POINTER(Tokenizer), POINTER(Error)]),
    "tessera_tokenizer_destroy": (c_int32, [Tokenizer]),
    "tessera_tokenizer_count": (c_int32, [Tokenizer, POINTER(c_int64), POINTER(Error)]),
    "tessera_tokenizer_encode": (c_int32, [Tokenizer, c_char_p, c_size_t, c_int32, POINTER(c_int64), c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_tokenizer_decode": (c_int32, [Tokenizer, POINTER(c_int64), c_int64, c_int32, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_tokenizer_get_chat_text": (c_int32, [Tokenizer, c_char_p, c_int32, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_tokenizer_encode_chat": (c_int32, [Tokenizer, c_char_p, POINTER(c_int64), POINTER(c_int64), c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_tokenizer_encode_batch": (c_int32, [Tokenizer, c_char_p, c_size_t, POINTER(c_int64), c_int64, c_int32, POINTER(c_int64), POINTER(c_int64), c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_pack_create": (c_int32, [c_char_p, POINTER(c_int64), c_int64, c_int64, c_int64, POINTER(c_int64), POINTER(c_int64), POINTER(Error)]),
    "tessera_pack_get_pieces": (c_int32, [Config, POINTER(c_int64), c_int64, POINTER(c_int64), c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_plan_get_text": (c_int32, [Model, Config, c_int64, c_int32, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_timeline_options_init": (c_int32, [POINTER(TimelineOptions), c_size_t]),
    "tessera_plan_get_timeline": (c_int32, [Model, Config, c_int64, POINTER(TimelineOptions), c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_future_destroy": (c_int32, [Future]),
    "tessera_future_poll": (c_int32, [Future, POINTER(c_int32), POINTER(Error)]),
    "tessera_future_wait": (c_int32, [Future, c_int64, POINTER(Error)]),
    "tessera_future_wait_any": (c_int32, [POINTER(Future), c_int64, c_int64, POINTER(c_int64), POINTER(Error)]),
    "tessera_future_cancel": (c_int32, [Future, POINTER(Error)]),
    "tessera_future_get_result": (c_int32, [Future, POINTER(Error)]),
    "tessera_future_get_metrics": (c_int32, [Future, POINTER(Metrics), POINTER(Error)]),
    "tessera_future_get_tokens": (c_int32, [Future, POINTER(c_int64), c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "tessera_future_get_tensor": (c_int32, [Future, POINTER(Tensor), POINTER(Error)]),
    "tessera_future_get_mesh": (c_int32, [Future, POINTER(Mesh), POINTER(Error)]),
    "tessera_future_get_trainer": (c_int32, [Future, POINTER(Trainer), POINTER(Error)]),
    "tessera_event_init": (c_int32, [POINTER(Event), c_size_t]),
    "tessera_events_create": (c_int32, [c_int64, POINTER(Events), POINTER(Error)]),
    "tessera_events_destroy": (c_int32, [Events]),
    "tessera_events_next": (c_int32, [Events, c_int64, POINTER(Event), POINTER(Error)]),
}
