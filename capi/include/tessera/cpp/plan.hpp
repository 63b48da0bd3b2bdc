// What a job will do, before it runs.
#ifndef TESSERA_CPP_PLAN_HPP
#define TESSERA_CPP_PLAN_HPP

#include <cstdint>
#include <string>

#include "tessera/plan.h"
#include "tessera/cpp/config.hpp"
#include "tessera/cpp/model.hpp"

namespace tessera {
inline namespace cpp0 {

struct TimelineOptions : tessera_timeline_options {
    explicit TimelineOptions(std::int32_t drawn_as = TESSERA_TIMELINE_TEXT)
        : tessera_timeline_options(detail::initialised(tessera_timeline_options_init)) {
        format = drawn_as;
    }
};

/// What a job will do, as text: a tessera_plan_part.
inline std::string plan(const Model &model, const Config &config, std::int64_t world_size,
                        std::int32_t part = TESSERA_PLAN_SUMMARY) {
    return detail::read_text(tessera_plan_get_text, model.get(), config.get(), world_size, part);
}

/// A picture of the step: text, SVG or a trace.
inline std::string timeline(const Model &model, const Config &config, std::int64_t world_size,
                            const TimelineOptions &options = TimelineOptions()) {
    const tessera_timeline_options *raw = &options;
    return detail::read_text(tessera_plan_get_timeline, model.get(), config.get(), world_size, raw);
}

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_PLAN_HPP
