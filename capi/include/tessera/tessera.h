/*
 * tessera.h - the whole C interface of Tessera: training of transformer language models over many devices.
 *
 * Reading order: types.h (rules that hold for every function), config.h, world.h, mesh.h, model.h, dataset.h,
 * trainer.h, checkpoint.h. The rest is for hosts that need more: futures, events, tensors, plans, packing.
 *
 *     tessera_world_create_from_environment(NULL, &world, &err);
 *     tessera_mesh_create(world, &mesh_options, &mesh, &err);
 *     tessera_model_open("llama/", &model, &err);
 *     tessera_trainer_create(mesh, model, config, &trainer, &err);
 *     tessera_dataset_open(config, mesh, model, &data, &err);
 *     while (tessera_dataset_next(data, &batch, &err) == TESSERA_OK) {
 *         tessera_trainer_step(trainer, batch, &metrics, &err);
 *         tessera_batch_destroy(batch);
 *     }
 *     tessera_checkpoint_export(trainer, "out/", NULL, &err);
 */
#ifndef TESSERA_TESSERA_H
#define TESSERA_TESSERA_H

#include "tessera/types.h"
#include "tessera/error.h"
#include "tessera/version.h"
#include "tessera/log.h"
#include "tessera/config.h"
#include "tessera/world.h"
#include "tessera/mesh.h"
#include "tessera/tensor.h"
#include "tessera/collective.h"
#include "tessera/model.h"
#include "tessera/batch.h"
#include "tessera/dataset.h"
#include "tessera/trainer.h"
#include "tessera/checkpoint.h"
#include "tessera/tokenizer.h"
#include "tessera/pack.h"
#include "tessera/plan.h"
#include "tessera/future.h"
#include "tessera/events.h"

#endif
