# Settings by key and text value.

"""
    Config(pairs...)

All settings: `config["optimizer.lr"] = "3e-4"`, `config["optimizer.lr"]`. An unknown key or a bad value throws.
"""
function Config(pairs::Pair...)
    config = Config(handle(CAPI.TesseraConfig, CAPI.tessera_config_create))
    for (key, value) in pairs
        config[key] = value
    end
    return config
end
Base.setindex!(config::Config, value, key) = call(CAPI.tessera_config_set, config, key, string(value))
Base.getindex(config::Config, key) = text(CAPI.tessera_config_get, config, key)
"Sets keys from a YAML or JSON file, all or none."
load!(config::Config, path::AbstractString) = (call(CAPI.tessera_config_load, config, path); config)
"Sets keys from YAML or JSON, all or none."
load_text!(config::Config, yaml) = (call(CAPI.tessera_config_load_text, config, yaml); config)
"The keys that were set, as YAML."
yaml(config::Config) = text(CAPI.tessera_config_get_text, config)

function key_info(info)
    i = info[]
    return (name = text(i.name), type = i.type, min = i.has_min == 1 ? i.min : nothing,
            max = i.has_max == 1 ? i.max : nothing, default = text(i.default_value), choices = text(i.choices),
            doc = text(i.doc))
end
"Type, bounds, default and meaning of a key, as `keys(Config)` gives them of all."
function describe(key)
    info = initialised(CAPI.TesseraKeyInfo, CAPI.tessera_key_info_init)
    call(CAPI.tessera_key_describe, key, info)
    return key_info(info)
end
"All keys, in the order of the documentation."
function Base.keys(::Type{Config})
    return map(0:value(Int64, CAPI.tessera_key_count)-1) do index
        info = initialised(CAPI.TesseraKeyInfo, CAPI.tessera_key_info_init)
        call(CAPI.tessera_key_get, index, info)
        key_info(info)
    end
end
