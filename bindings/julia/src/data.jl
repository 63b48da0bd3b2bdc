# Models, batches, datasets, tokenizers, plans and packing.

"A Hugging Face directory."
open_model(directory::AbstractString) = Model(handle(CAPI.TesseraModel, CAPI.tessera_model_open, directory))
"""
    Model(config_json)

An architecture from the text of a config.json; trainers start it from seeded random weights. `open_model` reads a directory.
"""
Model(config_json::AbstractString) = Model(handle(CAPI.TesseraModel, CAPI.tessera_model_create, config_json))
"Like open_model, with the architectures of a plugin, a shared library, before the built-in ones."
open_model(directory::AbstractString, plugin::AbstractString) =
    Model(handle(CAPI.TesseraModel, CAPI.tessera_model_open_plugin, directory, plugin))
Model(config_json::AbstractString, plugin::AbstractString) =
    Model(handle(CAPI.TesseraModel, CAPI.tessera_model_create_plugin, config_json, plugin))
Base.string(model::Model) = text(CAPI.tessera_model_get_text, model)
"The number of parameters, tied ones once."
parameter_count(model::Model) = value(Int64, CAPI.tessera_model_get_parameter_count, model)

"Registers a tensor-parallel plan, a JSON or YAML map of name patterns and styles, for jobs with `parallel.tp_plan=name`."
set_tp_plan!(model::Model, name, plan) = call(CAPI.tessera_model_set_tp_plan, model, name, plan)

"What a job will do, as text; with part CAPI.TESSERA_PLAN_SEARCH or _JSON the fastest meshes of the key cluster."
plan(model::Model, config::Config, world_size; part = CAPI.TESSERA_PLAN_SUMMARY) =
    text(CAPI.tessera_plan_get_text, model, config, world_size, part)

"""
    timeline(model, config, world_size; format, columns, backward, collective, transfer)

A picture of the step: text, or with `format` CAPI.TESSERA_TIMELINE_COLOUR, _SVG or _TRACE. Costs are in forwards of a mean
stage on one micro-batch.
"""
function timeline(model::Model, config::Config, world_size; options...)
    given = initialised(CAPI.TesseraTimelineOptions, CAPI.tessera_timeline_options_init)
    for (name, value) in options
        name !== :struct_size && hasfield(CAPI.TesseraTimelineOptions, name) || throw(ArgumentError("timeline has no $name"))
        setfield!(given[], name, convert(fieldtype(CAPI.TesseraTimelineOptions, name), value))
    end
    return text(CAPI.tessera_plan_get_timeline, model, config, world_size, given)
end

"The pack of each document, from 0, and how many packs there are."
function pack(packer, lengths, capacity; seed = 0)
    lengths = collect(Int64, lengths)
    packs = Vector{Int64}(undef, length(lengths))
    count = Ref{Int64}(0)
    call(CAPI.tessera_pack_create, packer, lengths, length(lengths), capacity, seed, packs, count)
    return packs, count[]
end

"A document, or a part of it, in a row: documents and rows from 1, `begin_` is the first token in the document, from 1."
struct Piece
    row::Int64
    document::Int64
    begin_::Int64
    length::Int64
end
"The rows that a dataset with these keys makes of documents of these lengths, `Piece` by `Piece`."
function pack_pieces(config::Config, lengths)
    lengths = collect(Int64, lengths)
    numbers = array(Int64, CAPI.tessera_pack_get_pieces, config, lengths, length(lengths); guess = 6 * length(lengths) + 64)
    return [Piece(numbers[i] + 1, numbers[i + 1] + 1, numbers[i + 2] + 1, numbers[i + 3]) for i in 1:4:length(numbers)]
end

"One rank's share of a step: micro-batches, each of which is some documents end to end."
Batch() = Batch(handle(CAPI.TesseraBatch, CAPI.tessera_batch_create))
labels_in(::Nothing, tokens) = C_NULL
function labels_in(labels, tokens)
    length(labels) == length(tokens) || throw(bad_argument("$(length(labels)) labels for $(length(tokens)) tokens"))
    return collect(Int64, labels)
end
"Appends one micro-batch; without labels the tokens are their own. Token ids count from 0, as everywhere."
function Base.push!(batch::Batch, tokens, lengths; labels = nothing)
    call(CAPI.tessera_batch_push, batch, collect(Int64, tokens), labels_in(labels, tokens), length(tokens),
         collect(Int64, lengths), length(lengths))
    return batch
end
Base.length(batch::Batch) = Int(value(Int64, CAPI.tessera_batch_count, batch))
"Tokens, and labels that are trained on."
function count_tokens(batch::Batch)
    tokens, labels = Ref{Int64}(0), Ref{Int64}(0)
    call(CAPI.tessera_batch_count_tokens, batch, tokens, labels)
    return tokens[], labels[]
end
"One array (a CAPI.TESSERA_BATCH_*) of micro-batch `index`, from 1."
batch_array(batch::Batch, index, which) = array(Int64, CAPI.tessera_batch_get_array, batch, index - 1, which)

"""
    push_form!(batch, form, tokens, index; labels, labels_shifted, extent, layout)

Appends a micro-batch from another form of packed documents, a CAPI.TESSERA_BATCH_FORM_* that `index` tells as it does in C.
"""
function push_form!(batch::Batch, form, tokens, index; labels = nothing, labels_shifted = false, extent = 0, layout = nothing)
    GC.@preserve layout call(CAPI.tessera_batch_push_form, batch, or_null(CAPI.TesseraConfig, layout), Int32(form),
        collect(Int64, tokens), labels_in(labels, tokens), length(tokens), Int32(labels_shifted), collect(Int64, index),
        length(index), extent)
    return batch
end
"""
    padded_rows(batch, index; row_length = 0, pad_token = 0)

Micro-batch `index`, from 1, as padded rows, a column for each document: (tokens, labels in their positions, positions, mask).
"""
function padded_rows(batch::Batch, index; row_length = 0, pad_token = 0)
    numbers = array(Int64, CAPI.tessera_batch_get_rows, batch, index - 1, row_length, pad_token)
    documents = length(batch_array(batch, index, CAPI.TESSERA_BATCH_CU_SEQLENS)) - 1
    all = reshape(numbers, :, documents, 4)
    return (tokens = all[:, :, 1], labels = all[:, :, 2], positions = all[:, :, 3], mask = all[:, :, 4])
end

"""
    Dataset(config, mesh = nothing, model = nothing)

The files of data.*; a loop over it takes this rank's share of each step until the data is used up. `pushed_dataset` makes one without
files: `push!` documents, then `push_end!`.
"""
Dataset(config::Config, mesh = nothing, model = nothing) = dataset(CAPI.tessera_dataset_open, config, mesh, model)
"A dataset without files: `push!(data, tokens; labels)` documents, then `push_end!(data)`."
pushed_dataset(config::Config, mesh = nothing, model = nothing) = dataset(CAPI.tessera_dataset_create, config, mesh, model)
dataset(f, config, mesh, model) = GC.@preserve mesh model Dataset(
    handle(CAPI.TesseraDataset, f, config, or_null(CAPI.TesseraMesh, mesh), or_null(CAPI.TesseraModel, model)))
function Base.push!(data::Dataset, tokens; labels = nothing)
    call(CAPI.tessera_dataset_push, data, collect(Int64, tokens), labels_in(labels, tokens), length(tokens))
    return data
end
"The rows of an Arrow record batch, by the addresses of its ArrowSchema and ArrowArray, which are released."
push_arrow!(data::Dataset, schema, array) =
    call(CAPI.tessera_dataset_push_arrow, data, Ptr{Cvoid}(schema), Ptr{Cvoid}(array))
"No more documents will be pushed."
push_end!(data::Dataset) = call(CAPI.tessera_dataset_push_end, data)
"This rank's share of the next step; nothing when the data is used up."
function next!(data::Dataset)
    out = Ref(CAPI.TesseraBatch(0))
    return call_or(CAPI.TESSERA_E_END, CAPI.tessera_dataset_next, data, out) ? Batch(out[]) : nothing
end
function Base.iterate(data::Dataset, _ = nothing)
    batch = next!(data)
    return batch === nothing ? nothing : (batch, nothing)
end
Base.IteratorSize(::Type{Dataset}) = Base.SizeUnknown()
Base.eltype(::Type{Dataset}) = Batch
"The position in the data, as text for `set_state!`."
state(data::Dataset) = text(CAPI.tessera_dataset_get_state, data)
"Goes to a position that `state` gave."
set_state!(data::Dataset, state) = call(CAPI.tessera_dataset_set_state, data, state)
"Steps in one pass; -1 when that is not known."
count_steps(data::Dataset) = Int(value(Int64, CAPI.tessera_dataset_count_steps, data))
"What the dataset holds over all ranks, as JSON."
report(data::Dataset) = text(CAPI.tessera_dataset_get_report, data)
"Tokens of each document, in the order of the data."
lengths(data::Dataset) = array(Int64, CAPI.tessera_dataset_get_lengths, data)

"Text to token ids and back, as the Hugging Face directory says."
Tokenizer(directory::AbstractString) = Tokenizer(handle(CAPI.TesseraTokenizer, CAPI.tessera_tokenizer_open, directory))
Base.length(tokenizer::Tokenizer) = Int(value(Int64, CAPI.tessera_tokenizer_count, tokenizer))
"The token ids of a text."
function encode(tokenizer::Tokenizer, text::AbstractString; add_special = true)
    bytes = Vector{UInt8}(codeunits(String(text)))
    push!(bytes, 0)  # the string need not end with a NUL for the library, but for Cstring
    GC.@preserve bytes array(Int64, encode_bytes, tokenizer, bytes, length(bytes) - 1, Int32(add_special))
end
"Many texts, on many threads: the ids of each."
function encode_batch(tokenizer::Tokenizer, texts; add_special = true)
    bytes = Vector{UInt8}(join(texts))
    n = length(bytes)
    push!(bytes, 0)
    text_ends = Int64[cumsum(map(sizeof, texts)); 0]
    id_ends = zeros(Int64, length(texts) + 1)
    ids = GC.@preserve bytes array(Int64, encode_batch_bytes, tokenizer, bytes, n, text_ends, length(texts),
        Int32(add_special), id_ends; guess = n ÷ 2 + 256)
    bounds = [0; id_ends[1:length(texts)]]
    return [ids[bounds[i] + 1:bounds[i + 1]] for i in 1:length(texts)]
end
encode_batch_bytes(tokenizer, bytes, n, text_ends, count, special, id_ends, buf, cap, len, err) =
    CAPI.tessera_tokenizer_encode_batch(tokenizer, Cstring(pointer(bytes)), n, text_ends, count, special, id_ends, buf,
        cap, len, err)
# The text has a length of its own and may hold NULs, which Cstring refuses.
encode_bytes(tokenizer, bytes, n, special, buf, cap, len, err) =
    CAPI.tessera_tokenizer_encode(tokenizer, Cstring(pointer(bytes)), n, special, buf, cap, len, err)
"The text of token ids."
decode(tokenizer::Tokenizer, ids; skip_special = false) =
    text(CAPI.tessera_tokenizer_decode, tokenizer, collect(Int64, ids), length(ids), Int32(skip_special))
"A conversation (JSON) as the chat template prints it."
chat_text(tokenizer::Tokenizer, conversation; add_generation_prompt = false) =
    text(CAPI.tessera_tokenizer_get_chat_text, tokenizer, conversation, Int32(add_generation_prompt))
"A conversation (JSON) as tokens and labels."
function encode_chat(tokenizer::Tokenizer, conversation)
    labels = Int64[]
    function both(tokenizer, conversation, buf, cap, len, err)
        resize!(labels, cap)
        return CAPI.tessera_tokenizer_encode_chat(tokenizer, conversation, buf, labels, cap, len, err)
    end
    tokens = array(Int64, both, tokenizer, conversation)
    return tokens, resize!(labels, length(tokens))
end
