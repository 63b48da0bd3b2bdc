/*
 * aged_host.c - a host whose structs have the size of another version's headers (check_old_hosts.sh makes those headers).
 *
 * Every struct that carries its size stands before bytes that the library must not touch, and is used. Prints the losses of a
 * short training; whatever the headers, they are the same. With NEWER defined each struct has a field of_a_newer_version.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/tessera.h>

static const char model_json[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 64, \"hidden_size\": 32,"
    " \"intermediate_size\": 64, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"
    " \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, \"tie_word_embeddings\": false}";

static tessera_error err;

#define CHECK(condition)                                                                                   \
    do {                                                                                                   \
        if (!(condition)) {                                                                                \
            fprintf(stderr, "line %d: %s is not so; last error: %s\n", __LINE__, #condition, err.message); \
            exit(1);                                                                                       \
        }                                                                                                  \
    } while (0)
#define OK(call) CHECK((call) == TESSERA_OK)

/* A struct with its defaults, and the memory behind it. */
#define GUARDED(type, name)                          \
    struct {                                         \
        type it;                                     \
        unsigned char behind[64];                    \
    } name;                                          \
    memset(&name, 0xA5, sizeof name);                \
    OK(type##_init(&name.it, sizeof(type)));         \
    CHECK(name.it.struct_size == sizeof(type));      \
    untouched(name.behind, __LINE__)

static void untouched(const unsigned char *behind, int line) {
    int i;
    for (i = 0; i < 64; i++) {
        if (behind[i] == 0xA5) continue;
        fprintf(stderr, "line %d: the library wrote past a struct of this program\n", line);
        exit(1);
    }
}

/* Options with a field set that the library does not know are refused; an unknown field of a result becomes 0. */
#ifdef NEWER
#define REFUSED_WITH_MORE(options, call)                     \
    (options).it.of_a_newer_version = 1;                     \
    CHECK((call) == TESSERA_E_UNSUPPORTED);                  \
    (options).it.of_a_newer_version = 0
#define FILL_MORE(result) ((result).it.of_a_newer_version = 7)
#define MORE_IS_ZERO(result) CHECK((result).it.of_a_newer_version == 0)
#else
#define REFUSED_WITH_MORE(options, call) (void)0
#define FILL_MORE(result) (void)0
#define MORE_IS_ZERO(result) (void)0
#endif

int main(void) {
    static const int64_t tokens[] = {3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41}, lengths[] = {7, 5};
    tessera_config config;
    tessera_world world;
    tessera_mesh mesh;
    tessera_model model;
    tessera_trainer trainer;
    tessera_batch batch;
    tessera_events events;
    int64_t generated[4];
    char *text = malloc(1 << 20);
    size_t length;
    int step;
    GUARDED(tessera_world_options, join);
    GUARDED(tessera_mesh_options, layout);
    GUARDED(tessera_metrics, metrics);
    GUARDED(tessera_generate_options, choice);
    GUARDED(tessera_timeline_options, picture);
    GUARDED(tessera_event, event);
    GUARDED(tessera_key_info, key);

    OK(tessera_config_create(&config, &err));
    OK(tessera_config_set(config, "precision.param", "fp32", &err));
    OK(tessera_config_set(config, "train.global_batch", "1", &err));
    FILL_MORE(key);
    OK(tessera_key_describe("ranks", &key.it, &err));
    CHECK(strcmp(key.it.name, "ranks") == 0 && key.it.has_min == 1 && key.it.min == 1);
    MORE_IS_ZERO(key);

    OK(tessera_world_options_load(&join.it, config, &err));
    join.it.intra_op_threads = 1;
    REFUSED_WITH_MORE(join, tessera_world_create_threads(1, &join.it, &world, &err));
    OK(tessera_world_create_threads(1, &join.it, &world, &err));
    OK(tessera_mesh_options_load(&layout.it, config, &err));
    layout.it.dp_shard = -1;
    REFUSED_WITH_MORE(layout, tessera_mesh_create(world, &layout.it, &mesh, &err));
    OK(tessera_mesh_create(world, &layout.it, &mesh, &err));
    OK(tessera_model_create(model_json, &model, &err));
    OK(tessera_trainer_create(mesh, model, config, &trainer, &err));
    OK(tessera_events_create(0, &events, &err));
    OK(tessera_trainer_set_events(trainer, events, &err));
    OK(tessera_batch_create(&batch, &err));
    OK(tessera_batch_push(batch, tokens, NULL, 12, lengths, 2, &err));
    for (step = 1; step <= 3; step++) {
        FILL_MORE(metrics);
        OK(tessera_trainer_step(trainer, batch, &metrics.it, &err));
        CHECK(metrics.it.step == step && metrics.it.loss > 0 && metrics.it.tokens == 12);
        MORE_IS_ZERO(metrics);
        FILL_MORE(event);
        OK(tessera_events_next(events, 0, &event.it, &err));
        CHECK(event.it.type == TESSERA_EVENT_METRICS && event.it.step == step && event.it.loss == metrics.it.loss);
        MORE_IS_ZERO(event);
        printf("%.17g\n", metrics.it.loss);
    }
    choice.it.max_new_tokens = 4;
    REFUSED_WITH_MORE(choice, tessera_trainer_generate(trainer, tokens, 3, &choice.it, generated, 4, &length, &err));
    OK(tessera_trainer_generate(trainer, tokens, 3, &choice.it, generated, 4, &length, &err));
    CHECK(length >= 1 && length <= 4);
    picture.it.columns = 60;
    REFUSED_WITH_MORE(picture, tessera_plan_get_timeline(model, config, 1, &picture.it, text, 1 << 20, &length, &err));
    OK(tessera_plan_get_timeline(model, config, 1, &picture.it, text, 1 << 20, &length, &err));
    CHECK(strlen(text) == length && length > 0);

    untouched(join.behind, __LINE__);
    untouched(layout.behind, __LINE__);
    untouched(metrics.behind, __LINE__);
    untouched(choice.behind, __LINE__);
    untouched(picture.behind, __LINE__);
    untouched(event.behind, __LINE__);
    untouched(key.behind, __LINE__);
    OK(tessera_world_close(world, &err));
    OK(tessera_batch_destroy(batch));
    OK(tessera_events_destroy(events));
    OK(tessera_trainer_destroy(trainer));
    OK(tessera_model_destroy(model));
    OK(tessera_mesh_destroy(mesh));
    OK(tessera_world_destroy(world));
    OK(tessera_config_destroy(config));
    free(text);
    return 0;
}
