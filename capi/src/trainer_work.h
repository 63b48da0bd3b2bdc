// Work on a trainer, for the files of the C ABI that need it.
#pragma once

#include "objects.h"

namespace tessera::capi {

/// Starts `work(TrainerObject&)` on the rank's thread. A failure goes to the trainer's event queue as well.
template <class T, class Work>
std::shared_ptr<ResultOperation<T>> start_work(const std::shared_ptr<TrainerObject>& object, Work work) {
  return start<T>(*object->mesh->world, object->use.lease("trainer"),
                  [object, work = std::move(work)]() -> T {
                    try {
                      T result = work(*object);
                      object->steps.store(object->trainer->step_count());
                      return result;
                    } catch (...) {
                      if (const auto queue = object->event_queue()) {
                        tessera_error error{};
                        report(std::current_exception(), &error);
                        queue->push_failure(object->rank(), error);
                      }
                      throw;
                    }
                  });
}

}  // namespace tessera::capi
