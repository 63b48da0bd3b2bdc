/*
 * loaded_host.c - a host that is not linked to the library but loads it by name, as plugins and scripting languages do: it opens the
 * library, trains on two rank threads, destroys everything and closes it, three times over; then it leaves the library closed
 * while a rank still works, and ends.
 *
 *   loaded_host libtessera.so
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/tessera.h>

static const char model_json[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 64, \"hidden_size\": 32,"
    " \"intermediate_size\": 64, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"
    " \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, \"tie_word_embeddings\": false}";

/* The functions that this host calls, found by name. */
#define FUNCTIONS(F)                                                                                              \
    F(abi_version) F(config_create) F(config_set) F(config_destroy) F(world_options_init) F(world_create_threads) \
    F(world_close) F(world_destroy) F(mesh_create) F(mesh_destroy) F(model_create) F(model_destroy)               \
    F(trainer_create) F(trainer_step) F(trainer_step_async) F(trainer_destroy) F(batch_create) F(batch_push)      \
    F(batch_destroy) F(metrics_init) F(future_destroy) F(handle_count)
#define DECLARE(name) __typeof__(&tessera_##name) name;
static struct { FUNCTIONS(DECLARE) } library;

#define CHECK(condition)                                                             \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "line %d: %s is not so\n", __LINE__, #condition);        \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)
#define OK(call)                                                                     \
    do {                                                                             \
        if ((call) != TESSERA_OK) {                                                  \
            fprintf(stderr, "line %d: %s: %s\n", __LINE__, #call, err.message);      \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)

static void find(void *opened, const char *name, void *function) {
    void *found = dlsym(opened, name);
    if (found == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    memcpy(function, &found, sizeof found);
}

static void *open_library(const char *path) {
    void *opened = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (opened == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
#define FIND(name) find(opened, "tessera_" #name, &library.name);
    FUNCTIONS(FIND)
    CHECK(library.abi_version() == TESSERA_ABI_VERSION);
    return opened;
}

typedef struct rank_job { tessera_world world; tessera_config config; double loss; int leave_working; } rank_job;

static void *run_rank(void *argument) {
    static const int64_t tokens[] = {3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41}, lengths[] = {7, 5};
    rank_job *job = argument;
    tessera_error err;
    tessera_mesh mesh;
    tessera_model model;
    tessera_trainer trainer;
    tessera_batch batch;
    tessera_future future;
    tessera_metrics metrics;
    OK(library.metrics_init(&metrics, sizeof metrics));
    OK(library.mesh_create(job->world, NULL, &mesh, &err));
    OK(library.model_create(model_json, &model, &err));
    OK(library.trainer_create(mesh, model, job->config, &trainer, &err));
    OK(library.batch_create(&batch, &err));
    OK(library.batch_push(batch, tokens, NULL, 12, lengths, 2, &err));
    OK(library.trainer_step(trainer, batch, &metrics, &err));
    OK(library.trainer_step(trainer, batch, &metrics, &err));
    job->loss = metrics.loss;
    if (job->leave_working) {
        OK(library.trainer_step_async(trainer, batch, &future, &err));
        library.future_destroy(future);
    } else {
        OK(library.world_close(job->world, &err));
    }
    library.batch_destroy(batch);
    library.trainer_destroy(trainer);
    library.model_destroy(model);
    library.mesh_destroy(mesh);
    library.world_destroy(job->world);
    return NULL;
}

static double train(int leave_working) {
    tessera_error err;
    tessera_config config;
    tessera_world_options join;
    tessera_world worlds[2];
    rank_job jobs[2];
    pthread_t threads[2];
    int64_t live = -1;
    int rank;
    OK(library.config_create(&config, &err));
    OK(library.config_set(config, "precision.param", "fp32", &err));
    OK(library.world_options_init(&join, sizeof join));
    join.intra_op_threads = 1;
    OK(library.world_create_threads(2, &join, worlds, &err));
    for (rank = 0; rank < 2; rank++) {
        rank_job job = {worlds[rank], config, 0, leave_working};
        jobs[rank] = job;
        CHECK(pthread_create(&threads[rank], NULL, run_rank, &jobs[rank]) == 0);
    }
    for (rank = 0; rank < 2; rank++) CHECK(pthread_join(threads[rank], NULL) == 0);
    library.config_destroy(config);
    OK(library.handle_count(TESSERA_KIND_ANY, &live, &err));
    CHECK(live == 0);
    CHECK(jobs[0].loss > 0 && jobs[0].loss == jobs[1].loss);
    return jobs[0].loss;
}

int main(int argc, char **argv) {
    double first = 0;
    int round;
    CHECK(argc == 2);
    for (round = 0; round < 3; round++) {
        void *opened = open_library(argv[1]);
        double loss = train(0);
        if (round == 0) first = loss;
        CHECK(loss == first);
        CHECK(dlclose(opened) == 0);
    }
    void *opened = open_library(argv[1]);
    CHECK(train(1) == first);
    CHECK(dlclose(opened) == 0);
    printf("loaded, used and closed four times; loss %.17g\n", first);
    return 0;
}
