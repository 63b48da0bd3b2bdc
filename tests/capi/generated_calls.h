// Every function of the interface with the names of its parameters ('?': may be null), for calls at random.
// Generated from the headers by capi/generate.py; do not edit.
// clang-format off
#pragma once

#define TESSERA_EVERY_FUNCTION(CALL) \
  CALL(tessera_status_name, "status") \
  CALL(tessera_status_string, "status") \
  CALL(tessera_handle_count, "kind", "out_count", "err") \
  CALL(tessera_version_string) \
  CALL(tessera_abi_version) \
  CALL(tessera_build_info, "buf", "cap", "out_len", "err") \
  CALL(tessera_log_set_level, "level", "err") \
  CALL(tessera_log_get_level, "out_level", "err") \
  CALL(tessera_log_set_events, "events?", "err") \
  CALL(tessera_key_info_init, "info", "struct_size") \
  CALL(tessera_config_create, "out_config", "err") \
  CALL(tessera_config_destroy, "config") \
  CALL(tessera_config_set, "config", "key", "value", "err") \
  CALL(tessera_config_get, "config", "key", "buf", "cap", "out_len", "err") \
  CALL(tessera_config_load, "config", "path", "err") \
  CALL(tessera_config_load_text, "config", "yaml", "err") \
  CALL(tessera_config_get_text, "config", "buf", "cap", "out_len", "err") \
  CALL(tessera_key_count, "out_count", "err") \
  CALL(tessera_key_get, "index", "out_info", "err") \
  CALL(tessera_key_describe, "key", "out_info", "err") \
  CALL(tessera_world_options_init, "options", "struct_size") \
  CALL(tessera_world_options_load, "options", "config", "err") \
  CALL(tessera_world_create, "options?", "out_world", "err") \
  CALL(tessera_world_create_from_environment, "options?", "out_world", "err") \
  CALL(tessera_world_create_threads, "size", "options?", "out_worlds", "err") \
  CALL(tessera_world_destroy, "world") \
  CALL(tessera_world_close, "world", "err") \
  CALL(tessera_world_close_async, "world", "out_future", "err") \
  CALL(tessera_world_abort, "world", "reason", "err") \
  CALL(tessera_world_get_rank, "world", "out_rank", "err") \
  CALL(tessera_world_get_size, "world", "out_size", "err") \
  CALL(tessera_mesh_options_init, "options", "struct_size") \
  CALL(tessera_mesh_options_load, "options", "config", "err") \
  CALL(tessera_mesh_create, "world", "options?", "out_mesh", "err") \
  CALL(tessera_mesh_create_async, "world", "options?", "out_future", "err") \
  CALL(tessera_mesh_destroy, "mesh") \
  CALL(tessera_mesh_get_size, "mesh", "axis", "out_size", "err") \
  CALL(tessera_mesh_get_index, "mesh", "axis", "out_index", "err") \
  CALL(tessera_mesh_get_ranks, "mesh", "axis", "buf", "cap", "out_len", "err") \
  CALL(tessera_mesh_get_text, "mesh", "buf", "cap", "out_len", "err") \
  CALL(tessera_tensor_create, "dtype", "dims?", "n_dims", "data?", "bytes", "out_tensor", "err") \
  CALL(tessera_tensor_create_view, "dtype", "dims?", "n_dims", "data", "bytes", "out_tensor", "err") \
  CALL(tessera_tensor_create_dlpack, "dlpack", "out_tensor", "err") \
  CALL(tessera_tensor_destroy, "tensor") \
  CALL(tessera_tensor_get_dtype, "tensor", "out_dtype", "err") \
  CALL(tessera_tensor_get_dims, "tensor", "buf", "cap", "out_len", "err") \
  CALL(tessera_tensor_get_data, "tensor", "buf", "cap", "out_len", "err") \
  CALL(tessera_tensor_set_data, "tensor", "data", "bytes", "err") \
  CALL(tessera_tensor_get_dlpack, "tensor", "out_dlpack", "err") \
  CALL(tessera_mesh_barrier, "mesh", "axis", "err") \
  CALL(tessera_mesh_barrier_async, "mesh", "axis", "out_future", "err") \
  CALL(tessera_mesh_all_reduce, "mesh", "axis", "tensor", "reduce", "err") \
  CALL(tessera_mesh_all_reduce_async, "mesh", "axis", "tensor", "reduce", "out_future", "err") \
  CALL(tessera_mesh_all_gather, "mesh", "axis", "input", "output", "err") \
  CALL(tessera_mesh_all_gather_async, "mesh", "axis", "input", "output", "out_future", "err") \
  CALL(tessera_mesh_reduce_scatter, "mesh", "axis", "input", "output", "reduce", "err") \
  CALL(tessera_mesh_reduce_scatter_async, "mesh", "axis", "input", "output", "reduce", "out_future", "err") \
  CALL(tessera_mesh_all_to_all, "mesh", "axis", "input", "output", "err") \
  CALL(tessera_mesh_all_to_all_async, "mesh", "axis", "input", "output", "out_future", "err") \
  CALL(tessera_mesh_broadcast, "mesh", "axis", "tensor", "root", "err") \
  CALL(tessera_mesh_broadcast_async, "mesh", "axis", "tensor", "root", "out_future", "err") \
  CALL(tessera_model_open, "directory", "out_model", "err") \
  CALL(tessera_model_create, "config_json", "out_model", "err") \
  CALL(tessera_model_destroy, "model") \
  CALL(tessera_model_get_text, "model", "buf", "cap", "out_len", "err") \
  CALL(tessera_model_get_parameter_count, "model", "out_count", "err") \
  CALL(tessera_model_set_tp_plan, "model", "name", "plan", "err") \
  CALL(tessera_model_open_plugin, "directory", "plugin", "out_model", "err") \
  CALL(tessera_model_create_plugin, "config_json", "plugin", "out_model", "err") \
  CALL(tessera_batch_create, "out_batch", "err") \
  CALL(tessera_batch_destroy, "batch") \
  CALL(tessera_batch_push, "batch", "tokens", "labels?", "n_tokens", "lengths", "n_lengths", "err") \
  CALL(tessera_batch_count, "batch", "out_count", "err") \
  CALL(tessera_batch_count_tokens, "batch", "out_tokens", "out_labels", "err") \
  CALL(tessera_batch_get_array, "batch", "index", "array", "buf", "cap", "out_len", "err") \
  CALL(tessera_batch_push_form, "batch", "layout?", "form", "tokens", "labels?", "n_tokens", "labels_shifted", "index", "n_index", "extent", "err") \
  CALL(tessera_batch_get_rows, "batch", "index", "row_length", "pad_token", "buf", "cap", "out_len", "err") \
  CALL(tessera_dataset_open, "config", "mesh?", "model?", "out_dataset", "err") \
  CALL(tessera_dataset_create, "config", "mesh?", "model?", "out_dataset", "err") \
  CALL(tessera_dataset_destroy, "dataset") \
  CALL(tessera_dataset_push, "dataset", "tokens", "labels?", "count", "err") \
  CALL(tessera_dataset_push_end, "dataset", "err") \
  CALL(tessera_dataset_next, "dataset", "out_batch", "err") \
  CALL(tessera_dataset_get_state, "dataset", "buf", "cap", "out_len", "err") \
  CALL(tessera_dataset_set_state, "dataset", "state", "err") \
  CALL(tessera_dataset_count_steps, "dataset", "out_steps", "err") \
  CALL(tessera_dataset_get_report, "dataset", "buf", "cap", "out_len", "err") \
  CALL(tessera_dataset_get_lengths, "dataset", "buf", "cap", "out_len", "err") \
  CALL(tessera_dataset_push_arrow, "dataset", "schema", "array", "err") \
  CALL(tessera_metrics_init, "metrics", "struct_size") \
  CALL(tessera_generate_options_init, "options", "struct_size") \
  CALL(tessera_trainer_create, "mesh", "model", "config?", "out_trainer", "err") \
  CALL(tessera_trainer_create_async, "mesh", "model", "config?", "out_future", "err") \
  CALL(tessera_trainer_destroy, "trainer") \
  CALL(tessera_trainer_set_events, "trainer", "events?", "err") \
  CALL(tessera_trainer_step, "trainer", "batch", "out_metrics?", "err") \
  CALL(tessera_trainer_step_async, "trainer", "batch", "out_future", "err") \
  CALL(tessera_trainer_forward_backward, "trainer", "batch", "label_tokens", "out_metrics?", "err") \
  CALL(tessera_trainer_forward_backward_async, "trainer", "batch", "label_tokens", "out_future", "err") \
  CALL(tessera_trainer_optimizer_step, "trainer", "out_metrics?", "err") \
  CALL(tessera_trainer_optimizer_step_async, "trainer", "out_future", "err") \
  CALL(tessera_trainer_zero_grad, "trainer", "err") \
  CALL(tessera_trainer_get_step_count, "trainer", "out_steps", "err") \
  CALL(tessera_trainer_evaluate, "trainer", "batch", "out_metrics", "err") \
  CALL(tessera_trainer_evaluate_async, "trainer", "batch", "out_future", "err") \
  CALL(tessera_trainer_generate, "trainer", "prompt", "n_prompt", "options?", "buf", "cap", "out_len", "err") \
  CALL(tessera_trainer_generate_async, "trainer", "prompt", "n_prompt", "options?", "out_future", "err") \
  CALL(tessera_trainer_get_logits, "trainer", "batch", "out_logits", "err") \
  CALL(tessera_trainer_get_logits_async, "trainer", "batch", "out_future", "err") \
  CALL(tessera_trainer_count_parameters, "trainer", "out_count", "err") \
  CALL(tessera_trainer_get_parameter_name, "trainer", "index", "buf", "cap", "out_len", "err") \
  CALL(tessera_trainer_get_parameter, "trainer", "name", "out_tensor", "err") \
  CALL(tessera_trainer_get_parameter_async, "trainer", "name", "out_future", "err") \
  CALL(tessera_trainer_get_gradient, "trainer", "name", "out_tensor", "err") \
  CALL(tessera_trainer_get_gradient_async, "trainer", "name", "out_future", "err") \
  CALL(tessera_trainer_set_parameter, "trainer", "name", "tensor", "err") \
  CALL(tessera_trainer_set_parameter_async, "trainer", "name", "tensor", "out_future", "err") \
  CALL(tessera_trainer_get_program, "trainer", "microbatches", "buf", "cap", "out_len", "err") \
  CALL(tessera_checkpoint_save, "trainer", "directory", "dataset?", "err") \
  CALL(tessera_checkpoint_save_async, "trainer", "directory", "dataset?", "out_future", "err") \
  CALL(tessera_checkpoint_load, "trainer", "directory", "dataset?", "err") \
  CALL(tessera_checkpoint_load_async, "trainer", "directory", "dataset?", "out_future", "err") \
  CALL(tessera_checkpoint_export, "trainer", "directory", "dtype?", "err") \
  CALL(tessera_checkpoint_export_async, "trainer", "directory", "dtype?", "out_future", "err") \
  CALL(tessera_tokenizer_open, "directory", "out_tokenizer", "err") \
  CALL(tessera_tokenizer_destroy, "tokenizer") \
  CALL(tessera_tokenizer_count, "tokenizer", "out_count", "err") \
  CALL(tessera_tokenizer_encode, "tokenizer", "text", "bytes", "add_special", "buf", "cap", "out_len", "err") \
  CALL(tessera_tokenizer_decode, "tokenizer", "ids", "n_ids", "skip_special", "buf", "cap", "out_len", "err") \
  CALL(tessera_tokenizer_get_chat_text, "tokenizer", "conversation", "add_generation_prompt", "buf", "cap", "out_len", "err") \
  CALL(tessera_tokenizer_encode_chat, "tokenizer", "conversation", "tokens", "labels", "cap", "out_len", "err") \
  CALL(tessera_tokenizer_encode_batch, "tokenizer", "text", "bytes", "text_ends", "n_texts", "add_special", "out_ends", "buf", "cap", "out_len", "err") \
  CALL(tessera_pack_create, "packer", "lengths", "n_lengths", "capacity", "seed", "out_packs", "out_pack_count", "err") \
  CALL(tessera_pack_get_pieces, "config", "lengths", "n_lengths", "buf", "cap", "out_len", "err") \
  CALL(tessera_plan_get_text, "model", "config", "world_size", "part", "buf", "cap", "out_len", "err") \
  CALL(tessera_timeline_options_init, "options", "struct_size") \
  CALL(tessera_plan_get_timeline, "model", "config", "world_size", "options?", "buf", "cap", "out_len", "err") \
  CALL(tessera_future_destroy, "future") \
  CALL(tessera_future_poll, "future", "out_done", "err") \
  CALL(tessera_future_wait, "future", "timeout_ns", "err") \
  CALL(tessera_future_wait_any, "futures", "count", "timeout_ns", "out_index", "err") \
  CALL(tessera_future_cancel, "future", "err") \
  CALL(tessera_future_get_result, "future", "err") \
  CALL(tessera_future_get_metrics, "future", "out_metrics", "err") \
  CALL(tessera_future_get_tokens, "future", "buf", "cap", "out_len", "err") \
  CALL(tessera_future_get_tensor, "future", "out_tensor", "err") \
  CALL(tessera_future_get_mesh, "future", "out_mesh", "err") \
  CALL(tessera_future_get_trainer, "future", "out_trainer", "err") \
  CALL(tessera_event_init, "event", "struct_size") \
  CALL(tessera_events_create, "capacity", "out_events", "err") \
  CALL(tessera_events_destroy, "events") \
  CALL(tessera_events_next, "events", "timeout_ns", "out_event", "err")
