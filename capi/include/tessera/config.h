/*
 * config.h - all settings by key and text value: "optimizer.lr" = "3e-4". Every key has a type, bounds and a default,
 * which can be asked for; a value that breaks them, or an unknown key, is an error at once.
 */
#ifndef TESSERA_CONFIG_H
#define TESSERA_CONFIG_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum tessera_key_type {
    TESSERA_KEY_BOOLEAN = 0, /* true | false */
    TESSERA_KEY_INTEGER = 1,
    TESSERA_KEY_REAL = 2,
    TESSERA_KEY_TEXT = 3,
    TESSERA_KEY_CHOICE = 4,    /* one of `choices` */
    TESSERA_KEY_TEXT_LIST = 5, /* separated by commas; "\," is a comma inside an element */
    TESSERA_KEY_REAL_LIST = 6  /* separated by commas */
};

/* What is known of one key. */
typedef struct tessera_key_info {
    size_t struct_size;
    int32_t type;    /* a tessera_key_type */
    int32_t has_min; /* 1 when `min` is a bound */
    int32_t has_max; /* 1 when `max` is a bound */
    int32_t reserved0;
    double min; /* inclusive */
    double max; /* inclusive */
    char name[64];
    char default_value[128]; /* "" when the key has no default */
    char choices[256];       /* separated by commas */
    char doc[512];
} tessera_key_info;

/** Prepares a key info struct to be filled.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_key_info_init(tessera_key_info *info, size_t struct_size);

/** A configuration in which every key has its default.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_config_create(tessera_config *out_config, tessera_error *err);

/** @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_config_destroy(tessera_config config);

/** Sets one key; an empty value goes back to the default.
 *  @return TESSERA_E_NOT_FOUND for an unknown key (the message names the nearest), TESSERA_E_ARGUMENT for a bad
 *  value.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_config_set(tessera_config config, const char *key, const char *value,
                                              tessera_error *err);

/** The value of one key, or its default, or "".
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_config_get(tessera_config config, const char *key, char *buf, size_t cap,
                                              size_t *out_len, tessera_error *err);

/** Sets keys from a YAML or JSON file of nested maps. All or nothing; errors name the line.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_config_load(tessera_config config, const char *path, tessera_error *err);

/** Like tessera_config_load, from text.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_config_load_text(tessera_config config, const char *yaml, tessera_error *err);

/** The keys that were set, as YAML.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_config_get_text(tessera_config config, char *buf, size_t cap, size_t *out_len,
                                                   tessera_error *err);

/** The number of keys that exist.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_key_count(int64_t *out_count, tessera_error *err);

/** The key number `index`, counted from 0, in the order of the documentation.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_key_get(int64_t index, tessera_key_info *out_info, tessera_error *err);

/** Describes a key by name.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_key_describe(const char *key, tessera_key_info *out_info, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
