// Calls that misuse every function of the interface. Generated from the headers by capi/generate.py; do not edit.
// clang-format off
#pragma once

// 199 calls
inline void every_pointer_null_in_turn() {
  EXPECT_NULL_POINTER(tessera_handle_count(1, nullptr, &err), "tessera_handle_count", "out_count");
  EXPECT_NULL_POINTER(tessera_build_info(nullptr, 64, scratch<size_t>(), &err), "tessera_build_info", "buf");
  EXPECT_NULL_POINTER(tessera_build_info(scratch<char>(), 64, nullptr, &err), "tessera_build_info", "out_len");
  EXPECT_NULL_POINTER(tessera_log_get_level(nullptr, &err), "tessera_log_get_level", "out_level");
  EXPECT_NULL_POINTER(tessera_key_info_init(nullptr, 64), "tessera_key_info_init", "info");
  EXPECT_NULL_POINTER(tessera_config_create(nullptr, &err), "tessera_config_create", "out_config");
  EXPECT_NULL_POINTER(tessera_config_set(tessera_config{0}, nullptr, "x", &err), "tessera_config_set", "key");
  EXPECT_NULL_POINTER(tessera_config_set(tessera_config{0}, "x", nullptr, &err), "tessera_config_set", "value");
  EXPECT_NULL_POINTER(tessera_config_get(tessera_config{0}, nullptr, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_config_get", "key");
  EXPECT_NULL_POINTER(tessera_config_get(tessera_config{0}, "x", nullptr, 64, scratch<size_t>(), &err), "tessera_config_get", "buf");
  EXPECT_NULL_POINTER(tessera_config_get(tessera_config{0}, "x", scratch<char>(), 64, nullptr, &err), "tessera_config_get", "out_len");
  EXPECT_NULL_POINTER(tessera_config_load(tessera_config{0}, nullptr, &err), "tessera_config_load", "path");
  EXPECT_NULL_POINTER(tessera_config_load_text(tessera_config{0}, nullptr, &err), "tessera_config_load_text", "yaml");
  EXPECT_NULL_POINTER(tessera_config_get_text(tessera_config{0}, nullptr, 64, scratch<size_t>(), &err), "tessera_config_get_text", "buf");
  EXPECT_NULL_POINTER(tessera_config_get_text(tessera_config{0}, scratch<char>(), 64, nullptr, &err), "tessera_config_get_text", "out_len");
  EXPECT_NULL_POINTER(tessera_key_count(nullptr, &err), "tessera_key_count", "out_count");
  EXPECT_NULL_POINTER(tessera_key_get(1, nullptr, &err), "tessera_key_get", "out_info");
  EXPECT_NULL_POINTER(tessera_key_describe(nullptr, Initialised<tessera_key_info>::get(tessera_key_info_init), &err), "tessera_key_describe", "key");
  EXPECT_NULL_POINTER(tessera_key_describe("x", nullptr, &err), "tessera_key_describe", "out_info");
  EXPECT_NULL_POINTER(tessera_world_options_init(nullptr, 64), "tessera_world_options_init", "options");
  EXPECT_NULL_POINTER(tessera_world_options_load(nullptr, tessera_config{0}, &err), "tessera_world_options_load", "options");
  EXPECT_NULL_POINTER(tessera_world_create(Initialised<tessera_world_options>::get(tessera_world_options_init), nullptr, &err), "tessera_world_create", "out_world");
  EXPECT_NULL_POINTER(tessera_world_create_from_environment(Initialised<tessera_world_options>::get(tessera_world_options_init), nullptr, &err), "tessera_world_create_from_environment", "out_world");
  EXPECT_NULL_POINTER(tessera_world_create_threads(1, Initialised<tessera_world_options>::get(tessera_world_options_init), nullptr, &err), "tessera_world_create_threads", "out_worlds");
  EXPECT_NULL_POINTER(tessera_world_close_async(tessera_world{0}, nullptr, &err), "tessera_world_close_async", "out_future");
  EXPECT_NULL_POINTER(tessera_world_abort(tessera_world{0}, nullptr, &err), "tessera_world_abort", "reason");
  EXPECT_NULL_POINTER(tessera_world_get_rank(tessera_world{0}, nullptr, &err), "tessera_world_get_rank", "out_rank");
  EXPECT_NULL_POINTER(tessera_world_get_size(tessera_world{0}, nullptr, &err), "tessera_world_get_size", "out_size");
  EXPECT_NULL_POINTER(tessera_mesh_options_init(nullptr, 64), "tessera_mesh_options_init", "options");
  EXPECT_NULL_POINTER(tessera_mesh_options_load(nullptr, tessera_config{0}, &err), "tessera_mesh_options_load", "options");
  EXPECT_NULL_POINTER(tessera_mesh_create(tessera_world{0}, Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), nullptr, &err), "tessera_mesh_create", "out_mesh");
  EXPECT_NULL_POINTER(tessera_mesh_create_async(tessera_world{0}, Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), nullptr, &err), "tessera_mesh_create_async", "out_future");
  EXPECT_NULL_POINTER(tessera_mesh_get_size(tessera_mesh{0}, nullptr, scratch<int64_t>(), &err), "tessera_mesh_get_size", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_get_size(tessera_mesh{0}, "x", nullptr, &err), "tessera_mesh_get_size", "out_size");
  EXPECT_NULL_POINTER(tessera_mesh_get_index(tessera_mesh{0}, nullptr, scratch<int64_t>(), &err), "tessera_mesh_get_index", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_get_index(tessera_mesh{0}, "x", nullptr, &err), "tessera_mesh_get_index", "out_index");
  EXPECT_NULL_POINTER(tessera_mesh_get_ranks(tessera_mesh{0}, nullptr, scratch<int32_t>(), 64, scratch<size_t>(), &err), "tessera_mesh_get_ranks", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_get_ranks(tessera_mesh{0}, "x", nullptr, 64, scratch<size_t>(), &err), "tessera_mesh_get_ranks", "buf");
  EXPECT_NULL_POINTER(tessera_mesh_get_ranks(tessera_mesh{0}, "x", scratch<int32_t>(), 64, nullptr, &err), "tessera_mesh_get_ranks", "out_len");
  EXPECT_NULL_POINTER(tessera_mesh_get_text(tessera_mesh{0}, nullptr, 64, scratch<size_t>(), &err), "tessera_mesh_get_text", "buf");
  EXPECT_NULL_POINTER(tessera_mesh_get_text(tessera_mesh{0}, scratch<char>(), 64, nullptr, &err), "tessera_mesh_get_text", "out_len");
  EXPECT_NULL_POINTER(tessera_tensor_create(1, scratch<int64_t>(), 1, scratch<void>(), 64, nullptr, &err), "tessera_tensor_create", "out_tensor");
  EXPECT_NULL_POINTER(tessera_tensor_create_view(1, scratch<int64_t>(), 1, nullptr, 64, scratch<tessera_tensor>(), &err), "tessera_tensor_create_view", "data");
  EXPECT_NULL_POINTER(tessera_tensor_create_view(1, scratch<int64_t>(), 1, scratch<void>(), 64, nullptr, &err), "tessera_tensor_create_view", "out_tensor");
  EXPECT_NULL_POINTER(tessera_tensor_create_dlpack(nullptr, scratch<tessera_tensor>(), &err), "tessera_tensor_create_dlpack", "dlpack");
  EXPECT_NULL_POINTER(tessera_tensor_create_dlpack(scratch<struct DLManagedTensorVersioned>(), nullptr, &err), "tessera_tensor_create_dlpack", "out_tensor");
  EXPECT_NULL_POINTER(tessera_tensor_get_dtype(tessera_tensor{0}, nullptr, &err), "tessera_tensor_get_dtype", "out_dtype");
  EXPECT_NULL_POINTER(tessera_tensor_get_dims(tessera_tensor{0}, nullptr, 64, scratch<size_t>(), &err), "tessera_tensor_get_dims", "buf");
  EXPECT_NULL_POINTER(tessera_tensor_get_dims(tessera_tensor{0}, scratch<int64_t>(), 64, nullptr, &err), "tessera_tensor_get_dims", "out_len");
  EXPECT_NULL_POINTER(tessera_tensor_get_data(tessera_tensor{0}, nullptr, 64, scratch<size_t>(), &err), "tessera_tensor_get_data", "buf");
  EXPECT_NULL_POINTER(tessera_tensor_get_data(tessera_tensor{0}, scratch<void>(), 64, nullptr, &err), "tessera_tensor_get_data", "out_len");
  EXPECT_NULL_POINTER(tessera_tensor_set_data(tessera_tensor{0}, nullptr, 64, &err), "tessera_tensor_set_data", "data");
  EXPECT_NULL_POINTER(tessera_tensor_get_dlpack(tessera_tensor{0}, nullptr, &err), "tessera_tensor_get_dlpack", "out_dlpack");
  EXPECT_NULL_POINTER(tessera_mesh_barrier(tessera_mesh{0}, nullptr, &err), "tessera_mesh_barrier", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_barrier_async(tessera_mesh{0}, nullptr, scratch<tessera_future>(), &err), "tessera_mesh_barrier_async", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_barrier_async(tessera_mesh{0}, "x", nullptr, &err), "tessera_mesh_barrier_async", "out_future");
  EXPECT_NULL_POINTER(tessera_mesh_all_reduce(tessera_mesh{0}, nullptr, tessera_tensor{0}, 1, &err), "tessera_mesh_all_reduce", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_all_reduce_async(tessera_mesh{0}, nullptr, tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_all_reduce_async", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_all_reduce_async(tessera_mesh{0}, "x", tessera_tensor{0}, 1, nullptr, &err), "tessera_mesh_all_reduce_async", "out_future");
  EXPECT_NULL_POINTER(tessera_mesh_all_gather(tessera_mesh{0}, nullptr, tessera_tensor{0}, tessera_tensor{0}, &err), "tessera_mesh_all_gather", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_all_gather_async(tessera_mesh{0}, nullptr, tessera_tensor{0}, tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_mesh_all_gather_async", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_all_gather_async(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, nullptr, &err), "tessera_mesh_all_gather_async", "out_future");
  EXPECT_NULL_POINTER(tessera_mesh_reduce_scatter(tessera_mesh{0}, nullptr, tessera_tensor{0}, tessera_tensor{0}, 1, &err), "tessera_mesh_reduce_scatter", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_reduce_scatter_async(tessera_mesh{0}, nullptr, tessera_tensor{0}, tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_reduce_scatter_async", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_reduce_scatter_async(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, 1, nullptr, &err), "tessera_mesh_reduce_scatter_async", "out_future");
  EXPECT_NULL_POINTER(tessera_mesh_all_to_all(tessera_mesh{0}, nullptr, tessera_tensor{0}, tessera_tensor{0}, &err), "tessera_mesh_all_to_all", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_all_to_all_async(tessera_mesh{0}, nullptr, tessera_tensor{0}, tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_mesh_all_to_all_async", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_all_to_all_async(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, nullptr, &err), "tessera_mesh_all_to_all_async", "out_future");
  EXPECT_NULL_POINTER(tessera_mesh_broadcast(tessera_mesh{0}, nullptr, tessera_tensor{0}, 1, &err), "tessera_mesh_broadcast", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_broadcast_async(tessera_mesh{0}, nullptr, tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_broadcast_async", "axis");
  EXPECT_NULL_POINTER(tessera_mesh_broadcast_async(tessera_mesh{0}, "x", tessera_tensor{0}, 1, nullptr, &err), "tessera_mesh_broadcast_async", "out_future");
  EXPECT_NULL_POINTER(tessera_model_open(nullptr, scratch<tessera_model>(), &err), "tessera_model_open", "directory");
  EXPECT_NULL_POINTER(tessera_model_open("x", nullptr, &err), "tessera_model_open", "out_model");
  EXPECT_NULL_POINTER(tessera_model_create(nullptr, scratch<tessera_model>(), &err), "tessera_model_create", "config_json");
  EXPECT_NULL_POINTER(tessera_model_create("x", nullptr, &err), "tessera_model_create", "out_model");
  EXPECT_NULL_POINTER(tessera_model_get_text(tessera_model{0}, nullptr, 64, scratch<size_t>(), &err), "tessera_model_get_text", "buf");
  EXPECT_NULL_POINTER(tessera_model_get_text(tessera_model{0}, scratch<char>(), 64, nullptr, &err), "tessera_model_get_text", "out_len");
  EXPECT_NULL_POINTER(tessera_model_get_parameter_count(tessera_model{0}, nullptr, &err), "tessera_model_get_parameter_count", "out_count");
  EXPECT_NULL_POINTER(tessera_model_set_tp_plan(tessera_model{0}, nullptr, "x", &err), "tessera_model_set_tp_plan", "name");
  EXPECT_NULL_POINTER(tessera_model_set_tp_plan(tessera_model{0}, "x", nullptr, &err), "tessera_model_set_tp_plan", "plan");
  EXPECT_NULL_POINTER(tessera_model_open_plugin(nullptr, "x", scratch<tessera_model>(), &err), "tessera_model_open_plugin", "directory");
  EXPECT_NULL_POINTER(tessera_model_open_plugin("x", nullptr, scratch<tessera_model>(), &err), "tessera_model_open_plugin", "plugin");
  EXPECT_NULL_POINTER(tessera_model_open_plugin("x", "x", nullptr, &err), "tessera_model_open_plugin", "out_model");
  EXPECT_NULL_POINTER(tessera_model_create_plugin(nullptr, "x", scratch<tessera_model>(), &err), "tessera_model_create_plugin", "config_json");
  EXPECT_NULL_POINTER(tessera_model_create_plugin("x", nullptr, scratch<tessera_model>(), &err), "tessera_model_create_plugin", "plugin");
  EXPECT_NULL_POINTER(tessera_model_create_plugin("x", "x", nullptr, &err), "tessera_model_create_plugin", "out_model");
  EXPECT_NULL_POINTER(tessera_batch_create(nullptr, &err), "tessera_batch_create", "out_batch");
  EXPECT_NULL_POINTER(tessera_batch_push(tessera_batch{0}, nullptr, scratch<int64_t>(), 1, scratch<int64_t>(), 1, &err), "tessera_batch_push", "tokens");
  EXPECT_NULL_POINTER(tessera_batch_push(tessera_batch{0}, scratch<int64_t>(), scratch<int64_t>(), 1, nullptr, 1, &err), "tessera_batch_push", "lengths");
  EXPECT_NULL_POINTER(tessera_batch_count(tessera_batch{0}, nullptr, &err), "tessera_batch_count", "out_count");
  EXPECT_NULL_POINTER(tessera_batch_count_tokens(tessera_batch{0}, nullptr, scratch<int64_t>(), &err), "tessera_batch_count_tokens", "out_tokens");
  EXPECT_NULL_POINTER(tessera_batch_count_tokens(tessera_batch{0}, scratch<int64_t>(), nullptr, &err), "tessera_batch_count_tokens", "out_labels");
  EXPECT_NULL_POINTER(tessera_batch_get_array(tessera_batch{0}, 1, 1, nullptr, 64, scratch<size_t>(), &err), "tessera_batch_get_array", "buf");
  EXPECT_NULL_POINTER(tessera_batch_get_array(tessera_batch{0}, 1, 1, scratch<int64_t>(), 64, nullptr, &err), "tessera_batch_get_array", "out_len");
  EXPECT_NULL_POINTER(tessera_batch_push_form(tessera_batch{0}, tessera_config{0}, 1, nullptr, scratch<int64_t>(), 1, 1, scratch<int64_t>(), 1, 1, &err), "tessera_batch_push_form", "tokens");
  EXPECT_NULL_POINTER(tessera_batch_push_form(tessera_batch{0}, tessera_config{0}, 1, scratch<int64_t>(), scratch<int64_t>(), 1, 1, nullptr, 1, 1, &err), "tessera_batch_push_form", "index");
  EXPECT_NULL_POINTER(tessera_batch_get_rows(tessera_batch{0}, 1, 1, 1, nullptr, 64, scratch<size_t>(), &err), "tessera_batch_get_rows", "buf");
  EXPECT_NULL_POINTER(tessera_batch_get_rows(tessera_batch{0}, 1, 1, 1, scratch<int64_t>(), 64, nullptr, &err), "tessera_batch_get_rows", "out_len");
  EXPECT_NULL_POINTER(tessera_dataset_open(tessera_config{0}, tessera_mesh{0}, tessera_model{0}, nullptr, &err), "tessera_dataset_open", "out_dataset");
  EXPECT_NULL_POINTER(tessera_dataset_create(tessera_config{0}, tessera_mesh{0}, tessera_model{0}, nullptr, &err), "tessera_dataset_create", "out_dataset");
  EXPECT_NULL_POINTER(tessera_dataset_push(tessera_dataset{0}, nullptr, scratch<int64_t>(), 1, &err), "tessera_dataset_push", "tokens");
  EXPECT_NULL_POINTER(tessera_dataset_next(tessera_dataset{0}, nullptr, &err), "tessera_dataset_next", "out_batch");
  EXPECT_NULL_POINTER(tessera_dataset_get_state(tessera_dataset{0}, nullptr, 64, scratch<size_t>(), &err), "tessera_dataset_get_state", "buf");
  EXPECT_NULL_POINTER(tessera_dataset_get_state(tessera_dataset{0}, scratch<char>(), 64, nullptr, &err), "tessera_dataset_get_state", "out_len");
  EXPECT_NULL_POINTER(tessera_dataset_set_state(tessera_dataset{0}, nullptr, &err), "tessera_dataset_set_state", "state");
  EXPECT_NULL_POINTER(tessera_dataset_count_steps(tessera_dataset{0}, nullptr, &err), "tessera_dataset_count_steps", "out_steps");
  EXPECT_NULL_POINTER(tessera_dataset_get_report(tessera_dataset{0}, nullptr, 64, scratch<size_t>(), &err), "tessera_dataset_get_report", "buf");
  EXPECT_NULL_POINTER(tessera_dataset_get_report(tessera_dataset{0}, scratch<char>(), 64, nullptr, &err), "tessera_dataset_get_report", "out_len");
  EXPECT_NULL_POINTER(tessera_dataset_get_lengths(tessera_dataset{0}, nullptr, 64, scratch<size_t>(), &err), "tessera_dataset_get_lengths", "buf");
  EXPECT_NULL_POINTER(tessera_dataset_get_lengths(tessera_dataset{0}, scratch<int64_t>(), 64, nullptr, &err), "tessera_dataset_get_lengths", "out_len");
  EXPECT_NULL_POINTER(tessera_dataset_push_arrow(tessera_dataset{0}, nullptr, scratch<void>(), &err), "tessera_dataset_push_arrow", "schema");
  EXPECT_NULL_POINTER(tessera_dataset_push_arrow(tessera_dataset{0}, scratch<void>(), nullptr, &err), "tessera_dataset_push_arrow", "array");
  EXPECT_NULL_POINTER(tessera_metrics_init(nullptr, 64), "tessera_metrics_init", "metrics");
  EXPECT_NULL_POINTER(tessera_generate_options_init(nullptr, 64), "tessera_generate_options_init", "options");
  EXPECT_NULL_POINTER(tessera_trainer_create(tessera_mesh{0}, tessera_model{0}, tessera_config{0}, nullptr, &err), "tessera_trainer_create", "out_trainer");
  EXPECT_NULL_POINTER(tessera_trainer_create_async(tessera_mesh{0}, tessera_model{0}, tessera_config{0}, nullptr, &err), "tessera_trainer_create_async", "out_future");
  EXPECT_NULL_POINTER(tessera_trainer_step_async(tessera_trainer{0}, tessera_batch{0}, nullptr, &err), "tessera_trainer_step_async", "out_future");
  EXPECT_NULL_POINTER(tessera_trainer_forward_backward_async(tessera_trainer{0}, tessera_batch{0}, 1, nullptr, &err), "tessera_trainer_forward_backward_async", "out_future");
  EXPECT_NULL_POINTER(tessera_trainer_optimizer_step_async(tessera_trainer{0}, nullptr, &err), "tessera_trainer_optimizer_step_async", "out_future");
  EXPECT_NULL_POINTER(tessera_trainer_get_step_count(tessera_trainer{0}, nullptr, &err), "tessera_trainer_get_step_count", "out_steps");
  EXPECT_NULL_POINTER(tessera_trainer_evaluate(tessera_trainer{0}, tessera_batch{0}, nullptr, &err), "tessera_trainer_evaluate", "out_metrics");
  EXPECT_NULL_POINTER(tessera_trainer_evaluate_async(tessera_trainer{0}, tessera_batch{0}, nullptr, &err), "tessera_trainer_evaluate_async", "out_future");
  EXPECT_NULL_POINTER(tessera_trainer_generate(tessera_trainer{0}, nullptr, 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_trainer_generate", "prompt");
  EXPECT_NULL_POINTER(tessera_trainer_generate(tessera_trainer{0}, scratch<int64_t>(), 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), nullptr, 64, scratch<size_t>(), &err), "tessera_trainer_generate", "buf");
  EXPECT_NULL_POINTER(tessera_trainer_generate(tessera_trainer{0}, scratch<int64_t>(), 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), scratch<int64_t>(), 64, nullptr, &err), "tessera_trainer_generate", "out_len");
  EXPECT_NULL_POINTER(tessera_trainer_generate_async(tessera_trainer{0}, nullptr, 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), scratch<tessera_future>(), &err), "tessera_trainer_generate_async", "prompt");
  EXPECT_NULL_POINTER(tessera_trainer_generate_async(tessera_trainer{0}, scratch<int64_t>(), 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), nullptr, &err), "tessera_trainer_generate_async", "out_future");
  EXPECT_NULL_POINTER(tessera_trainer_get_logits(tessera_trainer{0}, tessera_batch{0}, nullptr, &err), "tessera_trainer_get_logits", "out_logits");
  EXPECT_NULL_POINTER(tessera_trainer_get_logits_async(tessera_trainer{0}, tessera_batch{0}, nullptr, &err), "tessera_trainer_get_logits_async", "out_future");
  EXPECT_NULL_POINTER(tessera_trainer_count_parameters(tessera_trainer{0}, nullptr, &err), "tessera_trainer_count_parameters", "out_count");
  EXPECT_NULL_POINTER(tessera_trainer_get_parameter_name(tessera_trainer{0}, 1, nullptr, 64, scratch<size_t>(), &err), "tessera_trainer_get_parameter_name", "buf");
  EXPECT_NULL_POINTER(tessera_trainer_get_parameter_name(tessera_trainer{0}, 1, scratch<char>(), 64, nullptr, &err), "tessera_trainer_get_parameter_name", "out_len");
  EXPECT_NULL_POINTER(tessera_trainer_get_parameter(tessera_trainer{0}, nullptr, scratch<tessera_tensor>(), &err), "tessera_trainer_get_parameter", "name");
  EXPECT_NULL_POINTER(tessera_trainer_get_parameter(tessera_trainer{0}, "x", nullptr, &err), "tessera_trainer_get_parameter", "out_tensor");
  EXPECT_NULL_POINTER(tessera_trainer_get_parameter_async(tessera_trainer{0}, nullptr, scratch<tessera_future>(), &err), "tessera_trainer_get_parameter_async", "name");
  EXPECT_NULL_POINTER(tessera_trainer_get_parameter_async(tessera_trainer{0}, "x", nullptr, &err), "tessera_trainer_get_parameter_async", "out_future");
  EXPECT_NULL_POINTER(tessera_trainer_get_gradient(tessera_trainer{0}, nullptr, scratch<tessera_tensor>(), &err), "tessera_trainer_get_gradient", "name");
  EXPECT_NULL_POINTER(tessera_trainer_get_gradient(tessera_trainer{0}, "x", nullptr, &err), "tessera_trainer_get_gradient", "out_tensor");
  EXPECT_NULL_POINTER(tessera_trainer_get_gradient_async(tessera_trainer{0}, nullptr, scratch<tessera_future>(), &err), "tessera_trainer_get_gradient_async", "name");
  EXPECT_NULL_POINTER(tessera_trainer_get_gradient_async(tessera_trainer{0}, "x", nullptr, &err), "tessera_trainer_get_gradient_async", "out_future");
  EXPECT_NULL_POINTER(tessera_trainer_set_parameter(tessera_trainer{0}, nullptr, tessera_tensor{0}, &err), "tessera_trainer_set_parameter", "name");
  EXPECT_NULL_POINTER(tessera_trainer_set_parameter_async(tessera_trainer{0}, nullptr, tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_trainer_set_parameter_async", "name");
  EXPECT_NULL_POINTER(tessera_trainer_set_parameter_async(tessera_trainer{0}, "x", tessera_tensor{0}, nullptr, &err), "tessera_trainer_set_parameter_async", "out_future");
  EXPECT_NULL_POINTER(tessera_trainer_get_program(tessera_trainer{0}, 1, nullptr, 64, scratch<size_t>(), &err), "tessera_trainer_get_program", "buf");
  EXPECT_NULL_POINTER(tessera_trainer_get_program(tessera_trainer{0}, 1, scratch<char>(), 64, nullptr, &err), "tessera_trainer_get_program", "out_len");
  EXPECT_NULL_POINTER(tessera_checkpoint_save(tessera_trainer{0}, nullptr, tessera_dataset{0}, &err), "tessera_checkpoint_save", "directory");
  EXPECT_NULL_POINTER(tessera_checkpoint_save_async(tessera_trainer{0}, nullptr, tessera_dataset{0}, scratch<tessera_future>(), &err), "tessera_checkpoint_save_async", "directory");
  EXPECT_NULL_POINTER(tessera_checkpoint_save_async(tessera_trainer{0}, "x", tessera_dataset{0}, nullptr, &err), "tessera_checkpoint_save_async", "out_future");
  EXPECT_NULL_POINTER(tessera_checkpoint_load(tessera_trainer{0}, nullptr, tessera_dataset{0}, &err), "tessera_checkpoint_load", "directory");
  EXPECT_NULL_POINTER(tessera_checkpoint_load_async(tessera_trainer{0}, nullptr, tessera_dataset{0}, scratch<tessera_future>(), &err), "tessera_checkpoint_load_async", "directory");
  EXPECT_NULL_POINTER(tessera_checkpoint_load_async(tessera_trainer{0}, "x", tessera_dataset{0}, nullptr, &err), "tessera_checkpoint_load_async", "out_future");
  EXPECT_NULL_POINTER(tessera_checkpoint_export(tessera_trainer{0}, nullptr, "x", &err), "tessera_checkpoint_export", "directory");
  EXPECT_NULL_POINTER(tessera_checkpoint_export_async(tessera_trainer{0}, nullptr, "x", scratch<tessera_future>(), &err), "tessera_checkpoint_export_async", "directory");
  EXPECT_NULL_POINTER(tessera_checkpoint_export_async(tessera_trainer{0}, "x", "x", nullptr, &err), "tessera_checkpoint_export_async", "out_future");
  EXPECT_NULL_POINTER(tessera_tokenizer_open(nullptr, scratch<tessera_tokenizer>(), &err), "tessera_tokenizer_open", "directory");
  EXPECT_NULL_POINTER(tessera_tokenizer_open("x", nullptr, &err), "tessera_tokenizer_open", "out_tokenizer");
  EXPECT_NULL_POINTER(tessera_tokenizer_count(tessera_tokenizer{0}, nullptr, &err), "tessera_tokenizer_count", "out_count");
  EXPECT_NULL_POINTER(tessera_tokenizer_encode(tessera_tokenizer{0}, nullptr, 64, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode", "text");
  EXPECT_NULL_POINTER(tessera_tokenizer_encode(tessera_tokenizer{0}, "x", 64, 1, nullptr, 64, scratch<size_t>(), &err), "tessera_tokenizer_encode", "buf");
  EXPECT_NULL_POINTER(tessera_tokenizer_encode(tessera_tokenizer{0}, "x", 64, 1, scratch<int64_t>(), 64, nullptr, &err), "tessera_tokenizer_encode", "out_len");
  EXPECT_NULL_POINTER(tessera_tokenizer_decode(tessera_tokenizer{0}, nullptr, 1, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_decode", "ids");
  EXPECT_NULL_POINTER(tessera_tokenizer_decode(tessera_tokenizer{0}, scratch<int64_t>(), 1, 1, nullptr, 64, scratch<size_t>(), &err), "tessera_tokenizer_decode", "buf");
  EXPECT_NULL_POINTER(tessera_tokenizer_decode(tessera_tokenizer{0}, scratch<int64_t>(), 1, 1, scratch<char>(), 64, nullptr, &err), "tessera_tokenizer_decode", "out_len");
  EXPECT_NULL_POINTER(tessera_tokenizer_get_chat_text(tessera_tokenizer{0}, nullptr, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_get_chat_text", "conversation");
  EXPECT_NULL_POINTER(tessera_tokenizer_get_chat_text(tessera_tokenizer{0}, "x", 1, nullptr, 64, scratch<size_t>(), &err), "tessera_tokenizer_get_chat_text", "buf");
  EXPECT_NULL_POINTER(tessera_tokenizer_get_chat_text(tessera_tokenizer{0}, "x", 1, scratch<char>(), 64, nullptr, &err), "tessera_tokenizer_get_chat_text", "out_len");
  EXPECT_NULL_POINTER(tessera_tokenizer_encode_chat(tessera_tokenizer{0}, nullptr, scratch<int64_t>(), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_chat", "conversation");
  EXPECT_NULL_POINTER(tessera_tokenizer_encode_chat(tessera_tokenizer{0}, "x", nullptr, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_chat", "tokens");
  EXPECT_NULL_POINTER(tessera_tokenizer_encode_chat(tessera_tokenizer{0}, "x", scratch<int64_t>(), nullptr, 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_chat", "labels");
  EXPECT_NULL_POINTER(tessera_tokenizer_encode_chat(tessera_tokenizer{0}, "x", scratch<int64_t>(), scratch<int64_t>(), 64, nullptr, &err), "tessera_tokenizer_encode_chat", "out_len");
  EXPECT_NULL_POINTER(tessera_tokenizer_encode_batch(tessera_tokenizer{0}, nullptr, 64, scratch<int64_t>(), 1, 1, scratch<int64_t>(), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_batch", "text");
  EXPECT_NULL_POINTER(tessera_tokenizer_encode_batch(tessera_tokenizer{0}, "x", 64, nullptr, 1, 1, scratch<int64_t>(), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_batch", "text_ends");
  EXPECT_NULL_POINTER(tessera_tokenizer_encode_batch(tessera_tokenizer{0}, "x", 64, scratch<int64_t>(), 1, 1, nullptr, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_batch", "out_ends");
  EXPECT_NULL_POINTER(tessera_tokenizer_encode_batch(tessera_tokenizer{0}, "x", 64, scratch<int64_t>(), 1, 1, scratch<int64_t>(), nullptr, 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_batch", "buf");
  EXPECT_NULL_POINTER(tessera_tokenizer_encode_batch(tessera_tokenizer{0}, "x", 64, scratch<int64_t>(), 1, 1, scratch<int64_t>(), scratch<int64_t>(), 64, nullptr, &err), "tessera_tokenizer_encode_batch", "out_len");
  EXPECT_NULL_POINTER(tessera_pack_create(nullptr, scratch<int64_t>(), 1, 1, 1, scratch<int64_t>(), scratch<int64_t>(), &err), "tessera_pack_create", "packer");
  EXPECT_NULL_POINTER(tessera_pack_create("x", nullptr, 1, 1, 1, scratch<int64_t>(), scratch<int64_t>(), &err), "tessera_pack_create", "lengths");
  EXPECT_NULL_POINTER(tessera_pack_create("x", scratch<int64_t>(), 1, 1, 1, nullptr, scratch<int64_t>(), &err), "tessera_pack_create", "out_packs");
  EXPECT_NULL_POINTER(tessera_pack_create("x", scratch<int64_t>(), 1, 1, 1, scratch<int64_t>(), nullptr, &err), "tessera_pack_create", "out_pack_count");
  EXPECT_NULL_POINTER(tessera_pack_get_pieces(tessera_config{0}, nullptr, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_pack_get_pieces", "lengths");
  EXPECT_NULL_POINTER(tessera_pack_get_pieces(tessera_config{0}, scratch<int64_t>(), 1, nullptr, 64, scratch<size_t>(), &err), "tessera_pack_get_pieces", "buf");
  EXPECT_NULL_POINTER(tessera_pack_get_pieces(tessera_config{0}, scratch<int64_t>(), 1, scratch<int64_t>(), 64, nullptr, &err), "tessera_pack_get_pieces", "out_len");
  EXPECT_NULL_POINTER(tessera_plan_get_text(tessera_model{0}, tessera_config{0}, 1, 1, nullptr, 64, scratch<size_t>(), &err), "tessera_plan_get_text", "buf");
  EXPECT_NULL_POINTER(tessera_plan_get_text(tessera_model{0}, tessera_config{0}, 1, 1, scratch<char>(), 64, nullptr, &err), "tessera_plan_get_text", "out_len");
  EXPECT_NULL_POINTER(tessera_timeline_options_init(nullptr, 64), "tessera_timeline_options_init", "options");
  EXPECT_NULL_POINTER(tessera_plan_get_timeline(tessera_model{0}, tessera_config{0}, 1, scratch<tessera_timeline_options>(), nullptr, 64, scratch<size_t>(), &err), "tessera_plan_get_timeline", "buf");
  EXPECT_NULL_POINTER(tessera_plan_get_timeline(tessera_model{0}, tessera_config{0}, 1, scratch<tessera_timeline_options>(), scratch<char>(), 64, nullptr, &err), "tessera_plan_get_timeline", "out_len");
  EXPECT_NULL_POINTER(tessera_future_poll(tessera_future{0}, nullptr, &err), "tessera_future_poll", "out_done");
  EXPECT_NULL_POINTER(tessera_future_wait_any(nullptr, 1, 1, scratch<int64_t>(), &err), "tessera_future_wait_any", "futures");
  EXPECT_NULL_POINTER(tessera_future_wait_any(scratch<tessera_future>(), 1, 1, nullptr, &err), "tessera_future_wait_any", "out_index");
  EXPECT_NULL_POINTER(tessera_future_get_metrics(tessera_future{0}, nullptr, &err), "tessera_future_get_metrics", "out_metrics");
  EXPECT_NULL_POINTER(tessera_future_get_tokens(tessera_future{0}, nullptr, 64, scratch<size_t>(), &err), "tessera_future_get_tokens", "buf");
  EXPECT_NULL_POINTER(tessera_future_get_tokens(tessera_future{0}, scratch<int64_t>(), 64, nullptr, &err), "tessera_future_get_tokens", "out_len");
  EXPECT_NULL_POINTER(tessera_future_get_tensor(tessera_future{0}, nullptr, &err), "tessera_future_get_tensor", "out_tensor");
  EXPECT_NULL_POINTER(tessera_future_get_mesh(tessera_future{0}, nullptr, &err), "tessera_future_get_mesh", "out_mesh");
  EXPECT_NULL_POINTER(tessera_future_get_trainer(tessera_future{0}, nullptr, &err), "tessera_future_get_trainer", "out_trainer");
  EXPECT_NULL_POINTER(tessera_event_init(nullptr, 64), "tessera_event_init", "event");
  EXPECT_NULL_POINTER(tessera_events_create(1, nullptr, &err), "tessera_events_create", "out_events");
  EXPECT_NULL_POINTER(tessera_events_next(tessera_events{0}, 1, nullptr, &err), "tessera_events_next", "out_event");
}

// 106 calls
inline void every_handle_null() {
  EXPECT_NULL_HANDLE(tessera_config_set(tessera_config{0}, "x", "x", &err), "tessera_config_set", "config");
  EXPECT_NULL_HANDLE(tessera_config_get(tessera_config{0}, "x", scratch<char>(), 64, scratch<size_t>(), &err), "tessera_config_get", "config");
  EXPECT_NULL_HANDLE(tessera_config_load(tessera_config{0}, "x", &err), "tessera_config_load", "config");
  EXPECT_NULL_HANDLE(tessera_config_load_text(tessera_config{0}, "x", &err), "tessera_config_load_text", "config");
  EXPECT_NULL_HANDLE(tessera_config_get_text(tessera_config{0}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_config_get_text", "config");
  EXPECT_NULL_HANDLE(tessera_world_options_load(Initialised<tessera_world_options>::get(tessera_world_options_init), tessera_config{0}, &err), "tessera_world_options_load", "config");
  EXPECT_NULL_HANDLE(tessera_world_close(tessera_world{0}, &err), "tessera_world_close", "world");
  EXPECT_NULL_HANDLE(tessera_world_close_async(tessera_world{0}, scratch<tessera_future>(), &err), "tessera_world_close_async", "world");
  EXPECT_NULL_HANDLE(tessera_world_abort(tessera_world{0}, "x", &err), "tessera_world_abort", "world");
  EXPECT_NULL_HANDLE(tessera_world_get_rank(tessera_world{0}, scratch<int32_t>(), &err), "tessera_world_get_rank", "world");
  EXPECT_NULL_HANDLE(tessera_world_get_size(tessera_world{0}, scratch<int32_t>(), &err), "tessera_world_get_size", "world");
  EXPECT_NULL_HANDLE(tessera_mesh_options_load(Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), tessera_config{0}, &err), "tessera_mesh_options_load", "config");
  EXPECT_NULL_HANDLE(tessera_mesh_create(tessera_world{0}, Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), scratch<tessera_mesh>(), &err), "tessera_mesh_create", "world");
  EXPECT_NULL_HANDLE(tessera_mesh_create_async(tessera_world{0}, Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), scratch<tessera_future>(), &err), "tessera_mesh_create_async", "world");
  EXPECT_NULL_HANDLE(tessera_mesh_get_size(tessera_mesh{0}, "x", scratch<int64_t>(), &err), "tessera_mesh_get_size", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_get_index(tessera_mesh{0}, "x", scratch<int64_t>(), &err), "tessera_mesh_get_index", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_get_ranks(tessera_mesh{0}, "x", scratch<int32_t>(), 64, scratch<size_t>(), &err), "tessera_mesh_get_ranks", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_get_text(tessera_mesh{0}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_mesh_get_text", "mesh");
  EXPECT_NULL_HANDLE(tessera_tensor_get_dtype(tessera_tensor{0}, scratch<int32_t>(), &err), "tessera_tensor_get_dtype", "tensor");
  EXPECT_NULL_HANDLE(tessera_tensor_get_dims(tessera_tensor{0}, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tensor_get_dims", "tensor");
  EXPECT_NULL_HANDLE(tessera_tensor_get_data(tessera_tensor{0}, scratch<void>(), 64, scratch<size_t>(), &err), "tessera_tensor_get_data", "tensor");
  EXPECT_NULL_HANDLE(tessera_tensor_set_data(tessera_tensor{0}, scratch<void>(), 64, &err), "tessera_tensor_set_data", "tensor");
  EXPECT_NULL_HANDLE(tessera_tensor_get_dlpack(tessera_tensor{0}, scratch_pointer(), &err), "tessera_tensor_get_dlpack", "tensor");
  EXPECT_NULL_HANDLE(tessera_mesh_barrier(tessera_mesh{0}, "x", &err), "tessera_mesh_barrier", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_barrier_async(tessera_mesh{0}, "x", scratch<tessera_future>(), &err), "tessera_mesh_barrier_async", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_all_reduce(tessera_mesh{0}, "x", tessera_tensor{0}, 1, &err), "tessera_mesh_all_reduce", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_all_reduce_async(tessera_mesh{0}, "x", tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_all_reduce_async", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_all_gather(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, &err), "tessera_mesh_all_gather", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_all_gather_async(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_mesh_all_gather_async", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_reduce_scatter(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, 1, &err), "tessera_mesh_reduce_scatter", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_reduce_scatter_async(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_reduce_scatter_async", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_all_to_all(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, &err), "tessera_mesh_all_to_all", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_all_to_all_async(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_mesh_all_to_all_async", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_broadcast(tessera_mesh{0}, "x", tessera_tensor{0}, 1, &err), "tessera_mesh_broadcast", "mesh");
  EXPECT_NULL_HANDLE(tessera_mesh_broadcast_async(tessera_mesh{0}, "x", tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_broadcast_async", "mesh");
  EXPECT_NULL_HANDLE(tessera_model_get_text(tessera_model{0}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_model_get_text", "model");
  EXPECT_NULL_HANDLE(tessera_model_get_parameter_count(tessera_model{0}, scratch<int64_t>(), &err), "tessera_model_get_parameter_count", "model");
  EXPECT_NULL_HANDLE(tessera_model_set_tp_plan(tessera_model{0}, "x", "x", &err), "tessera_model_set_tp_plan", "model");
  EXPECT_NULL_HANDLE(tessera_batch_push(tessera_batch{0}, scratch<int64_t>(), scratch<int64_t>(), 1, scratch<int64_t>(), 1, &err), "tessera_batch_push", "batch");
  EXPECT_NULL_HANDLE(tessera_batch_count(tessera_batch{0}, scratch<int64_t>(), &err), "tessera_batch_count", "batch");
  EXPECT_NULL_HANDLE(tessera_batch_count_tokens(tessera_batch{0}, scratch<int64_t>(), scratch<int64_t>(), &err), "tessera_batch_count_tokens", "batch");
  EXPECT_NULL_HANDLE(tessera_batch_get_array(tessera_batch{0}, 1, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_batch_get_array", "batch");
  EXPECT_NULL_HANDLE(tessera_batch_push_form(tessera_batch{0}, tessera_config{0}, 1, scratch<int64_t>(), scratch<int64_t>(), 1, 1, scratch<int64_t>(), 1, 1, &err), "tessera_batch_push_form", "batch");
  EXPECT_NULL_HANDLE(tessera_batch_get_rows(tessera_batch{0}, 1, 1, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_batch_get_rows", "batch");
  EXPECT_NULL_HANDLE(tessera_dataset_open(tessera_config{0}, tessera_mesh{0}, tessera_model{0}, scratch<tessera_dataset>(), &err), "tessera_dataset_open", "config");
  EXPECT_NULL_HANDLE(tessera_dataset_create(tessera_config{0}, tessera_mesh{0}, tessera_model{0}, scratch<tessera_dataset>(), &err), "tessera_dataset_create", "config");
  EXPECT_NULL_HANDLE(tessera_dataset_push(tessera_dataset{0}, scratch<int64_t>(), scratch<int64_t>(), 1, &err), "tessera_dataset_push", "dataset");
  EXPECT_NULL_HANDLE(tessera_dataset_push_end(tessera_dataset{0}, &err), "tessera_dataset_push_end", "dataset");
  EXPECT_NULL_HANDLE(tessera_dataset_next(tessera_dataset{0}, scratch<tessera_batch>(), &err), "tessera_dataset_next", "dataset");
  EXPECT_NULL_HANDLE(tessera_dataset_get_state(tessera_dataset{0}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_dataset_get_state", "dataset");
  EXPECT_NULL_HANDLE(tessera_dataset_set_state(tessera_dataset{0}, "x", &err), "tessera_dataset_set_state", "dataset");
  EXPECT_NULL_HANDLE(tessera_dataset_count_steps(tessera_dataset{0}, scratch<int64_t>(), &err), "tessera_dataset_count_steps", "dataset");
  EXPECT_NULL_HANDLE(tessera_dataset_get_report(tessera_dataset{0}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_dataset_get_report", "dataset");
  EXPECT_NULL_HANDLE(tessera_dataset_get_lengths(tessera_dataset{0}, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_dataset_get_lengths", "dataset");
  EXPECT_NULL_HANDLE(tessera_dataset_push_arrow(tessera_dataset{0}, scratch<void>(), scratch<void>(), &err), "tessera_dataset_push_arrow", "dataset");
  EXPECT_NULL_HANDLE(tessera_trainer_create(tessera_mesh{0}, tessera_model{0}, tessera_config{0}, scratch<tessera_trainer>(), &err), "tessera_trainer_create", "mesh");
  EXPECT_NULL_HANDLE(tessera_trainer_create_async(tessera_mesh{0}, tessera_model{0}, tessera_config{0}, scratch<tessera_future>(), &err), "tessera_trainer_create_async", "mesh");
  EXPECT_NULL_HANDLE(tessera_trainer_set_events(tessera_trainer{0}, tessera_events{0}, &err), "tessera_trainer_set_events", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_step(tessera_trainer{0}, tessera_batch{0}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_step", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_step_async(tessera_trainer{0}, tessera_batch{0}, scratch<tessera_future>(), &err), "tessera_trainer_step_async", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_forward_backward(tessera_trainer{0}, tessera_batch{0}, 1, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_forward_backward", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_forward_backward_async(tessera_trainer{0}, tessera_batch{0}, 1, scratch<tessera_future>(), &err), "tessera_trainer_forward_backward_async", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_optimizer_step(tessera_trainer{0}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_optimizer_step", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_optimizer_step_async(tessera_trainer{0}, scratch<tessera_future>(), &err), "tessera_trainer_optimizer_step_async", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_zero_grad(tessera_trainer{0}, &err), "tessera_trainer_zero_grad", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_get_step_count(tessera_trainer{0}, scratch<int64_t>(), &err), "tessera_trainer_get_step_count", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_evaluate(tessera_trainer{0}, tessera_batch{0}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_evaluate", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_evaluate_async(tessera_trainer{0}, tessera_batch{0}, scratch<tessera_future>(), &err), "tessera_trainer_evaluate_async", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_generate(tessera_trainer{0}, scratch<int64_t>(), 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_trainer_generate", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_generate_async(tessera_trainer{0}, scratch<int64_t>(), 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), scratch<tessera_future>(), &err), "tessera_trainer_generate_async", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_get_logits(tessera_trainer{0}, tessera_batch{0}, scratch<tessera_tensor>(), &err), "tessera_trainer_get_logits", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_get_logits_async(tessera_trainer{0}, tessera_batch{0}, scratch<tessera_future>(), &err), "tessera_trainer_get_logits_async", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_count_parameters(tessera_trainer{0}, scratch<int64_t>(), &err), "tessera_trainer_count_parameters", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_get_parameter_name(tessera_trainer{0}, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_trainer_get_parameter_name", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_get_parameter(tessera_trainer{0}, "x", scratch<tessera_tensor>(), &err), "tessera_trainer_get_parameter", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_get_parameter_async(tessera_trainer{0}, "x", scratch<tessera_future>(), &err), "tessera_trainer_get_parameter_async", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_get_gradient(tessera_trainer{0}, "x", scratch<tessera_tensor>(), &err), "tessera_trainer_get_gradient", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_get_gradient_async(tessera_trainer{0}, "x", scratch<tessera_future>(), &err), "tessera_trainer_get_gradient_async", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_set_parameter(tessera_trainer{0}, "x", tessera_tensor{0}, &err), "tessera_trainer_set_parameter", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_set_parameter_async(tessera_trainer{0}, "x", tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_trainer_set_parameter_async", "trainer");
  EXPECT_NULL_HANDLE(tessera_trainer_get_program(tessera_trainer{0}, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_trainer_get_program", "trainer");
  EXPECT_NULL_HANDLE(tessera_checkpoint_save(tessera_trainer{0}, "x", tessera_dataset{0}, &err), "tessera_checkpoint_save", "trainer");
  EXPECT_NULL_HANDLE(tessera_checkpoint_save_async(tessera_trainer{0}, "x", tessera_dataset{0}, scratch<tessera_future>(), &err), "tessera_checkpoint_save_async", "trainer");
  EXPECT_NULL_HANDLE(tessera_checkpoint_load(tessera_trainer{0}, "x", tessera_dataset{0}, &err), "tessera_checkpoint_load", "trainer");
  EXPECT_NULL_HANDLE(tessera_checkpoint_load_async(tessera_trainer{0}, "x", tessera_dataset{0}, scratch<tessera_future>(), &err), "tessera_checkpoint_load_async", "trainer");
  EXPECT_NULL_HANDLE(tessera_checkpoint_export(tessera_trainer{0}, "x", "x", &err), "tessera_checkpoint_export", "trainer");
  EXPECT_NULL_HANDLE(tessera_checkpoint_export_async(tessera_trainer{0}, "x", "x", scratch<tessera_future>(), &err), "tessera_checkpoint_export_async", "trainer");
  EXPECT_NULL_HANDLE(tessera_tokenizer_count(tessera_tokenizer{0}, scratch<int64_t>(), &err), "tessera_tokenizer_count", "tokenizer");
  EXPECT_NULL_HANDLE(tessera_tokenizer_encode(tessera_tokenizer{0}, "x", 64, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode", "tokenizer");
  EXPECT_NULL_HANDLE(tessera_tokenizer_decode(tessera_tokenizer{0}, scratch<int64_t>(), 1, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_decode", "tokenizer");
  EXPECT_NULL_HANDLE(tessera_tokenizer_get_chat_text(tessera_tokenizer{0}, "x", 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_get_chat_text", "tokenizer");
  EXPECT_NULL_HANDLE(tessera_tokenizer_encode_chat(tessera_tokenizer{0}, "x", scratch<int64_t>(), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_chat", "tokenizer");
  EXPECT_NULL_HANDLE(tessera_tokenizer_encode_batch(tessera_tokenizer{0}, "x", 64, scratch<int64_t>(), 1, 1, scratch<int64_t>(), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_batch", "tokenizer");
  EXPECT_NULL_HANDLE(tessera_pack_get_pieces(tessera_config{0}, scratch<int64_t>(), 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_pack_get_pieces", "config");
  EXPECT_NULL_HANDLE(tessera_plan_get_text(tessera_model{0}, tessera_config{0}, 1, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_plan_get_text", "model");
  EXPECT_NULL_HANDLE(tessera_plan_get_timeline(tessera_model{0}, tessera_config{0}, 1, scratch<tessera_timeline_options>(), scratch<char>(), 64, scratch<size_t>(), &err), "tessera_plan_get_timeline", "model");
  EXPECT_NULL_HANDLE(tessera_future_poll(tessera_future{0}, scratch<int32_t>(), &err), "tessera_future_poll", "future");
  EXPECT_NULL_HANDLE(tessera_future_wait(tessera_future{0}, 1, &err), "tessera_future_wait", "future");
  EXPECT_NULL_HANDLE(tessera_future_cancel(tessera_future{0}, &err), "tessera_future_cancel", "future");
  EXPECT_NULL_HANDLE(tessera_future_get_result(tessera_future{0}, &err), "tessera_future_get_result", "future");
  EXPECT_NULL_HANDLE(tessera_future_get_metrics(tessera_future{0}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_future_get_metrics", "future");
  EXPECT_NULL_HANDLE(tessera_future_get_tokens(tessera_future{0}, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_future_get_tokens", "future");
  EXPECT_NULL_HANDLE(tessera_future_get_tensor(tessera_future{0}, scratch<tessera_tensor>(), &err), "tessera_future_get_tensor", "future");
  EXPECT_NULL_HANDLE(tessera_future_get_mesh(tessera_future{0}, scratch<tessera_mesh>(), &err), "tessera_future_get_mesh", "future");
  EXPECT_NULL_HANDLE(tessera_future_get_trainer(tessera_future{0}, scratch<tessera_trainer>(), &err), "tessera_future_get_trainer", "future");
  EXPECT_NULL_HANDLE(tessera_events_next(tessera_events{0}, 1, Initialised<tessera_event>::get(tessera_event_init), &err), "tessera_events_next", "events");
}

// 118 calls
inline void every_handle_invented() {
  EXPECT_STALE_HANDLE(tessera_log_set_events(tessera_events{invented(TESSERA_KIND_EVENTS)}, &err), "tessera_log_set_events", "events");
  EXPECT_STALE_HANDLE(tessera_config_destroy(tessera_config{invented(TESSERA_KIND_CONFIG)}), "tessera_config_destroy", "config");
  EXPECT_STALE_HANDLE(tessera_config_set(tessera_config{invented(TESSERA_KIND_CONFIG)}, "x", "x", &err), "tessera_config_set", "config");
  EXPECT_STALE_HANDLE(tessera_config_get(tessera_config{invented(TESSERA_KIND_CONFIG)}, "x", scratch<char>(), 64, scratch<size_t>(), &err), "tessera_config_get", "config");
  EXPECT_STALE_HANDLE(tessera_config_load(tessera_config{invented(TESSERA_KIND_CONFIG)}, "x", &err), "tessera_config_load", "config");
  EXPECT_STALE_HANDLE(tessera_config_load_text(tessera_config{invented(TESSERA_KIND_CONFIG)}, "x", &err), "tessera_config_load_text", "config");
  EXPECT_STALE_HANDLE(tessera_config_get_text(tessera_config{invented(TESSERA_KIND_CONFIG)}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_config_get_text", "config");
  EXPECT_STALE_HANDLE(tessera_world_options_load(Initialised<tessera_world_options>::get(tessera_world_options_init), tessera_config{invented(TESSERA_KIND_CONFIG)}, &err), "tessera_world_options_load", "config");
  EXPECT_STALE_HANDLE(tessera_world_destroy(tessera_world{invented(TESSERA_KIND_WORLD)}), "tessera_world_destroy", "world");
  EXPECT_STALE_HANDLE(tessera_world_close(tessera_world{invented(TESSERA_KIND_WORLD)}, &err), "tessera_world_close", "world");
  EXPECT_STALE_HANDLE(tessera_world_close_async(tessera_world{invented(TESSERA_KIND_WORLD)}, scratch<tessera_future>(), &err), "tessera_world_close_async", "world");
  EXPECT_STALE_HANDLE(tessera_world_abort(tessera_world{invented(TESSERA_KIND_WORLD)}, "x", &err), "tessera_world_abort", "world");
  EXPECT_STALE_HANDLE(tessera_world_get_rank(tessera_world{invented(TESSERA_KIND_WORLD)}, scratch<int32_t>(), &err), "tessera_world_get_rank", "world");
  EXPECT_STALE_HANDLE(tessera_world_get_size(tessera_world{invented(TESSERA_KIND_WORLD)}, scratch<int32_t>(), &err), "tessera_world_get_size", "world");
  EXPECT_STALE_HANDLE(tessera_mesh_options_load(Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), tessera_config{invented(TESSERA_KIND_CONFIG)}, &err), "tessera_mesh_options_load", "config");
  EXPECT_STALE_HANDLE(tessera_mesh_create(tessera_world{invented(TESSERA_KIND_WORLD)}, Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), scratch<tessera_mesh>(), &err), "tessera_mesh_create", "world");
  EXPECT_STALE_HANDLE(tessera_mesh_create_async(tessera_world{invented(TESSERA_KIND_WORLD)}, Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), scratch<tessera_future>(), &err), "tessera_mesh_create_async", "world");
  EXPECT_STALE_HANDLE(tessera_mesh_destroy(tessera_mesh{invented(TESSERA_KIND_MESH)}), "tessera_mesh_destroy", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_get_size(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", scratch<int64_t>(), &err), "tessera_mesh_get_size", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_get_index(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", scratch<int64_t>(), &err), "tessera_mesh_get_index", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_get_ranks(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", scratch<int32_t>(), 64, scratch<size_t>(), &err), "tessera_mesh_get_ranks", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_get_text(tessera_mesh{invented(TESSERA_KIND_MESH)}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_mesh_get_text", "mesh");
  EXPECT_STALE_HANDLE(tessera_tensor_destroy(tessera_tensor{invented(TESSERA_KIND_TENSOR)}), "tessera_tensor_destroy", "tensor");
  EXPECT_STALE_HANDLE(tessera_tensor_get_dtype(tessera_tensor{invented(TESSERA_KIND_TENSOR)}, scratch<int32_t>(), &err), "tessera_tensor_get_dtype", "tensor");
  EXPECT_STALE_HANDLE(tessera_tensor_get_dims(tessera_tensor{invented(TESSERA_KIND_TENSOR)}, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tensor_get_dims", "tensor");
  EXPECT_STALE_HANDLE(tessera_tensor_get_data(tessera_tensor{invented(TESSERA_KIND_TENSOR)}, scratch<void>(), 64, scratch<size_t>(), &err), "tessera_tensor_get_data", "tensor");
  EXPECT_STALE_HANDLE(tessera_tensor_set_data(tessera_tensor{invented(TESSERA_KIND_TENSOR)}, scratch<void>(), 64, &err), "tessera_tensor_set_data", "tensor");
  EXPECT_STALE_HANDLE(tessera_tensor_get_dlpack(tessera_tensor{invented(TESSERA_KIND_TENSOR)}, scratch_pointer(), &err), "tessera_tensor_get_dlpack", "tensor");
  EXPECT_STALE_HANDLE(tessera_mesh_barrier(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", &err), "tessera_mesh_barrier", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_barrier_async(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", scratch<tessera_future>(), &err), "tessera_mesh_barrier_async", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_all_reduce(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", tessera_tensor{0}, 1, &err), "tessera_mesh_all_reduce", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_all_reduce_async(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_all_reduce_async", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_all_gather(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", tessera_tensor{0}, tessera_tensor{0}, &err), "tessera_mesh_all_gather", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_all_gather_async(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", tessera_tensor{0}, tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_mesh_all_gather_async", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_reduce_scatter(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", tessera_tensor{0}, tessera_tensor{0}, 1, &err), "tessera_mesh_reduce_scatter", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_reduce_scatter_async(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", tessera_tensor{0}, tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_reduce_scatter_async", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_all_to_all(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", tessera_tensor{0}, tessera_tensor{0}, &err), "tessera_mesh_all_to_all", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_all_to_all_async(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", tessera_tensor{0}, tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_mesh_all_to_all_async", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_broadcast(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", tessera_tensor{0}, 1, &err), "tessera_mesh_broadcast", "mesh");
  EXPECT_STALE_HANDLE(tessera_mesh_broadcast_async(tessera_mesh{invented(TESSERA_KIND_MESH)}, "x", tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_broadcast_async", "mesh");
  EXPECT_STALE_HANDLE(tessera_model_destroy(tessera_model{invented(TESSERA_KIND_MODEL)}), "tessera_model_destroy", "model");
  EXPECT_STALE_HANDLE(tessera_model_get_text(tessera_model{invented(TESSERA_KIND_MODEL)}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_model_get_text", "model");
  EXPECT_STALE_HANDLE(tessera_model_get_parameter_count(tessera_model{invented(TESSERA_KIND_MODEL)}, scratch<int64_t>(), &err), "tessera_model_get_parameter_count", "model");
  EXPECT_STALE_HANDLE(tessera_model_set_tp_plan(tessera_model{invented(TESSERA_KIND_MODEL)}, "x", "x", &err), "tessera_model_set_tp_plan", "model");
  EXPECT_STALE_HANDLE(tessera_batch_destroy(tessera_batch{invented(TESSERA_KIND_BATCH)}), "tessera_batch_destroy", "batch");
  EXPECT_STALE_HANDLE(tessera_batch_push(tessera_batch{invented(TESSERA_KIND_BATCH)}, scratch<int64_t>(), scratch<int64_t>(), 1, scratch<int64_t>(), 1, &err), "tessera_batch_push", "batch");
  EXPECT_STALE_HANDLE(tessera_batch_count(tessera_batch{invented(TESSERA_KIND_BATCH)}, scratch<int64_t>(), &err), "tessera_batch_count", "batch");
  EXPECT_STALE_HANDLE(tessera_batch_count_tokens(tessera_batch{invented(TESSERA_KIND_BATCH)}, scratch<int64_t>(), scratch<int64_t>(), &err), "tessera_batch_count_tokens", "batch");
  EXPECT_STALE_HANDLE(tessera_batch_get_array(tessera_batch{invented(TESSERA_KIND_BATCH)}, 1, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_batch_get_array", "batch");
  EXPECT_STALE_HANDLE(tessera_batch_push_form(tessera_batch{invented(TESSERA_KIND_BATCH)}, tessera_config{0}, 1, scratch<int64_t>(), scratch<int64_t>(), 1, 1, scratch<int64_t>(), 1, 1, &err), "tessera_batch_push_form", "batch");
  EXPECT_STALE_HANDLE(tessera_batch_get_rows(tessera_batch{invented(TESSERA_KIND_BATCH)}, 1, 1, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_batch_get_rows", "batch");
  EXPECT_STALE_HANDLE(tessera_dataset_open(tessera_config{invented(TESSERA_KIND_CONFIG)}, tessera_mesh{0}, tessera_model{0}, scratch<tessera_dataset>(), &err), "tessera_dataset_open", "config");
  EXPECT_STALE_HANDLE(tessera_dataset_create(tessera_config{invented(TESSERA_KIND_CONFIG)}, tessera_mesh{0}, tessera_model{0}, scratch<tessera_dataset>(), &err), "tessera_dataset_create", "config");
  EXPECT_STALE_HANDLE(tessera_dataset_destroy(tessera_dataset{invented(TESSERA_KIND_DATASET)}), "tessera_dataset_destroy", "dataset");
  EXPECT_STALE_HANDLE(tessera_dataset_push(tessera_dataset{invented(TESSERA_KIND_DATASET)}, scratch<int64_t>(), scratch<int64_t>(), 1, &err), "tessera_dataset_push", "dataset");
  EXPECT_STALE_HANDLE(tessera_dataset_push_end(tessera_dataset{invented(TESSERA_KIND_DATASET)}, &err), "tessera_dataset_push_end", "dataset");
  EXPECT_STALE_HANDLE(tessera_dataset_next(tessera_dataset{invented(TESSERA_KIND_DATASET)}, scratch<tessera_batch>(), &err), "tessera_dataset_next", "dataset");
  EXPECT_STALE_HANDLE(tessera_dataset_get_state(tessera_dataset{invented(TESSERA_KIND_DATASET)}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_dataset_get_state", "dataset");
  EXPECT_STALE_HANDLE(tessera_dataset_set_state(tessera_dataset{invented(TESSERA_KIND_DATASET)}, "x", &err), "tessera_dataset_set_state", "dataset");
  EXPECT_STALE_HANDLE(tessera_dataset_count_steps(tessera_dataset{invented(TESSERA_KIND_DATASET)}, scratch<int64_t>(), &err), "tessera_dataset_count_steps", "dataset");
  EXPECT_STALE_HANDLE(tessera_dataset_get_report(tessera_dataset{invented(TESSERA_KIND_DATASET)}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_dataset_get_report", "dataset");
  EXPECT_STALE_HANDLE(tessera_dataset_get_lengths(tessera_dataset{invented(TESSERA_KIND_DATASET)}, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_dataset_get_lengths", "dataset");
  EXPECT_STALE_HANDLE(tessera_dataset_push_arrow(tessera_dataset{invented(TESSERA_KIND_DATASET)}, scratch<void>(), scratch<void>(), &err), "tessera_dataset_push_arrow", "dataset");
  EXPECT_STALE_HANDLE(tessera_trainer_create(tessera_mesh{invented(TESSERA_KIND_MESH)}, tessera_model{0}, tessera_config{0}, scratch<tessera_trainer>(), &err), "tessera_trainer_create", "mesh");
  EXPECT_STALE_HANDLE(tessera_trainer_create_async(tessera_mesh{invented(TESSERA_KIND_MESH)}, tessera_model{0}, tessera_config{0}, scratch<tessera_future>(), &err), "tessera_trainer_create_async", "mesh");
  EXPECT_STALE_HANDLE(tessera_trainer_destroy(tessera_trainer{invented(TESSERA_KIND_TRAINER)}), "tessera_trainer_destroy", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_set_events(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, tessera_events{0}, &err), "tessera_trainer_set_events", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_step(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, tessera_batch{0}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_step", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_step_async(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, tessera_batch{0}, scratch<tessera_future>(), &err), "tessera_trainer_step_async", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_forward_backward(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, tessera_batch{0}, 1, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_forward_backward", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_forward_backward_async(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, tessera_batch{0}, 1, scratch<tessera_future>(), &err), "tessera_trainer_forward_backward_async", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_optimizer_step(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_optimizer_step", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_optimizer_step_async(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, scratch<tessera_future>(), &err), "tessera_trainer_optimizer_step_async", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_zero_grad(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, &err), "tessera_trainer_zero_grad", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_get_step_count(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, scratch<int64_t>(), &err), "tessera_trainer_get_step_count", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_evaluate(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, tessera_batch{0}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_evaluate", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_evaluate_async(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, tessera_batch{0}, scratch<tessera_future>(), &err), "tessera_trainer_evaluate_async", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_generate(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, scratch<int64_t>(), 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_trainer_generate", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_generate_async(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, scratch<int64_t>(), 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), scratch<tessera_future>(), &err), "tessera_trainer_generate_async", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_get_logits(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, tessera_batch{0}, scratch<tessera_tensor>(), &err), "tessera_trainer_get_logits", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_get_logits_async(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, tessera_batch{0}, scratch<tessera_future>(), &err), "tessera_trainer_get_logits_async", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_count_parameters(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, scratch<int64_t>(), &err), "tessera_trainer_count_parameters", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_get_parameter_name(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_trainer_get_parameter_name", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_get_parameter(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, "x", scratch<tessera_tensor>(), &err), "tessera_trainer_get_parameter", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_get_parameter_async(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, "x", scratch<tessera_future>(), &err), "tessera_trainer_get_parameter_async", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_get_gradient(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, "x", scratch<tessera_tensor>(), &err), "tessera_trainer_get_gradient", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_get_gradient_async(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, "x", scratch<tessera_future>(), &err), "tessera_trainer_get_gradient_async", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_set_parameter(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, "x", tessera_tensor{0}, &err), "tessera_trainer_set_parameter", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_set_parameter_async(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, "x", tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_trainer_set_parameter_async", "trainer");
  EXPECT_STALE_HANDLE(tessera_trainer_get_program(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_trainer_get_program", "trainer");
  EXPECT_STALE_HANDLE(tessera_checkpoint_save(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, "x", tessera_dataset{0}, &err), "tessera_checkpoint_save", "trainer");
  EXPECT_STALE_HANDLE(tessera_checkpoint_save_async(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, "x", tessera_dataset{0}, scratch<tessera_future>(), &err), "tessera_checkpoint_save_async", "trainer");
  EXPECT_STALE_HANDLE(tessera_checkpoint_load(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, "x", tessera_dataset{0}, &err), "tessera_checkpoint_load", "trainer");
  EXPECT_STALE_HANDLE(tessera_checkpoint_load_async(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, "x", tessera_dataset{0}, scratch<tessera_future>(), &err), "tessera_checkpoint_load_async", "trainer");
  EXPECT_STALE_HANDLE(tessera_checkpoint_export(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, "x", "x", &err), "tessera_checkpoint_export", "trainer");
  EXPECT_STALE_HANDLE(tessera_checkpoint_export_async(tessera_trainer{invented(TESSERA_KIND_TRAINER)}, "x", "x", scratch<tessera_future>(), &err), "tessera_checkpoint_export_async", "trainer");
  EXPECT_STALE_HANDLE(tessera_tokenizer_destroy(tessera_tokenizer{invented(TESSERA_KIND_TOKENIZER)}), "tessera_tokenizer_destroy", "tokenizer");
  EXPECT_STALE_HANDLE(tessera_tokenizer_count(tessera_tokenizer{invented(TESSERA_KIND_TOKENIZER)}, scratch<int64_t>(), &err), "tessera_tokenizer_count", "tokenizer");
  EXPECT_STALE_HANDLE(tessera_tokenizer_encode(tessera_tokenizer{invented(TESSERA_KIND_TOKENIZER)}, "x", 64, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode", "tokenizer");
  EXPECT_STALE_HANDLE(tessera_tokenizer_decode(tessera_tokenizer{invented(TESSERA_KIND_TOKENIZER)}, scratch<int64_t>(), 1, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_decode", "tokenizer");
  EXPECT_STALE_HANDLE(tessera_tokenizer_get_chat_text(tessera_tokenizer{invented(TESSERA_KIND_TOKENIZER)}, "x", 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_get_chat_text", "tokenizer");
  EXPECT_STALE_HANDLE(tessera_tokenizer_encode_chat(tessera_tokenizer{invented(TESSERA_KIND_TOKENIZER)}, "x", scratch<int64_t>(), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_chat", "tokenizer");
  EXPECT_STALE_HANDLE(tessera_tokenizer_encode_batch(tessera_tokenizer{invented(TESSERA_KIND_TOKENIZER)}, "x", 64, scratch<int64_t>(), 1, 1, scratch<int64_t>(), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_batch", "tokenizer");
  EXPECT_STALE_HANDLE(tessera_pack_get_pieces(tessera_config{invented(TESSERA_KIND_CONFIG)}, scratch<int64_t>(), 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_pack_get_pieces", "config");
  EXPECT_STALE_HANDLE(tessera_plan_get_text(tessera_model{invented(TESSERA_KIND_MODEL)}, tessera_config{0}, 1, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_plan_get_text", "model");
  EXPECT_STALE_HANDLE(tessera_plan_get_timeline(tessera_model{invented(TESSERA_KIND_MODEL)}, tessera_config{0}, 1, scratch<tessera_timeline_options>(), scratch<char>(), 64, scratch<size_t>(), &err), "tessera_plan_get_timeline", "model");
  EXPECT_STALE_HANDLE(tessera_future_destroy(tessera_future{invented(TESSERA_KIND_FUTURE)}), "tessera_future_destroy", "future");
  EXPECT_STALE_HANDLE(tessera_future_poll(tessera_future{invented(TESSERA_KIND_FUTURE)}, scratch<int32_t>(), &err), "tessera_future_poll", "future");
  EXPECT_STALE_HANDLE(tessera_future_wait(tessera_future{invented(TESSERA_KIND_FUTURE)}, 1, &err), "tessera_future_wait", "future");
  EXPECT_STALE_HANDLE(tessera_future_cancel(tessera_future{invented(TESSERA_KIND_FUTURE)}, &err), "tessera_future_cancel", "future");
  EXPECT_STALE_HANDLE(tessera_future_get_result(tessera_future{invented(TESSERA_KIND_FUTURE)}, &err), "tessera_future_get_result", "future");
  EXPECT_STALE_HANDLE(tessera_future_get_metrics(tessera_future{invented(TESSERA_KIND_FUTURE)}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_future_get_metrics", "future");
  EXPECT_STALE_HANDLE(tessera_future_get_tokens(tessera_future{invented(TESSERA_KIND_FUTURE)}, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_future_get_tokens", "future");
  EXPECT_STALE_HANDLE(tessera_future_get_tensor(tessera_future{invented(TESSERA_KIND_FUTURE)}, scratch<tessera_tensor>(), &err), "tessera_future_get_tensor", "future");
  EXPECT_STALE_HANDLE(tessera_future_get_mesh(tessera_future{invented(TESSERA_KIND_FUTURE)}, scratch<tessera_mesh>(), &err), "tessera_future_get_mesh", "future");
  EXPECT_STALE_HANDLE(tessera_future_get_trainer(tessera_future{invented(TESSERA_KIND_FUTURE)}, scratch<tessera_trainer>(), &err), "tessera_future_get_trainer", "future");
  EXPECT_STALE_HANDLE(tessera_events_destroy(tessera_events{invented(TESSERA_KIND_EVENTS)}), "tessera_events_destroy", "events");
  EXPECT_STALE_HANDLE(tessera_events_next(tessera_events{invented(TESSERA_KIND_EVENTS)}, 1, Initialised<tessera_event>::get(tessera_event_init), &err), "tessera_events_next", "events");
}

// 118 calls
inline void every_handle_of_another_kind() {
  EXPECT_WRONG_HANDLE(tessera_log_set_events(tessera_events{other_kind<tessera_events>()}, &err), "tessera_log_set_events", "events");
  EXPECT_WRONG_HANDLE(tessera_config_destroy(tessera_config{other_kind<tessera_config>()}), "tessera_config_destroy", "config");
  EXPECT_WRONG_HANDLE(tessera_config_set(tessera_config{other_kind<tessera_config>()}, "x", "x", &err), "tessera_config_set", "config");
  EXPECT_WRONG_HANDLE(tessera_config_get(tessera_config{other_kind<tessera_config>()}, "x", scratch<char>(), 64, scratch<size_t>(), &err), "tessera_config_get", "config");
  EXPECT_WRONG_HANDLE(tessera_config_load(tessera_config{other_kind<tessera_config>()}, "x", &err), "tessera_config_load", "config");
  EXPECT_WRONG_HANDLE(tessera_config_load_text(tessera_config{other_kind<tessera_config>()}, "x", &err), "tessera_config_load_text", "config");
  EXPECT_WRONG_HANDLE(tessera_config_get_text(tessera_config{other_kind<tessera_config>()}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_config_get_text", "config");
  EXPECT_WRONG_HANDLE(tessera_world_options_load(Initialised<tessera_world_options>::get(tessera_world_options_init), tessera_config{other_kind<tessera_config>()}, &err), "tessera_world_options_load", "config");
  EXPECT_WRONG_HANDLE(tessera_world_destroy(tessera_world{other_kind<tessera_world>()}), "tessera_world_destroy", "world");
  EXPECT_WRONG_HANDLE(tessera_world_close(tessera_world{other_kind<tessera_world>()}, &err), "tessera_world_close", "world");
  EXPECT_WRONG_HANDLE(tessera_world_close_async(tessera_world{other_kind<tessera_world>()}, scratch<tessera_future>(), &err), "tessera_world_close_async", "world");
  EXPECT_WRONG_HANDLE(tessera_world_abort(tessera_world{other_kind<tessera_world>()}, "x", &err), "tessera_world_abort", "world");
  EXPECT_WRONG_HANDLE(tessera_world_get_rank(tessera_world{other_kind<tessera_world>()}, scratch<int32_t>(), &err), "tessera_world_get_rank", "world");
  EXPECT_WRONG_HANDLE(tessera_world_get_size(tessera_world{other_kind<tessera_world>()}, scratch<int32_t>(), &err), "tessera_world_get_size", "world");
  EXPECT_WRONG_HANDLE(tessera_mesh_options_load(Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), tessera_config{other_kind<tessera_config>()}, &err), "tessera_mesh_options_load", "config");
  EXPECT_WRONG_HANDLE(tessera_mesh_create(tessera_world{other_kind<tessera_world>()}, Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), scratch<tessera_mesh>(), &err), "tessera_mesh_create", "world");
  EXPECT_WRONG_HANDLE(tessera_mesh_create_async(tessera_world{other_kind<tessera_world>()}, Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), scratch<tessera_future>(), &err), "tessera_mesh_create_async", "world");
  EXPECT_WRONG_HANDLE(tessera_mesh_destroy(tessera_mesh{other_kind<tessera_mesh>()}), "tessera_mesh_destroy", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_get_size(tessera_mesh{other_kind<tessera_mesh>()}, "x", scratch<int64_t>(), &err), "tessera_mesh_get_size", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_get_index(tessera_mesh{other_kind<tessera_mesh>()}, "x", scratch<int64_t>(), &err), "tessera_mesh_get_index", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_get_ranks(tessera_mesh{other_kind<tessera_mesh>()}, "x", scratch<int32_t>(), 64, scratch<size_t>(), &err), "tessera_mesh_get_ranks", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_get_text(tessera_mesh{other_kind<tessera_mesh>()}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_mesh_get_text", "mesh");
  EXPECT_WRONG_HANDLE(tessera_tensor_destroy(tessera_tensor{other_kind<tessera_tensor>()}), "tessera_tensor_destroy", "tensor");
  EXPECT_WRONG_HANDLE(tessera_tensor_get_dtype(tessera_tensor{other_kind<tessera_tensor>()}, scratch<int32_t>(), &err), "tessera_tensor_get_dtype", "tensor");
  EXPECT_WRONG_HANDLE(tessera_tensor_get_dims(tessera_tensor{other_kind<tessera_tensor>()}, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tensor_get_dims", "tensor");
  EXPECT_WRONG_HANDLE(tessera_tensor_get_data(tessera_tensor{other_kind<tessera_tensor>()}, scratch<void>(), 64, scratch<size_t>(), &err), "tessera_tensor_get_data", "tensor");
  EXPECT_WRONG_HANDLE(tessera_tensor_set_data(tessera_tensor{other_kind<tessera_tensor>()}, scratch<void>(), 64, &err), "tessera_tensor_set_data", "tensor");
  EXPECT_WRONG_HANDLE(tessera_tensor_get_dlpack(tessera_tensor{other_kind<tessera_tensor>()}, scratch_pointer(), &err), "tessera_tensor_get_dlpack", "tensor");
  EXPECT_WRONG_HANDLE(tessera_mesh_barrier(tessera_mesh{other_kind<tessera_mesh>()}, "x", &err), "tessera_mesh_barrier", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_barrier_async(tessera_mesh{other_kind<tessera_mesh>()}, "x", scratch<tessera_future>(), &err), "tessera_mesh_barrier_async", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_all_reduce(tessera_mesh{other_kind<tessera_mesh>()}, "x", tessera_tensor{0}, 1, &err), "tessera_mesh_all_reduce", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_all_reduce_async(tessera_mesh{other_kind<tessera_mesh>()}, "x", tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_all_reduce_async", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_all_gather(tessera_mesh{other_kind<tessera_mesh>()}, "x", tessera_tensor{0}, tessera_tensor{0}, &err), "tessera_mesh_all_gather", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_all_gather_async(tessera_mesh{other_kind<tessera_mesh>()}, "x", tessera_tensor{0}, tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_mesh_all_gather_async", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_reduce_scatter(tessera_mesh{other_kind<tessera_mesh>()}, "x", tessera_tensor{0}, tessera_tensor{0}, 1, &err), "tessera_mesh_reduce_scatter", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_reduce_scatter_async(tessera_mesh{other_kind<tessera_mesh>()}, "x", tessera_tensor{0}, tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_reduce_scatter_async", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_all_to_all(tessera_mesh{other_kind<tessera_mesh>()}, "x", tessera_tensor{0}, tessera_tensor{0}, &err), "tessera_mesh_all_to_all", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_all_to_all_async(tessera_mesh{other_kind<tessera_mesh>()}, "x", tessera_tensor{0}, tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_mesh_all_to_all_async", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_broadcast(tessera_mesh{other_kind<tessera_mesh>()}, "x", tessera_tensor{0}, 1, &err), "tessera_mesh_broadcast", "mesh");
  EXPECT_WRONG_HANDLE(tessera_mesh_broadcast_async(tessera_mesh{other_kind<tessera_mesh>()}, "x", tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_broadcast_async", "mesh");
  EXPECT_WRONG_HANDLE(tessera_model_destroy(tessera_model{other_kind<tessera_model>()}), "tessera_model_destroy", "model");
  EXPECT_WRONG_HANDLE(tessera_model_get_text(tessera_model{other_kind<tessera_model>()}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_model_get_text", "model");
  EXPECT_WRONG_HANDLE(tessera_model_get_parameter_count(tessera_model{other_kind<tessera_model>()}, scratch<int64_t>(), &err), "tessera_model_get_parameter_count", "model");
  EXPECT_WRONG_HANDLE(tessera_model_set_tp_plan(tessera_model{other_kind<tessera_model>()}, "x", "x", &err), "tessera_model_set_tp_plan", "model");
  EXPECT_WRONG_HANDLE(tessera_batch_destroy(tessera_batch{other_kind<tessera_batch>()}), "tessera_batch_destroy", "batch");
  EXPECT_WRONG_HANDLE(tessera_batch_push(tessera_batch{other_kind<tessera_batch>()}, scratch<int64_t>(), scratch<int64_t>(), 1, scratch<int64_t>(), 1, &err), "tessera_batch_push", "batch");
  EXPECT_WRONG_HANDLE(tessera_batch_count(tessera_batch{other_kind<tessera_batch>()}, scratch<int64_t>(), &err), "tessera_batch_count", "batch");
  EXPECT_WRONG_HANDLE(tessera_batch_count_tokens(tessera_batch{other_kind<tessera_batch>()}, scratch<int64_t>(), scratch<int64_t>(), &err), "tessera_batch_count_tokens", "batch");
  EXPECT_WRONG_HANDLE(tessera_batch_get_array(tessera_batch{other_kind<tessera_batch>()}, 1, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_batch_get_array", "batch");
  EXPECT_WRONG_HANDLE(tessera_batch_push_form(tessera_batch{other_kind<tessera_batch>()}, tessera_config{0}, 1, scratch<int64_t>(), scratch<int64_t>(), 1, 1, scratch<int64_t>(), 1, 1, &err), "tessera_batch_push_form", "batch");
  EXPECT_WRONG_HANDLE(tessera_batch_get_rows(tessera_batch{other_kind<tessera_batch>()}, 1, 1, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_batch_get_rows", "batch");
  EXPECT_WRONG_HANDLE(tessera_dataset_open(tessera_config{other_kind<tessera_config>()}, tessera_mesh{0}, tessera_model{0}, scratch<tessera_dataset>(), &err), "tessera_dataset_open", "config");
  EXPECT_WRONG_HANDLE(tessera_dataset_create(tessera_config{other_kind<tessera_config>()}, tessera_mesh{0}, tessera_model{0}, scratch<tessera_dataset>(), &err), "tessera_dataset_create", "config");
  EXPECT_WRONG_HANDLE(tessera_dataset_destroy(tessera_dataset{other_kind<tessera_dataset>()}), "tessera_dataset_destroy", "dataset");
  EXPECT_WRONG_HANDLE(tessera_dataset_push(tessera_dataset{other_kind<tessera_dataset>()}, scratch<int64_t>(), scratch<int64_t>(), 1, &err), "tessera_dataset_push", "dataset");
  EXPECT_WRONG_HANDLE(tessera_dataset_push_end(tessera_dataset{other_kind<tessera_dataset>()}, &err), "tessera_dataset_push_end", "dataset");
  EXPECT_WRONG_HANDLE(tessera_dataset_next(tessera_dataset{other_kind<tessera_dataset>()}, scratch<tessera_batch>(), &err), "tessera_dataset_next", "dataset");
  EXPECT_WRONG_HANDLE(tessera_dataset_get_state(tessera_dataset{other_kind<tessera_dataset>()}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_dataset_get_state", "dataset");
  EXPECT_WRONG_HANDLE(tessera_dataset_set_state(tessera_dataset{other_kind<tessera_dataset>()}, "x", &err), "tessera_dataset_set_state", "dataset");
  EXPECT_WRONG_HANDLE(tessera_dataset_count_steps(tessera_dataset{other_kind<tessera_dataset>()}, scratch<int64_t>(), &err), "tessera_dataset_count_steps", "dataset");
  EXPECT_WRONG_HANDLE(tessera_dataset_get_report(tessera_dataset{other_kind<tessera_dataset>()}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_dataset_get_report", "dataset");
  EXPECT_WRONG_HANDLE(tessera_dataset_get_lengths(tessera_dataset{other_kind<tessera_dataset>()}, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_dataset_get_lengths", "dataset");
  EXPECT_WRONG_HANDLE(tessera_dataset_push_arrow(tessera_dataset{other_kind<tessera_dataset>()}, scratch<void>(), scratch<void>(), &err), "tessera_dataset_push_arrow", "dataset");
  EXPECT_WRONG_HANDLE(tessera_trainer_create(tessera_mesh{other_kind<tessera_mesh>()}, tessera_model{0}, tessera_config{0}, scratch<tessera_trainer>(), &err), "tessera_trainer_create", "mesh");
  EXPECT_WRONG_HANDLE(tessera_trainer_create_async(tessera_mesh{other_kind<tessera_mesh>()}, tessera_model{0}, tessera_config{0}, scratch<tessera_future>(), &err), "tessera_trainer_create_async", "mesh");
  EXPECT_WRONG_HANDLE(tessera_trainer_destroy(tessera_trainer{other_kind<tessera_trainer>()}), "tessera_trainer_destroy", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_set_events(tessera_trainer{other_kind<tessera_trainer>()}, tessera_events{0}, &err), "tessera_trainer_set_events", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_step(tessera_trainer{other_kind<tessera_trainer>()}, tessera_batch{0}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_step", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_step_async(tessera_trainer{other_kind<tessera_trainer>()}, tessera_batch{0}, scratch<tessera_future>(), &err), "tessera_trainer_step_async", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_forward_backward(tessera_trainer{other_kind<tessera_trainer>()}, tessera_batch{0}, 1, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_forward_backward", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_forward_backward_async(tessera_trainer{other_kind<tessera_trainer>()}, tessera_batch{0}, 1, scratch<tessera_future>(), &err), "tessera_trainer_forward_backward_async", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_optimizer_step(tessera_trainer{other_kind<tessera_trainer>()}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_optimizer_step", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_optimizer_step_async(tessera_trainer{other_kind<tessera_trainer>()}, scratch<tessera_future>(), &err), "tessera_trainer_optimizer_step_async", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_zero_grad(tessera_trainer{other_kind<tessera_trainer>()}, &err), "tessera_trainer_zero_grad", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_get_step_count(tessera_trainer{other_kind<tessera_trainer>()}, scratch<int64_t>(), &err), "tessera_trainer_get_step_count", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_evaluate(tessera_trainer{other_kind<tessera_trainer>()}, tessera_batch{0}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_evaluate", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_evaluate_async(tessera_trainer{other_kind<tessera_trainer>()}, tessera_batch{0}, scratch<tessera_future>(), &err), "tessera_trainer_evaluate_async", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_generate(tessera_trainer{other_kind<tessera_trainer>()}, scratch<int64_t>(), 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_trainer_generate", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_generate_async(tessera_trainer{other_kind<tessera_trainer>()}, scratch<int64_t>(), 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), scratch<tessera_future>(), &err), "tessera_trainer_generate_async", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_get_logits(tessera_trainer{other_kind<tessera_trainer>()}, tessera_batch{0}, scratch<tessera_tensor>(), &err), "tessera_trainer_get_logits", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_get_logits_async(tessera_trainer{other_kind<tessera_trainer>()}, tessera_batch{0}, scratch<tessera_future>(), &err), "tessera_trainer_get_logits_async", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_count_parameters(tessera_trainer{other_kind<tessera_trainer>()}, scratch<int64_t>(), &err), "tessera_trainer_count_parameters", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_get_parameter_name(tessera_trainer{other_kind<tessera_trainer>()}, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_trainer_get_parameter_name", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_get_parameter(tessera_trainer{other_kind<tessera_trainer>()}, "x", scratch<tessera_tensor>(), &err), "tessera_trainer_get_parameter", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_get_parameter_async(tessera_trainer{other_kind<tessera_trainer>()}, "x", scratch<tessera_future>(), &err), "tessera_trainer_get_parameter_async", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_get_gradient(tessera_trainer{other_kind<tessera_trainer>()}, "x", scratch<tessera_tensor>(), &err), "tessera_trainer_get_gradient", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_get_gradient_async(tessera_trainer{other_kind<tessera_trainer>()}, "x", scratch<tessera_future>(), &err), "tessera_trainer_get_gradient_async", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_set_parameter(tessera_trainer{other_kind<tessera_trainer>()}, "x", tessera_tensor{0}, &err), "tessera_trainer_set_parameter", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_set_parameter_async(tessera_trainer{other_kind<tessera_trainer>()}, "x", tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_trainer_set_parameter_async", "trainer");
  EXPECT_WRONG_HANDLE(tessera_trainer_get_program(tessera_trainer{other_kind<tessera_trainer>()}, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_trainer_get_program", "trainer");
  EXPECT_WRONG_HANDLE(tessera_checkpoint_save(tessera_trainer{other_kind<tessera_trainer>()}, "x", tessera_dataset{0}, &err), "tessera_checkpoint_save", "trainer");
  EXPECT_WRONG_HANDLE(tessera_checkpoint_save_async(tessera_trainer{other_kind<tessera_trainer>()}, "x", tessera_dataset{0}, scratch<tessera_future>(), &err), "tessera_checkpoint_save_async", "trainer");
  EXPECT_WRONG_HANDLE(tessera_checkpoint_load(tessera_trainer{other_kind<tessera_trainer>()}, "x", tessera_dataset{0}, &err), "tessera_checkpoint_load", "trainer");
  EXPECT_WRONG_HANDLE(tessera_checkpoint_load_async(tessera_trainer{other_kind<tessera_trainer>()}, "x", tessera_dataset{0}, scratch<tessera_future>(), &err), "tessera_checkpoint_load_async", "trainer");
  EXPECT_WRONG_HANDLE(tessera_checkpoint_export(tessera_trainer{other_kind<tessera_trainer>()}, "x", "x", &err), "tessera_checkpoint_export", "trainer");
  EXPECT_WRONG_HANDLE(tessera_checkpoint_export_async(tessera_trainer{other_kind<tessera_trainer>()}, "x", "x", scratch<tessera_future>(), &err), "tessera_checkpoint_export_async", "trainer");
  EXPECT_WRONG_HANDLE(tessera_tokenizer_destroy(tessera_tokenizer{other_kind<tessera_tokenizer>()}), "tessera_tokenizer_destroy", "tokenizer");
  EXPECT_WRONG_HANDLE(tessera_tokenizer_count(tessera_tokenizer{other_kind<tessera_tokenizer>()}, scratch<int64_t>(), &err), "tessera_tokenizer_count", "tokenizer");
  EXPECT_WRONG_HANDLE(tessera_tokenizer_encode(tessera_tokenizer{other_kind<tessera_tokenizer>()}, "x", 64, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode", "tokenizer");
  EXPECT_WRONG_HANDLE(tessera_tokenizer_decode(tessera_tokenizer{other_kind<tessera_tokenizer>()}, scratch<int64_t>(), 1, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_decode", "tokenizer");
  EXPECT_WRONG_HANDLE(tessera_tokenizer_get_chat_text(tessera_tokenizer{other_kind<tessera_tokenizer>()}, "x", 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_get_chat_text", "tokenizer");
  EXPECT_WRONG_HANDLE(tessera_tokenizer_encode_chat(tessera_tokenizer{other_kind<tessera_tokenizer>()}, "x", scratch<int64_t>(), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_chat", "tokenizer");
  EXPECT_WRONG_HANDLE(tessera_tokenizer_encode_batch(tessera_tokenizer{other_kind<tessera_tokenizer>()}, "x", 64, scratch<int64_t>(), 1, 1, scratch<int64_t>(), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_batch", "tokenizer");
  EXPECT_WRONG_HANDLE(tessera_pack_get_pieces(tessera_config{other_kind<tessera_config>()}, scratch<int64_t>(), 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_pack_get_pieces", "config");
  EXPECT_WRONG_HANDLE(tessera_plan_get_text(tessera_model{other_kind<tessera_model>()}, tessera_config{0}, 1, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_plan_get_text", "model");
  EXPECT_WRONG_HANDLE(tessera_plan_get_timeline(tessera_model{other_kind<tessera_model>()}, tessera_config{0}, 1, scratch<tessera_timeline_options>(), scratch<char>(), 64, scratch<size_t>(), &err), "tessera_plan_get_timeline", "model");
  EXPECT_WRONG_HANDLE(tessera_future_destroy(tessera_future{other_kind<tessera_future>()}), "tessera_future_destroy", "future");
  EXPECT_WRONG_HANDLE(tessera_future_poll(tessera_future{other_kind<tessera_future>()}, scratch<int32_t>(), &err), "tessera_future_poll", "future");
  EXPECT_WRONG_HANDLE(tessera_future_wait(tessera_future{other_kind<tessera_future>()}, 1, &err), "tessera_future_wait", "future");
  EXPECT_WRONG_HANDLE(tessera_future_cancel(tessera_future{other_kind<tessera_future>()}, &err), "tessera_future_cancel", "future");
  EXPECT_WRONG_HANDLE(tessera_future_get_result(tessera_future{other_kind<tessera_future>()}, &err), "tessera_future_get_result", "future");
  EXPECT_WRONG_HANDLE(tessera_future_get_metrics(tessera_future{other_kind<tessera_future>()}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_future_get_metrics", "future");
  EXPECT_WRONG_HANDLE(tessera_future_get_tokens(tessera_future{other_kind<tessera_future>()}, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_future_get_tokens", "future");
  EXPECT_WRONG_HANDLE(tessera_future_get_tensor(tessera_future{other_kind<tessera_future>()}, scratch<tessera_tensor>(), &err), "tessera_future_get_tensor", "future");
  EXPECT_WRONG_HANDLE(tessera_future_get_mesh(tessera_future{other_kind<tessera_future>()}, scratch<tessera_mesh>(), &err), "tessera_future_get_mesh", "future");
  EXPECT_WRONG_HANDLE(tessera_future_get_trainer(tessera_future{other_kind<tessera_future>()}, scratch<tessera_trainer>(), &err), "tessera_future_get_trainer", "future");
  EXPECT_WRONG_HANDLE(tessera_events_destroy(tessera_events{other_kind<tessera_events>()}), "tessera_events_destroy", "events");
  EXPECT_WRONG_HANDLE(tessera_events_next(tessera_events{other_kind<tessera_events>()}, 1, Initialised<tessera_event>::get(tessera_event_init), &err), "tessera_events_next", "events");
}

// 148 calls
inline void everything_null() {
  (void)tessera_handle_count(0, nullptr, nullptr);
  (void)tessera_build_info(nullptr, 0, nullptr, nullptr);
  (void)tessera_log_set_level(0, nullptr);
  (void)tessera_log_get_level(nullptr, nullptr);
  (void)tessera_log_set_events(tessera_events{0}, nullptr);
  (void)tessera_key_info_init(nullptr, 0);
  (void)tessera_config_create(nullptr, nullptr);
  (void)tessera_config_destroy(tessera_config{0});
  (void)tessera_config_set(tessera_config{0}, nullptr, nullptr, nullptr);
  (void)tessera_config_get(tessera_config{0}, nullptr, nullptr, 0, nullptr, nullptr);
  (void)tessera_config_load(tessera_config{0}, nullptr, nullptr);
  (void)tessera_config_load_text(tessera_config{0}, nullptr, nullptr);
  (void)tessera_config_get_text(tessera_config{0}, nullptr, 0, nullptr, nullptr);
  (void)tessera_key_count(nullptr, nullptr);
  (void)tessera_key_get(0, nullptr, nullptr);
  (void)tessera_key_describe(nullptr, nullptr, nullptr);
  (void)tessera_world_options_init(nullptr, 0);
  (void)tessera_world_options_load(nullptr, tessera_config{0}, nullptr);
  (void)tessera_world_create(nullptr, nullptr, nullptr);
  (void)tessera_world_create_from_environment(nullptr, nullptr, nullptr);
  (void)tessera_world_create_threads(0, nullptr, nullptr, nullptr);
  (void)tessera_world_destroy(tessera_world{0});
  (void)tessera_world_close(tessera_world{0}, nullptr);
  (void)tessera_world_close_async(tessera_world{0}, nullptr, nullptr);
  (void)tessera_world_abort(tessera_world{0}, nullptr, nullptr);
  (void)tessera_world_get_rank(tessera_world{0}, nullptr, nullptr);
  (void)tessera_world_get_size(tessera_world{0}, nullptr, nullptr);
  (void)tessera_mesh_options_init(nullptr, 0);
  (void)tessera_mesh_options_load(nullptr, tessera_config{0}, nullptr);
  (void)tessera_mesh_create(tessera_world{0}, nullptr, nullptr, nullptr);
  (void)tessera_mesh_create_async(tessera_world{0}, nullptr, nullptr, nullptr);
  (void)tessera_mesh_destroy(tessera_mesh{0});
  (void)tessera_mesh_get_size(tessera_mesh{0}, nullptr, nullptr, nullptr);
  (void)tessera_mesh_get_index(tessera_mesh{0}, nullptr, nullptr, nullptr);
  (void)tessera_mesh_get_ranks(tessera_mesh{0}, nullptr, nullptr, 0, nullptr, nullptr);
  (void)tessera_mesh_get_text(tessera_mesh{0}, nullptr, 0, nullptr, nullptr);
  (void)tessera_tensor_create(0, nullptr, 0, nullptr, 0, nullptr, nullptr);
  (void)tessera_tensor_create_view(0, nullptr, 0, nullptr, 0, nullptr, nullptr);
  (void)tessera_tensor_create_dlpack(nullptr, nullptr, nullptr);
  (void)tessera_tensor_destroy(tessera_tensor{0});
  (void)tessera_tensor_get_dtype(tessera_tensor{0}, nullptr, nullptr);
  (void)tessera_tensor_get_dims(tessera_tensor{0}, nullptr, 0, nullptr, nullptr);
  (void)tessera_tensor_get_data(tessera_tensor{0}, nullptr, 0, nullptr, nullptr);
  (void)tessera_tensor_set_data(tessera_tensor{0}, nullptr, 0, nullptr);
  (void)tessera_tensor_get_dlpack(tessera_tensor{0}, nullptr, nullptr);
  (void)tessera_mesh_barrier(tessera_mesh{0}, nullptr, nullptr);
  (void)tessera_mesh_barrier_async(tessera_mesh{0}, nullptr, nullptr, nullptr);
  (void)tessera_mesh_all_reduce(tessera_mesh{0}, nullptr, tessera_tensor{0}, 0, nullptr);
  (void)tessera_mesh_all_reduce_async(tessera_mesh{0}, nullptr, tessera_tensor{0}, 0, nullptr, nullptr);
  (void)tessera_mesh_all_gather(tessera_mesh{0}, nullptr, tessera_tensor{0}, tessera_tensor{0}, nullptr);
  (void)tessera_mesh_all_gather_async(tessera_mesh{0}, nullptr, tessera_tensor{0}, tessera_tensor{0}, nullptr, nullptr);
  (void)tessera_mesh_reduce_scatter(tessera_mesh{0}, nullptr, tessera_tensor{0}, tessera_tensor{0}, 0, nullptr);
  (void)tessera_mesh_reduce_scatter_async(tessera_mesh{0}, nullptr, tessera_tensor{0}, tessera_tensor{0}, 0, nullptr, nullptr);
  (void)tessera_mesh_all_to_all(tessera_mesh{0}, nullptr, tessera_tensor{0}, tessera_tensor{0}, nullptr);
  (void)tessera_mesh_all_to_all_async(tessera_mesh{0}, nullptr, tessera_tensor{0}, tessera_tensor{0}, nullptr, nullptr);
  (void)tessera_mesh_broadcast(tessera_mesh{0}, nullptr, tessera_tensor{0}, 0, nullptr);
  (void)tessera_mesh_broadcast_async(tessera_mesh{0}, nullptr, tessera_tensor{0}, 0, nullptr, nullptr);
  (void)tessera_model_open(nullptr, nullptr, nullptr);
  (void)tessera_model_create(nullptr, nullptr, nullptr);
  (void)tessera_model_destroy(tessera_model{0});
  (void)tessera_model_get_text(tessera_model{0}, nullptr, 0, nullptr, nullptr);
  (void)tessera_model_get_parameter_count(tessera_model{0}, nullptr, nullptr);
  (void)tessera_model_set_tp_plan(tessera_model{0}, nullptr, nullptr, nullptr);
  (void)tessera_model_open_plugin(nullptr, nullptr, nullptr, nullptr);
  (void)tessera_model_create_plugin(nullptr, nullptr, nullptr, nullptr);
  (void)tessera_batch_create(nullptr, nullptr);
  (void)tessera_batch_destroy(tessera_batch{0});
  (void)tessera_batch_push(tessera_batch{0}, nullptr, nullptr, 0, nullptr, 0, nullptr);
  (void)tessera_batch_count(tessera_batch{0}, nullptr, nullptr);
  (void)tessera_batch_count_tokens(tessera_batch{0}, nullptr, nullptr, nullptr);
  (void)tessera_batch_get_array(tessera_batch{0}, 0, 0, nullptr, 0, nullptr, nullptr);
  (void)tessera_batch_push_form(tessera_batch{0}, tessera_config{0}, 0, nullptr, nullptr, 0, 0, nullptr, 0, 0, nullptr);
  (void)tessera_batch_get_rows(tessera_batch{0}, 0, 0, 0, nullptr, 0, nullptr, nullptr);
  (void)tessera_dataset_open(tessera_config{0}, tessera_mesh{0}, tessera_model{0}, nullptr, nullptr);
  (void)tessera_dataset_create(tessera_config{0}, tessera_mesh{0}, tessera_model{0}, nullptr, nullptr);
  (void)tessera_dataset_destroy(tessera_dataset{0});
  (void)tessera_dataset_push(tessera_dataset{0}, nullptr, nullptr, 0, nullptr);
  (void)tessera_dataset_push_end(tessera_dataset{0}, nullptr);
  (void)tessera_dataset_next(tessera_dataset{0}, nullptr, nullptr);
  (void)tessera_dataset_get_state(tessera_dataset{0}, nullptr, 0, nullptr, nullptr);
  (void)tessera_dataset_set_state(tessera_dataset{0}, nullptr, nullptr);
  (void)tessera_dataset_count_steps(tessera_dataset{0}, nullptr, nullptr);
  (void)tessera_dataset_get_report(tessera_dataset{0}, nullptr, 0, nullptr, nullptr);
  (void)tessera_dataset_get_lengths(tessera_dataset{0}, nullptr, 0, nullptr, nullptr);
  (void)tessera_dataset_push_arrow(tessera_dataset{0}, nullptr, nullptr, nullptr);
  (void)tessera_metrics_init(nullptr, 0);
  (void)tessera_generate_options_init(nullptr, 0);
  (void)tessera_trainer_create(tessera_mesh{0}, tessera_model{0}, tessera_config{0}, nullptr, nullptr);
  (void)tessera_trainer_create_async(tessera_mesh{0}, tessera_model{0}, tessera_config{0}, nullptr, nullptr);
  (void)tessera_trainer_destroy(tessera_trainer{0});
  (void)tessera_trainer_set_events(tessera_trainer{0}, tessera_events{0}, nullptr);
  (void)tessera_trainer_step(tessera_trainer{0}, tessera_batch{0}, nullptr, nullptr);
  (void)tessera_trainer_step_async(tessera_trainer{0}, tessera_batch{0}, nullptr, nullptr);
  (void)tessera_trainer_forward_backward(tessera_trainer{0}, tessera_batch{0}, 0, nullptr, nullptr);
  (void)tessera_trainer_forward_backward_async(tessera_trainer{0}, tessera_batch{0}, 0, nullptr, nullptr);
  (void)tessera_trainer_optimizer_step(tessera_trainer{0}, nullptr, nullptr);
  (void)tessera_trainer_optimizer_step_async(tessera_trainer{0}, nullptr, nullptr);
  (void)tessera_trainer_zero_grad(tessera_trainer{0}, nullptr);
  (void)tessera_trainer_get_step_count(tessera_trainer{0}, nullptr, nullptr);
  (void)tessera_trainer_evaluate(tessera_trainer{0}, tessera_batch{0}, nullptr, nullptr);
  (void)tessera_trainer_evaluate_async(tessera_trainer{0}, tessera_batch{0}, nullptr, nullptr);
  (void)tessera_trainer_generate(tessera_trainer{0}, nullptr, 0, nullptr, nullptr, 0, nullptr, nullptr);
  (void)tessera_trainer_generate_async(tessera_trainer{0}, nullptr, 0, nullptr, nullptr, nullptr);
  (void)tessera_trainer_get_logits(tessera_trainer{0}, tessera_batch{0}, nullptr, nullptr);
  (void)tessera_trainer_get_logits_async(tessera_trainer{0}, tessera_batch{0}, nullptr, nullptr);
  (void)tessera_trainer_count_parameters(tessera_trainer{0}, nullptr, nullptr);
  (void)tessera_trainer_get_parameter_name(tessera_trainer{0}, 0, nullptr, 0, nullptr, nullptr);
  (void)tessera_trainer_get_parameter(tessera_trainer{0}, nullptr, nullptr, nullptr);
  (void)tessera_trainer_get_parameter_async(tessera_trainer{0}, nullptr, nullptr, nullptr);
  (void)tessera_trainer_get_gradient(tessera_trainer{0}, nullptr, nullptr, nullptr);
  (void)tessera_trainer_get_gradient_async(tessera_trainer{0}, nullptr, nullptr, nullptr);
  (void)tessera_trainer_set_parameter(tessera_trainer{0}, nullptr, tessera_tensor{0}, nullptr);
  (void)tessera_trainer_set_parameter_async(tessera_trainer{0}, nullptr, tessera_tensor{0}, nullptr, nullptr);
  (void)tessera_trainer_get_program(tessera_trainer{0}, 0, nullptr, 0, nullptr, nullptr);
  (void)tessera_checkpoint_save(tessera_trainer{0}, nullptr, tessera_dataset{0}, nullptr);
  (void)tessera_checkpoint_save_async(tessera_trainer{0}, nullptr, tessera_dataset{0}, nullptr, nullptr);
  (void)tessera_checkpoint_load(tessera_trainer{0}, nullptr, tessera_dataset{0}, nullptr);
  (void)tessera_checkpoint_load_async(tessera_trainer{0}, nullptr, tessera_dataset{0}, nullptr, nullptr);
  (void)tessera_checkpoint_export(tessera_trainer{0}, nullptr, nullptr, nullptr);
  (void)tessera_checkpoint_export_async(tessera_trainer{0}, nullptr, nullptr, nullptr, nullptr);
  (void)tessera_tokenizer_open(nullptr, nullptr, nullptr);
  (void)tessera_tokenizer_destroy(tessera_tokenizer{0});
  (void)tessera_tokenizer_count(tessera_tokenizer{0}, nullptr, nullptr);
  (void)tessera_tokenizer_encode(tessera_tokenizer{0}, nullptr, 0, 0, nullptr, 0, nullptr, nullptr);
  (void)tessera_tokenizer_decode(tessera_tokenizer{0}, nullptr, 0, 0, nullptr, 0, nullptr, nullptr);
  (void)tessera_tokenizer_get_chat_text(tessera_tokenizer{0}, nullptr, 0, nullptr, 0, nullptr, nullptr);
  (void)tessera_tokenizer_encode_chat(tessera_tokenizer{0}, nullptr, nullptr, nullptr, 0, nullptr, nullptr);
  (void)tessera_tokenizer_encode_batch(tessera_tokenizer{0}, nullptr, 0, nullptr, 0, 0, nullptr, nullptr, 0, nullptr, nullptr);
  (void)tessera_pack_create(nullptr, nullptr, 0, 0, 0, nullptr, nullptr, nullptr);
  (void)tessera_pack_get_pieces(tessera_config{0}, nullptr, 0, nullptr, 0, nullptr, nullptr);
  (void)tessera_plan_get_text(tessera_model{0}, tessera_config{0}, 0, 0, nullptr, 0, nullptr, nullptr);
  (void)tessera_timeline_options_init(nullptr, 0);
  (void)tessera_plan_get_timeline(tessera_model{0}, tessera_config{0}, 0, nullptr, nullptr, 0, nullptr, nullptr);
  (void)tessera_future_destroy(tessera_future{0});
  (void)tessera_future_poll(tessera_future{0}, nullptr, nullptr);
  (void)tessera_future_wait(tessera_future{0}, 0, nullptr);
  (void)tessera_future_wait_any(nullptr, 0, 0, nullptr, nullptr);
  (void)tessera_future_cancel(tessera_future{0}, nullptr);
  (void)tessera_future_get_result(tessera_future{0}, nullptr);
  (void)tessera_future_get_metrics(tessera_future{0}, nullptr, nullptr);
  (void)tessera_future_get_tokens(tessera_future{0}, nullptr, 0, nullptr, nullptr);
  (void)tessera_future_get_tensor(tessera_future{0}, nullptr, nullptr);
  (void)tessera_future_get_mesh(tessera_future{0}, nullptr, nullptr);
  (void)tessera_future_get_trainer(tessera_future{0}, nullptr, nullptr);
  (void)tessera_event_init(nullptr, 0);
  (void)tessera_events_create(0, nullptr, nullptr);
  (void)tessera_events_destroy(tessera_events{0});
  (void)tessera_events_next(tessera_events{0}, 0, nullptr, nullptr);
}

// 148 calls
inline void every_function_throwing() {
  EXPECT_STOPPED(tessera_handle_count(1, scratch<int64_t>(), &err), "tessera_handle_count");
  EXPECT_STOPPED(tessera_build_info(scratch<char>(), 64, scratch<size_t>(), &err), "tessera_build_info");
  EXPECT_STOPPED(tessera_log_set_level(1, &err), "tessera_log_set_level");
  EXPECT_STOPPED(tessera_log_get_level(scratch<int32_t>(), &err), "tessera_log_get_level");
  EXPECT_STOPPED(tessera_log_set_events(tessera_events{0}, &err), "tessera_log_set_events");
  EXPECT_STOPPED(tessera_key_info_init(Initialised<tessera_key_info>::get(tessera_key_info_init), 64), "tessera_key_info_init");
  EXPECT_STOPPED(tessera_config_create(scratch<tessera_config>(), &err), "tessera_config_create");
  EXPECT_STOPPED(tessera_config_destroy(tessera_config{0}), "tessera_config_destroy");
  EXPECT_STOPPED(tessera_config_set(tessera_config{0}, "x", "x", &err), "tessera_config_set");
  EXPECT_STOPPED(tessera_config_get(tessera_config{0}, "x", scratch<char>(), 64, scratch<size_t>(), &err), "tessera_config_get");
  EXPECT_STOPPED(tessera_config_load(tessera_config{0}, "x", &err), "tessera_config_load");
  EXPECT_STOPPED(tessera_config_load_text(tessera_config{0}, "x", &err), "tessera_config_load_text");
  EXPECT_STOPPED(tessera_config_get_text(tessera_config{0}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_config_get_text");
  EXPECT_STOPPED(tessera_key_count(scratch<int64_t>(), &err), "tessera_key_count");
  EXPECT_STOPPED(tessera_key_get(1, Initialised<tessera_key_info>::get(tessera_key_info_init), &err), "tessera_key_get");
  EXPECT_STOPPED(tessera_key_describe("x", Initialised<tessera_key_info>::get(tessera_key_info_init), &err), "tessera_key_describe");
  EXPECT_STOPPED(tessera_world_options_init(Initialised<tessera_world_options>::get(tessera_world_options_init), 64), "tessera_world_options_init");
  EXPECT_STOPPED(tessera_world_options_load(Initialised<tessera_world_options>::get(tessera_world_options_init), tessera_config{0}, &err), "tessera_world_options_load");
  EXPECT_STOPPED(tessera_world_create(Initialised<tessera_world_options>::get(tessera_world_options_init), scratch<tessera_world>(), &err), "tessera_world_create");
  EXPECT_STOPPED(tessera_world_create_from_environment(Initialised<tessera_world_options>::get(tessera_world_options_init), scratch<tessera_world>(), &err), "tessera_world_create_from_environment");
  EXPECT_STOPPED(tessera_world_create_threads(1, Initialised<tessera_world_options>::get(tessera_world_options_init), scratch<tessera_world>(), &err), "tessera_world_create_threads");
  EXPECT_STOPPED(tessera_world_destroy(tessera_world{0}), "tessera_world_destroy");
  EXPECT_STOPPED(tessera_world_close(tessera_world{0}, &err), "tessera_world_close");
  EXPECT_STOPPED(tessera_world_close_async(tessera_world{0}, scratch<tessera_future>(), &err), "tessera_world_close_async");
  EXPECT_STOPPED(tessera_world_abort(tessera_world{0}, "x", &err), "tessera_world_abort");
  EXPECT_STOPPED(tessera_world_get_rank(tessera_world{0}, scratch<int32_t>(), &err), "tessera_world_get_rank");
  EXPECT_STOPPED(tessera_world_get_size(tessera_world{0}, scratch<int32_t>(), &err), "tessera_world_get_size");
  EXPECT_STOPPED(tessera_mesh_options_init(Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), 64), "tessera_mesh_options_init");
  EXPECT_STOPPED(tessera_mesh_options_load(Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), tessera_config{0}, &err), "tessera_mesh_options_load");
  EXPECT_STOPPED(tessera_mesh_create(tessera_world{0}, Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), scratch<tessera_mesh>(), &err), "tessera_mesh_create");
  EXPECT_STOPPED(tessera_mesh_create_async(tessera_world{0}, Initialised<tessera_mesh_options>::get(tessera_mesh_options_init), scratch<tessera_future>(), &err), "tessera_mesh_create_async");
  EXPECT_STOPPED(tessera_mesh_destroy(tessera_mesh{0}), "tessera_mesh_destroy");
  EXPECT_STOPPED(tessera_mesh_get_size(tessera_mesh{0}, "x", scratch<int64_t>(), &err), "tessera_mesh_get_size");
  EXPECT_STOPPED(tessera_mesh_get_index(tessera_mesh{0}, "x", scratch<int64_t>(), &err), "tessera_mesh_get_index");
  EXPECT_STOPPED(tessera_mesh_get_ranks(tessera_mesh{0}, "x", scratch<int32_t>(), 64, scratch<size_t>(), &err), "tessera_mesh_get_ranks");
  EXPECT_STOPPED(tessera_mesh_get_text(tessera_mesh{0}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_mesh_get_text");
  EXPECT_STOPPED(tessera_tensor_create(1, scratch<int64_t>(), 1, scratch<void>(), 64, scratch<tessera_tensor>(), &err), "tessera_tensor_create");
  EXPECT_STOPPED(tessera_tensor_create_view(1, scratch<int64_t>(), 1, scratch<void>(), 64, scratch<tessera_tensor>(), &err), "tessera_tensor_create_view");
  EXPECT_STOPPED(tessera_tensor_create_dlpack(scratch<struct DLManagedTensorVersioned>(), scratch<tessera_tensor>(), &err), "tessera_tensor_create_dlpack");
  EXPECT_STOPPED(tessera_tensor_destroy(tessera_tensor{0}), "tessera_tensor_destroy");
  EXPECT_STOPPED(tessera_tensor_get_dtype(tessera_tensor{0}, scratch<int32_t>(), &err), "tessera_tensor_get_dtype");
  EXPECT_STOPPED(tessera_tensor_get_dims(tessera_tensor{0}, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tensor_get_dims");
  EXPECT_STOPPED(tessera_tensor_get_data(tessera_tensor{0}, scratch<void>(), 64, scratch<size_t>(), &err), "tessera_tensor_get_data");
  EXPECT_STOPPED(tessera_tensor_set_data(tessera_tensor{0}, scratch<void>(), 64, &err), "tessera_tensor_set_data");
  EXPECT_STOPPED(tessera_tensor_get_dlpack(tessera_tensor{0}, scratch_pointer(), &err), "tessera_tensor_get_dlpack");
  EXPECT_STOPPED(tessera_mesh_barrier(tessera_mesh{0}, "x", &err), "tessera_mesh_barrier");
  EXPECT_STOPPED(tessera_mesh_barrier_async(tessera_mesh{0}, "x", scratch<tessera_future>(), &err), "tessera_mesh_barrier_async");
  EXPECT_STOPPED(tessera_mesh_all_reduce(tessera_mesh{0}, "x", tessera_tensor{0}, 1, &err), "tessera_mesh_all_reduce");
  EXPECT_STOPPED(tessera_mesh_all_reduce_async(tessera_mesh{0}, "x", tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_all_reduce_async");
  EXPECT_STOPPED(tessera_mesh_all_gather(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, &err), "tessera_mesh_all_gather");
  EXPECT_STOPPED(tessera_mesh_all_gather_async(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_mesh_all_gather_async");
  EXPECT_STOPPED(tessera_mesh_reduce_scatter(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, 1, &err), "tessera_mesh_reduce_scatter");
  EXPECT_STOPPED(tessera_mesh_reduce_scatter_async(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_reduce_scatter_async");
  EXPECT_STOPPED(tessera_mesh_all_to_all(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, &err), "tessera_mesh_all_to_all");
  EXPECT_STOPPED(tessera_mesh_all_to_all_async(tessera_mesh{0}, "x", tessera_tensor{0}, tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_mesh_all_to_all_async");
  EXPECT_STOPPED(tessera_mesh_broadcast(tessera_mesh{0}, "x", tessera_tensor{0}, 1, &err), "tessera_mesh_broadcast");
  EXPECT_STOPPED(tessera_mesh_broadcast_async(tessera_mesh{0}, "x", tessera_tensor{0}, 1, scratch<tessera_future>(), &err), "tessera_mesh_broadcast_async");
  EXPECT_STOPPED(tessera_model_open("x", scratch<tessera_model>(), &err), "tessera_model_open");
  EXPECT_STOPPED(tessera_model_create("x", scratch<tessera_model>(), &err), "tessera_model_create");
  EXPECT_STOPPED(tessera_model_destroy(tessera_model{0}), "tessera_model_destroy");
  EXPECT_STOPPED(tessera_model_get_text(tessera_model{0}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_model_get_text");
  EXPECT_STOPPED(tessera_model_get_parameter_count(tessera_model{0}, scratch<int64_t>(), &err), "tessera_model_get_parameter_count");
  EXPECT_STOPPED(tessera_model_set_tp_plan(tessera_model{0}, "x", "x", &err), "tessera_model_set_tp_plan");
  EXPECT_STOPPED(tessera_model_open_plugin("x", "x", scratch<tessera_model>(), &err), "tessera_model_open_plugin");
  EXPECT_STOPPED(tessera_model_create_plugin("x", "x", scratch<tessera_model>(), &err), "tessera_model_create_plugin");
  EXPECT_STOPPED(tessera_batch_create(scratch<tessera_batch>(), &err), "tessera_batch_create");
  EXPECT_STOPPED(tessera_batch_destroy(tessera_batch{0}), "tessera_batch_destroy");
  EXPECT_STOPPED(tessera_batch_push(tessera_batch{0}, scratch<int64_t>(), scratch<int64_t>(), 1, scratch<int64_t>(), 1, &err), "tessera_batch_push");
  EXPECT_STOPPED(tessera_batch_count(tessera_batch{0}, scratch<int64_t>(), &err), "tessera_batch_count");
  EXPECT_STOPPED(tessera_batch_count_tokens(tessera_batch{0}, scratch<int64_t>(), scratch<int64_t>(), &err), "tessera_batch_count_tokens");
  EXPECT_STOPPED(tessera_batch_get_array(tessera_batch{0}, 1, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_batch_get_array");
  EXPECT_STOPPED(tessera_batch_push_form(tessera_batch{0}, tessera_config{0}, 1, scratch<int64_t>(), scratch<int64_t>(), 1, 1, scratch<int64_t>(), 1, 1, &err), "tessera_batch_push_form");
  EXPECT_STOPPED(tessera_batch_get_rows(tessera_batch{0}, 1, 1, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_batch_get_rows");
  EXPECT_STOPPED(tessera_dataset_open(tessera_config{0}, tessera_mesh{0}, tessera_model{0}, scratch<tessera_dataset>(), &err), "tessera_dataset_open");
  EXPECT_STOPPED(tessera_dataset_create(tessera_config{0}, tessera_mesh{0}, tessera_model{0}, scratch<tessera_dataset>(), &err), "tessera_dataset_create");
  EXPECT_STOPPED(tessera_dataset_destroy(tessera_dataset{0}), "tessera_dataset_destroy");
  EXPECT_STOPPED(tessera_dataset_push(tessera_dataset{0}, scratch<int64_t>(), scratch<int64_t>(), 1, &err), "tessera_dataset_push");
  EXPECT_STOPPED(tessera_dataset_push_end(tessera_dataset{0}, &err), "tessera_dataset_push_end");
  EXPECT_STOPPED(tessera_dataset_next(tessera_dataset{0}, scratch<tessera_batch>(), &err), "tessera_dataset_next");
  EXPECT_STOPPED(tessera_dataset_get_state(tessera_dataset{0}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_dataset_get_state");
  EXPECT_STOPPED(tessera_dataset_set_state(tessera_dataset{0}, "x", &err), "tessera_dataset_set_state");
  EXPECT_STOPPED(tessera_dataset_count_steps(tessera_dataset{0}, scratch<int64_t>(), &err), "tessera_dataset_count_steps");
  EXPECT_STOPPED(tessera_dataset_get_report(tessera_dataset{0}, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_dataset_get_report");
  EXPECT_STOPPED(tessera_dataset_get_lengths(tessera_dataset{0}, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_dataset_get_lengths");
  EXPECT_STOPPED(tessera_dataset_push_arrow(tessera_dataset{0}, scratch<void>(), scratch<void>(), &err), "tessera_dataset_push_arrow");
  EXPECT_STOPPED(tessera_metrics_init(Initialised<tessera_metrics>::get(tessera_metrics_init), 64), "tessera_metrics_init");
  EXPECT_STOPPED(tessera_generate_options_init(Initialised<tessera_generate_options>::get(tessera_generate_options_init), 64), "tessera_generate_options_init");
  EXPECT_STOPPED(tessera_trainer_create(tessera_mesh{0}, tessera_model{0}, tessera_config{0}, scratch<tessera_trainer>(), &err), "tessera_trainer_create");
  EXPECT_STOPPED(tessera_trainer_create_async(tessera_mesh{0}, tessera_model{0}, tessera_config{0}, scratch<tessera_future>(), &err), "tessera_trainer_create_async");
  EXPECT_STOPPED(tessera_trainer_destroy(tessera_trainer{0}), "tessera_trainer_destroy");
  EXPECT_STOPPED(tessera_trainer_set_events(tessera_trainer{0}, tessera_events{0}, &err), "tessera_trainer_set_events");
  EXPECT_STOPPED(tessera_trainer_step(tessera_trainer{0}, tessera_batch{0}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_step");
  EXPECT_STOPPED(tessera_trainer_step_async(tessera_trainer{0}, tessera_batch{0}, scratch<tessera_future>(), &err), "tessera_trainer_step_async");
  EXPECT_STOPPED(tessera_trainer_forward_backward(tessera_trainer{0}, tessera_batch{0}, 1, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_forward_backward");
  EXPECT_STOPPED(tessera_trainer_forward_backward_async(tessera_trainer{0}, tessera_batch{0}, 1, scratch<tessera_future>(), &err), "tessera_trainer_forward_backward_async");
  EXPECT_STOPPED(tessera_trainer_optimizer_step(tessera_trainer{0}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_optimizer_step");
  EXPECT_STOPPED(tessera_trainer_optimizer_step_async(tessera_trainer{0}, scratch<tessera_future>(), &err), "tessera_trainer_optimizer_step_async");
  EXPECT_STOPPED(tessera_trainer_zero_grad(tessera_trainer{0}, &err), "tessera_trainer_zero_grad");
  EXPECT_STOPPED(tessera_trainer_get_step_count(tessera_trainer{0}, scratch<int64_t>(), &err), "tessera_trainer_get_step_count");
  EXPECT_STOPPED(tessera_trainer_evaluate(tessera_trainer{0}, tessera_batch{0}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_trainer_evaluate");
  EXPECT_STOPPED(tessera_trainer_evaluate_async(tessera_trainer{0}, tessera_batch{0}, scratch<tessera_future>(), &err), "tessera_trainer_evaluate_async");
  EXPECT_STOPPED(tessera_trainer_generate(tessera_trainer{0}, scratch<int64_t>(), 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_trainer_generate");
  EXPECT_STOPPED(tessera_trainer_generate_async(tessera_trainer{0}, scratch<int64_t>(), 1, Initialised<tessera_generate_options>::get(tessera_generate_options_init), scratch<tessera_future>(), &err), "tessera_trainer_generate_async");
  EXPECT_STOPPED(tessera_trainer_get_logits(tessera_trainer{0}, tessera_batch{0}, scratch<tessera_tensor>(), &err), "tessera_trainer_get_logits");
  EXPECT_STOPPED(tessera_trainer_get_logits_async(tessera_trainer{0}, tessera_batch{0}, scratch<tessera_future>(), &err), "tessera_trainer_get_logits_async");
  EXPECT_STOPPED(tessera_trainer_count_parameters(tessera_trainer{0}, scratch<int64_t>(), &err), "tessera_trainer_count_parameters");
  EXPECT_STOPPED(tessera_trainer_get_parameter_name(tessera_trainer{0}, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_trainer_get_parameter_name");
  EXPECT_STOPPED(tessera_trainer_get_parameter(tessera_trainer{0}, "x", scratch<tessera_tensor>(), &err), "tessera_trainer_get_parameter");
  EXPECT_STOPPED(tessera_trainer_get_parameter_async(tessera_trainer{0}, "x", scratch<tessera_future>(), &err), "tessera_trainer_get_parameter_async");
  EXPECT_STOPPED(tessera_trainer_get_gradient(tessera_trainer{0}, "x", scratch<tessera_tensor>(), &err), "tessera_trainer_get_gradient");
  EXPECT_STOPPED(tessera_trainer_get_gradient_async(tessera_trainer{0}, "x", scratch<tessera_future>(), &err), "tessera_trainer_get_gradient_async");
  EXPECT_STOPPED(tessera_trainer_set_parameter(tessera_trainer{0}, "x", tessera_tensor{0}, &err), "tessera_trainer_set_parameter");
  EXPECT_STOPPED(tessera_trainer_set_parameter_async(tessera_trainer{0}, "x", tessera_tensor{0}, scratch<tessera_future>(), &err), "tessera_trainer_set_parameter_async");
  EXPECT_STOPPED(tessera_trainer_get_program(tessera_trainer{0}, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_trainer_get_program");
  EXPECT_STOPPED(tessera_checkpoint_save(tessera_trainer{0}, "x", tessera_dataset{0}, &err), "tessera_checkpoint_save");
  EXPECT_STOPPED(tessera_checkpoint_save_async(tessera_trainer{0}, "x", tessera_dataset{0}, scratch<tessera_future>(), &err), "tessera_checkpoint_save_async");
  EXPECT_STOPPED(tessera_checkpoint_load(tessera_trainer{0}, "x", tessera_dataset{0}, &err), "tessera_checkpoint_load");
  EXPECT_STOPPED(tessera_checkpoint_load_async(tessera_trainer{0}, "x", tessera_dataset{0}, scratch<tessera_future>(), &err), "tessera_checkpoint_load_async");
  EXPECT_STOPPED(tessera_checkpoint_export(tessera_trainer{0}, "x", "x", &err), "tessera_checkpoint_export");
  EXPECT_STOPPED(tessera_checkpoint_export_async(tessera_trainer{0}, "x", "x", scratch<tessera_future>(), &err), "tessera_checkpoint_export_async");
  EXPECT_STOPPED(tessera_tokenizer_open("x", scratch<tessera_tokenizer>(), &err), "tessera_tokenizer_open");
  EXPECT_STOPPED(tessera_tokenizer_destroy(tessera_tokenizer{0}), "tessera_tokenizer_destroy");
  EXPECT_STOPPED(tessera_tokenizer_count(tessera_tokenizer{0}, scratch<int64_t>(), &err), "tessera_tokenizer_count");
  EXPECT_STOPPED(tessera_tokenizer_encode(tessera_tokenizer{0}, "x", 64, 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode");
  EXPECT_STOPPED(tessera_tokenizer_decode(tessera_tokenizer{0}, scratch<int64_t>(), 1, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_decode");
  EXPECT_STOPPED(tessera_tokenizer_get_chat_text(tessera_tokenizer{0}, "x", 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_get_chat_text");
  EXPECT_STOPPED(tessera_tokenizer_encode_chat(tessera_tokenizer{0}, "x", scratch<int64_t>(), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_chat");
  EXPECT_STOPPED(tessera_tokenizer_encode_batch(tessera_tokenizer{0}, "x", 64, scratch<int64_t>(), 1, 1, scratch<int64_t>(), scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_tokenizer_encode_batch");
  EXPECT_STOPPED(tessera_pack_create("x", scratch<int64_t>(), 1, 1, 1, scratch<int64_t>(), scratch<int64_t>(), &err), "tessera_pack_create");
  EXPECT_STOPPED(tessera_pack_get_pieces(tessera_config{0}, scratch<int64_t>(), 1, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_pack_get_pieces");
  EXPECT_STOPPED(tessera_plan_get_text(tessera_model{0}, tessera_config{0}, 1, 1, scratch<char>(), 64, scratch<size_t>(), &err), "tessera_plan_get_text");
  EXPECT_STOPPED(tessera_timeline_options_init(scratch<tessera_timeline_options>(), 64), "tessera_timeline_options_init");
  EXPECT_STOPPED(tessera_plan_get_timeline(tessera_model{0}, tessera_config{0}, 1, scratch<tessera_timeline_options>(), scratch<char>(), 64, scratch<size_t>(), &err), "tessera_plan_get_timeline");
  EXPECT_STOPPED(tessera_future_destroy(tessera_future{0}), "tessera_future_destroy");
  EXPECT_STOPPED(tessera_future_poll(tessera_future{0}, scratch<int32_t>(), &err), "tessera_future_poll");
  EXPECT_STOPPED(tessera_future_wait(tessera_future{0}, 1, &err), "tessera_future_wait");
  EXPECT_STOPPED(tessera_future_wait_any(scratch<tessera_future>(), 1, 1, scratch<int64_t>(), &err), "tessera_future_wait_any");
  EXPECT_STOPPED(tessera_future_cancel(tessera_future{0}, &err), "tessera_future_cancel");
  EXPECT_STOPPED(tessera_future_get_result(tessera_future{0}, &err), "tessera_future_get_result");
  EXPECT_STOPPED(tessera_future_get_metrics(tessera_future{0}, Initialised<tessera_metrics>::get(tessera_metrics_init), &err), "tessera_future_get_metrics");
  EXPECT_STOPPED(tessera_future_get_tokens(tessera_future{0}, scratch<int64_t>(), 64, scratch<size_t>(), &err), "tessera_future_get_tokens");
  EXPECT_STOPPED(tessera_future_get_tensor(tessera_future{0}, scratch<tessera_tensor>(), &err), "tessera_future_get_tensor");
  EXPECT_STOPPED(tessera_future_get_mesh(tessera_future{0}, scratch<tessera_mesh>(), &err), "tessera_future_get_mesh");
  EXPECT_STOPPED(tessera_future_get_trainer(tessera_future{0}, scratch<tessera_trainer>(), &err), "tessera_future_get_trainer");
  EXPECT_STOPPED(tessera_event_init(Initialised<tessera_event>::get(tessera_event_init), 64), "tessera_event_init");
  EXPECT_STOPPED(tessera_events_create(1, scratch<tessera_events>(), &err), "tessera_events_create");
  EXPECT_STOPPED(tessera_events_destroy(tessera_events{0}), "tessera_events_destroy");
  EXPECT_STOPPED(tessera_events_next(tessera_events{0}, 1, Initialised<tessera_event>::get(tessera_event_init), &err), "tessera_events_next");
}

inline const char* const kFunctions[] = {
    "tessera_status_name",
    "tessera_status_string",
    "tessera_handle_count",
    "tessera_version_string",
    "tessera_abi_version",
    "tessera_build_info",
    "tessera_log_set_level",
    "tessera_log_get_level",
    "tessera_log_set_events",
    "tessera_key_info_init",
    "tessera_config_create",
    "tessera_config_destroy",
    "tessera_config_set",
    "tessera_config_get",
    "tessera_config_load",
    "tessera_config_load_text",
    "tessera_config_get_text",
    "tessera_key_count",
    "tessera_key_get",
    "tessera_key_describe",
    "tessera_world_options_init",
    "tessera_world_options_load",
    "tessera_world_create",
    "tessera_world_create_from_environment",
    "tessera_world_create_threads",
    "tessera_world_destroy",
    "tessera_world_close",
    "tessera_world_close_async",
    "tessera_world_abort",
    "tessera_world_get_rank",
    "tessera_world_get_size",
    "tessera_mesh_options_init",
    "tessera_mesh_options_load",
    "tessera_mesh_create",
    "tessera_mesh_create_async",
    "tessera_mesh_destroy",
    "tessera_mesh_get_size",
    "tessera_mesh_get_index",
    "tessera_mesh_get_ranks",
    "tessera_mesh_get_text",
    "tessera_tensor_create",
    "tessera_tensor_create_view",
    "tessera_tensor_create_dlpack",
    "tessera_tensor_destroy",
    "tessera_tensor_get_dtype",
    "tessera_tensor_get_dims",
    "tessera_tensor_get_data",
    "tessera_tensor_set_data",
    "tessera_tensor_get_dlpack",
    "tessera_mesh_barrier",
    "tessera_mesh_barrier_async",
    "tessera_mesh_all_reduce",
    "tessera_mesh_all_reduce_async",
    "tessera_mesh_all_gather",
    "tessera_mesh_all_gather_async",
    "tessera_mesh_reduce_scatter",
    "tessera_mesh_reduce_scatter_async",
    "tessera_mesh_all_to_all",
    "tessera_mesh_all_to_all_async",
    "tessera_mesh_broadcast",
    "tessera_mesh_broadcast_async",
    "tessera_model_open",
    "tessera_model_create",
    "tessera_model_destroy",
    "tessera_model_get_text",
    "tessera_model_get_parameter_count",
    "tessera_model_set_tp_plan",
    "tessera_model_open_plugin",
    "tessera_model_create_plugin",
    "tessera_batch_create",
    "tessera_batch_destroy",
    "tessera_batch_push",
    "tessera_batch_count",
    "tessera_batch_count_tokens",
    "tessera_batch_get_array",
    "tessera_batch_push_form",
    "tessera_batch_get_rows",
    "tessera_dataset_open",
    "tessera_dataset_create",
    "tessera_dataset_destroy",
    "tessera_dataset_push",
    "tessera_dataset_push_end",
    "tessera_dataset_next",
    "tessera_dataset_get_state",
    "tessera_dataset_set_state",
    "tessera_dataset_count_steps",
    "tessera_dataset_get_report",
    "tessera_dataset_get_lengths",
    "tessera_dataset_push_arrow",
    "tessera_metrics_init",
    "tessera_generate_options_init",
    "tessera_trainer_create",
    "tessera_trainer_create_async",
    "tessera_trainer_destroy",
    "tessera_trainer_set_events",
    "tessera_trainer_step",
    "tessera_trainer_step_async",
    "tessera_trainer_forward_backward",
    "tessera_trainer_forward_backward_async",
    "tessera_trainer_optimizer_step",
    "tessera_trainer_optimizer_step_async",
    "tessera_trainer_zero_grad",
    "tessera_trainer_get_step_count",
    "tessera_trainer_evaluate",
    "tessera_trainer_evaluate_async",
    "tessera_trainer_generate",
    "tessera_trainer_generate_async",
    "tessera_trainer_get_logits",
    "tessera_trainer_get_logits_async",
    "tessera_trainer_count_parameters",
    "tessera_trainer_get_parameter_name",
    "tessera_trainer_get_parameter",
    "tessera_trainer_get_parameter_async",
    "tessera_trainer_get_gradient",
    "tessera_trainer_get_gradient_async",
    "tessera_trainer_set_parameter",
    "tessera_trainer_set_parameter_async",
    "tessera_trainer_get_program",
    "tessera_checkpoint_save",
    "tessera_checkpoint_save_async",
    "tessera_checkpoint_load",
    "tessera_checkpoint_load_async",
    "tessera_checkpoint_export",
    "tessera_checkpoint_export_async",
    "tessera_tokenizer_open",
    "tessera_tokenizer_destroy",
    "tessera_tokenizer_count",
    "tessera_tokenizer_encode",
    "tessera_tokenizer_decode",
    "tessera_tokenizer_get_chat_text",
    "tessera_tokenizer_encode_chat",
    "tessera_tokenizer_encode_batch",
    "tessera_pack_create",
    "tessera_pack_get_pieces",
    "tessera_plan_get_text",
    "tessera_timeline_options_init",
    "tessera_plan_get_timeline",
    "tessera_future_destroy",
    "tessera_future_poll",
    "tessera_future_wait",
    "tessera_future_wait_any",
    "tessera_future_cancel",
    "tessera_future_get_result",
    "tessera_future_get_metrics",
    "tessera_future_get_tokens",
    "tessera_future_get_tensor",
    "tessera_future_get_mesh",
    "tessera_future_get_trainer",
    "tessera_event_init",
    "tessera_events_create",
    "tessera_events_destroy",
    "tessera_events_next"};
