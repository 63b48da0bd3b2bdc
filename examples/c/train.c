/*
 * train.c - fine-tunes a model on a mesh, from plain C.
 *
 *   train recipe.yaml key=value...
 *
 * ranks=4: four rank threads in this process. No `ranks`: one rank of a launcher (torchrun, mpirun, srun), or alone.
 * Rank 0 prints `loss STEP VALUE`. With output.dir the run ends with a checkpoint and a Hugging Face directory;
 * output.resume=true goes on from that checkpoint. The same program in other languages: docs/languages.md.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/tessera.h>

/* Runs one call; on failure says what went wrong and leaves the function. */
#define TRY(call)                                                                     \
    if ((call) != TESSERA_OK) {                                                       \
        fprintf(stderr, "%s: %s\n", tessera_status_name(err.code), err.message);      \
        goto done;                                                                    \
    }

typedef struct rank_job { tessera_world world; tessera_config config; int failed; } rank_job;

/* The text of a key; "" when it is not set. */
static const char *value_of(tessera_config config, const char *key, char buf[1024]) {
    size_t length;
    return tessera_config_get(config, key, buf, 1024, &length, NULL) == TESSERA_OK ? buf : "";
}

/* A model starts from a checkpoint (model.path), or from the config.json named by model.config with random weights. */
static tessera_status open_model(tessera_config config, tessera_model *model, tessera_error *err) {
    char path[1024], json[1 << 16];
    FILE *file = fopen(value_of(config, "model.config", path), "rb");
    if (file == NULL) return tessera_model_open(value_of(config, "model.path", path), model, err);
    json[fread(json, 1, sizeof json - 1, file)] = '\0';
    fclose(file);
    return tessera_model_create(json, model, err);
}

/* One rank: mesh, model, trainer, data, the loop, and the trained model as a Hugging Face directory. */
static void *run_rank(void *argument) {
    rank_job *job = argument;
    tessera_error err;
    tessera_mesh mesh = {0};
    tessera_model model = {0};
    tessera_trainer trainer = {0};
    tessera_dataset data = {0};
    tessera_batch batch = {0};
    tessera_mesh_options layout;
    tessera_metrics metrics;
    char text[1024], checkpoint[1100];
    int32_t rank;
    int64_t step = 0, steps;
    int output;
    job->failed = 1;

    tessera_mesh_options_init(&layout, sizeof layout);
    tessera_metrics_init(&metrics, sizeof metrics);
    TRY(tessera_world_get_rank(job->world, &rank, &err));
    TRY(tessera_mesh_options_load(&layout, job->config, &err));
    TRY(tessera_mesh_create(job->world, &layout, &mesh, &err));
    TRY(open_model(job->config, &model, &err));
    TRY(tessera_trainer_create(mesh, model, job->config, &trainer, &err));
    TRY(tessera_dataset_open(job->config, mesh, model, &data, &err));

    output = *value_of(job->config, "output.dir", text) != '\0';
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", text);
    if (strcmp(value_of(job->config, "output.resume", text), "true") == 0) {
        TRY(tessera_checkpoint_load(trainer, checkpoint, data, &err));
        TRY(tessera_trainer_get_step_count(trainer, &step, &err));
    }

    steps = atoll(value_of(job->config, "train.steps", text));
    while (steps == 0 || step < steps) {
        tessera_status status = tessera_dataset_next(data, &batch, &err);
        if (status == TESSERA_E_END) break;
        TRY(status);
        TRY(tessera_trainer_step(trainer, batch, &metrics, &err));
        tessera_batch_destroy(batch);
        step = metrics.step;
        if (rank == 0) printf("loss %" PRId64 " %.17g\n", step, metrics.loss);
    }
    if (output) {
        TRY(tessera_checkpoint_save(trainer, checkpoint, data, &err));
        TRY(tessera_checkpoint_export(trainer, value_of(job->config, "output.dir", text), NULL, &err));
    }
    TRY(tessera_world_close(job->world, &err));
    job->failed = 0;
done: /* handles may go in any order, and {0} is fine */
    if (job->failed) tessera_world_abort(job->world, err.message, NULL); /* the others need not wait for a timeout */
    tessera_batch_destroy(batch);
    tessera_dataset_destroy(data);
    tessera_trainer_destroy(trainer);
    tessera_model_destroy(model);
    tessera_mesh_destroy(mesh);
    tessera_world_destroy(job->world);
    return NULL;
}

int main(int argc, char **argv) {
    tessera_error err;
    tessera_config config = {0};
    tessera_world_options options;
    tessera_world worlds[64];
    rank_job jobs[64];
    pthread_t threads[64];
    char text[1024];
    int i, ranks, failed = 1;

    setvbuf(stdout, NULL, _IOLBF, 0); /* a reader of a pipe sees each step at once */
    TRY(tessera_config_create(&config, &err));
    for (i = 1; i < argc; ++i) { /* a recipe, then key=value pairs that override it */
        char *equals = strchr(argv[i], '=');
        if (equals != NULL) *equals = '\0';
        TRY(equals == NULL ? tessera_config_load(config, argv[i], &err)
                           : tessera_config_set(config, argv[i], equals + 1, &err));
    }
    ranks = atoi(value_of(config, "ranks", text));
    if (ranks > 64) ranks = 64;
    tessera_world_options_init(&options, sizeof options);
    TRY(tessera_world_options_load(&options, config, &err));
    TRY(ranks > 0 ? tessera_world_create_threads(ranks, &options, worlds, &err)
                  : tessera_world_create_from_environment(&options, worlds, &err));
    if (ranks == 0) ranks = 1;
    for (i = 0; i < ranks; ++i) {
        jobs[i].world = worlds[i];
        jobs[i].config = config;
        pthread_create(&threads[i], NULL, run_rank, &jobs[i]);
    }
    for (failed = 0, i = 0; i < ranks; ++i) failed |= pthread_join(threads[i], NULL) | jobs[i].failed;
done:
    tessera_config_destroy(config);
    return failed;
}
