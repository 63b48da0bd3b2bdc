# Training. Everything that waits for other ranks has a twin named ..._async that returns a Future.

"""
    Trainer(mesh, model, config = nothing)

One rank's part of training a model on a mesh.
"""
mutable struct Trainer <: Owner
    handle::CAPI.TesseraTrainer
    last_step::Int  # train.steps of the configuration; typemax: not set
    Trainer(handle::CAPI.TesseraTrainer, last_step) = finalizer(release, new(handle, last_step))
end
Trainer(mesh::Mesh, model::Model, config = nothing) = finish(trainer_async(mesh, model, config))
function take_trainer(config)
    last_step = config === nothing ? nothing : tryparse(Int, config["train.steps"])
    return future -> Trainer(handle(CAPI.TesseraTrainer, CAPI.tessera_future_get_trainer, future), something(last_step, typemax(Int)))
end
trainer_async(mesh::Mesh, model::Model, config = nothing) = GC.@preserve config start(
    take_trainer(config), CAPI.tessera_trainer_create_async, mesh, model, or_null(CAPI.TesseraConfig, config))

"Metrics, failures and checkpoints go to a queue; nothing: nowhere."
set_events(trainer::Trainer, events) =
    GC.@preserve events call(CAPI.tessera_trainer_set_events, trainer, or_null(CAPI.TesseraEvents, events))

"""
    metrics(trainer)

A `Channel` of the Metrics of each step from here on; closing it ends it. It takes the place of the queue of `set_events`.
"""
function metrics(trainer::Trainer)
    events = Events()
    set_events(trainer, events)
    return Channel{Metrics}(Inf) do channel
        while isopen(channel)
            event = take!(events; timeout = 0.05)
            event === nothing || event.type != CAPI.TESSERA_EVENT_METRICS || put!(channel, event.metrics)
        end
        close(events)
    end
end

step_async!(trainer::Trainer, batch::Batch) = start(take_metrics, CAPI.tessera_trainer_step_async, trainer, batch)
forward_backward_async!(trainer::Trainer, batch::Batch; label_tokens = 0) =
    start(take_metrics, CAPI.tessera_trainer_forward_backward_async, trainer, batch, label_tokens)
optimizer_step_async!(trainer::Trainer) = start(take_metrics, CAPI.tessera_trainer_optimizer_step_async, trainer)
evaluate_async(trainer::Trainer, batch::Batch) = start(take_metrics, CAPI.tessera_trainer_evaluate_async, trainer, batch)

"One optimizer step over this rank's micro-batches."
step!(trainer::Trainer, batch::Batch) = finish(step_async!(trainer, batch))
struct Steps
    trainer::Trainer
    data::Dataset
end
"""
    steps!(trainer, data)

Trains on a dataset until it is used up, or until `step_count` is train.steps of the configuration that the trainer was made with: a
step for each turn of a loop over this, which gets its Metrics.
"""
steps!(trainer::Trainer, data::Dataset) = Steps(trainer, data)
function Base.iterate(steps::Steps, _ = nothing)
    step_count(steps.trainer) < steps.trainer.last_step || return nothing
    batch = next!(steps.data)
    batch === nothing && return nothing
    metrics = step!(steps.trainer, batch)
    close(batch)
    return metrics, nothing
end
Base.IteratorSize(::Type{Steps}) = Base.SizeUnknown()
Base.eltype(::Type{Steps}) = Metrics

"Adds the gradients of a batch. `label_tokens` is what the loss is divided by; 0: the labels of this batch."
forward_backward!(trainer::Trainer, batch::Batch; label_tokens = 0) =
    finish(forward_backward_async!(trainer, batch; label_tokens = label_tokens))
"Clips the gradients, updates the weights and forgets the gradients."
optimizer_step!(trainer::Trainer) = finish(optimizer_step_async!(trainer))
"The loss of a batch, without gradients."
evaluate(trainer::Trainer, batch::Batch) = finish(evaluate_async(trainer, batch))
"Forgets the gradients."
zero_grad!(trainer::Trainer) = call(CAPI.tessera_trainer_zero_grad, trainer)
"Optimizer steps so far, also those before a checkpoint was loaded."
step_count(trainer::Trainer) = Int(value(Int64, CAPI.tessera_trainer_get_step_count, trainer))

function generate_async(trainer::Trainer, prompt; options...)
    given = initialised(CAPI.TesseraGenerateOptions, CAPI.tessera_generate_options_init)
    for (name, value) in options
        name !== :struct_size && hasfield(CAPI.TesseraGenerateOptions, name) || throw(ArgumentError("generate has no $name"))
        setfield!(given[], name, convert(fieldtype(CAPI.TesseraGenerateOptions, name), value))
    end
    return start(take_tokens, CAPI.tessera_trainer_generate_async, trainer, collect(Int64, prompt), length(prompt), given)
end
"""
    generate(trainer, prompt; max_new_tokens, temperature, top_k, top_p, seed)

The tokens that follow the prompt. Every rank passes the same.
"""
generate(trainer::Trainer, prompt; options...) = finish(generate_async(trainer, prompt; options...))

logits_async(trainer::Trainer, batch::Batch) = start(take_tensor, CAPI.tessera_trainer_get_logits_async, trainer, batch)
"Logits of a batch's first micro-batch, (tokens, vocabulary)."
logits(trainer::Trainer, batch::Batch) = finish(logits_async(trainer, batch))

"The Hugging Face names of all parameters."
function parameter_names(trainer::Trainer)
    count = value(Int64, CAPI.tessera_trainer_count_parameters, trainer)
    return [text(CAPI.tessera_trainer_get_parameter_name, trainer, index) for index in 0:count-1]
end
parameter_async(trainer::Trainer, name) = start(take_tensor, CAPI.tessera_trainer_get_parameter_async, trainer, name)
gradient_async(trainer::Trainer, name) = start(take_tensor, CAPI.tessera_trainer_get_gradient_async, trainer, name)
set_parameter_async!(trainer::Trainer, name, values::Tensor) =
    start(take_nothing, CAPI.tessera_trainer_set_parameter_async, trainer, name, values; keep = values)
"The full weight, gathered; a copy."
parameter(trainer::Trainer, name) = finish(parameter_async(trainer, name))
"The full gradient of the last forward_backward!; a copy."
gradient(trainer::Trainer, name) = finish(gradient_async(trainer, name))
"Overwrites a weight with a full tensor or array of its shape, which every rank passes."
set_parameter!(trainer::Trainer, name, values::Tensor) = finish(set_parameter_async!(trainer, name, values))
set_parameter!(trainer::Trainer, name, values::AbstractArray) = set_parameter!(trainer, name, Tensor(values))
"The compiled step, one instruction a line."
program(trainer::Trainer, microbatches) = text(CAPI.tessera_trainer_get_program, trainer, microbatches)

# ---- Checkpoints -------------------------------------------------------------------------------------------------------

with_data(f, trainer, directory, data) = GC.@preserve data start(
    take_nothing, f, trainer, directory, or_null(CAPI.TesseraDataset, data))
save_async(trainer::Trainer, directory, data = nothing) = with_data(CAPI.tessera_checkpoint_save_async, trainer, directory, data)
load_async!(trainer::Trainer, directory, data = nothing) = with_data(CAPI.tessera_checkpoint_load_async, trainer, directory, data)
export_async(trainer::Trainer, directory; dtype = nothing) =
    start(take_nothing, export_dtype, trainer, directory, dtype === nothing ? nothing : String(dtype))
# A dtype may be missing, which Cstring has no value for.
export_dtype(trainer, directory, dtype, future, err) = GC.@preserve dtype CAPI.tessera_checkpoint_export_async(
    trainer, directory, dtype === nothing ? Cstring(C_NULL) : Base.unsafe_convert(Cstring, dtype), future, err)
"Saves weights, optimizer, step and random state, and the position of `data`."
save(trainer::Trainer, directory, data = nothing) = finish(save_async(trainer, directory, data))
"Continues from a checkpoint, whatever mesh wrote it, and moves `data` to the saved position."
load!(trainer::Trainer, directory, data = nothing) = finish(load_async!(trainer, directory, data))
"Writes a Hugging Face directory; dtype \"fp32\", \"bf16\", \"fp16\", or that of the master weights."
export_model(trainer::Trainer, directory; dtype = nothing) = finish(export_async(trainer, directory; dtype = dtype))
