// What the C ABI tells of a job before it runs.
#include "job.h"

#include <cstring>

namespace {

std::string timeline(const tessera_timeline_options* options, const std::string& pp, int64_t world,
                     tessera_error* err) {
  const tessera_model model = job::model();
  const tessera_config config = job::config({{"parallel.pp", pp}, {"train.global_batch", "4"}});
  std::string text;
  size_t length = 0;
  tessera_status status = tessera_plan_get_timeline(model, config, world, options, nullptr, 0, &length, err);
  if (status == TESSERA_E_BUFFER) {
    text.resize(length + 1);
    status = tessera_plan_get_timeline(model, config, world, options, text.data(), text.size(), &length, err);
    EXPECT_EQ(status, TESSERA_OK) << err->message;
    text.resize(length);
  }
  tessera_config_destroy(config);
  tessera_model_destroy(model);
  return text;
}

TEST(Plan, ATimelineIsTextAnImageOrATrace) {
  tessera_error err{};
  tessera_timeline_options options;
  ASSERT_EQ(tessera_timeline_options_init(&options, sizeof options), TESSERA_OK);
  const std::string text = timeline(nullptr, "2", 2, &err);
  EXPECT_EQ(text, timeline(&options, "2", 2, &err)) << "the defaults";
  EXPECT_EQ(text.rfind("1f1b over pp=2, 4 micro-batches; backward 2 forwards", 0), 0U) << text;
  EXPECT_NE(text.find("\nrank 1  ..."), std::string::npos) << text;
  options.format = TESSERA_TIMELINE_COLOUR;
  EXPECT_NE(timeline(&options, "2", 2, &err).find('\x1b'), std::string::npos);
  options.format = TESSERA_TIMELINE_SVG;
  EXPECT_EQ(timeline(&options, "2", 2, &err).rfind("<svg", 0), 0U);
  options.format = TESSERA_TIMELINE_TRACE;
  EXPECT_NE(timeline(&options, "2", 4, &err).find("\"traceEvents\""), std::string::npos);
  options.format = TESSERA_TIMELINE_TEXT;
  options.collective = 0.5;
  EXPECT_NE(timeline(&options, "1", 2, &err).find("\ncomm "), std::string::npos)
      << "a rank and its collectives";

  options.transfer = -1;
  EXPECT_EQ(timeline(&options, "2", 2, &err), "");
  EXPECT_STREQ(err.message, "cost transfer=-1 must be between 0 and 1e9");
  options.transfer = 0;
  options.columns = 39;
  EXPECT_EQ(timeline(&options, "2", 2, &err), "");
  EXPECT_STREQ(err.message, "columns=39 must be between 40 and 1000");
  options.format = 4;
  EXPECT_EQ(timeline(&options, "2", 2, &err), "");
  EXPECT_STREQ(err.message, "format=4 is not a tessera_timeline_format");
  EXPECT_EQ(timeline(nullptr, "3", 2, &err), "");
  EXPECT_EQ(err.code, TESSERA_E_ARGUMENT);
}

TEST(Plan, ARegisteredTensorParallelPlanIsUsedByItsName) {
  const tessera_model model = job::model();
  const tessera_config config = job::config({{"parallel.tp", "2"}, {"parallel.tp_plan", "mine"}});
  tessera_error err{};
  char text[8192];
  size_t length = 0;
  const auto plan = [&] {
    return tessera_plan_get_text(model, config, 2, TESSERA_PLAN_SUMMARY, text, sizeof text, &length, &err);
  };
  EXPECT_EQ(plan(), TESSERA_E_IO);
  EXPECT_NE(std::strstr(err.message, "\"mine\" is neither auto"), nullptr) << err.message;
  ASSERT_OK(tessera_model_set_tp_plan(model, "mine", R"({"*": "replicate", "layers.*.mlp.*_proj": "colwise",
      "layers.*.mlp.down_proj": "rowwise"})",
                                      err));
  EXPECT_EQ(plan(), TESSERA_OK) << err.message;
  EXPECT_NE(std::strstr(text, "tensor parallel plan: the user's, registered as mine"), nullptr) << text;
  const tessera_model other = job::model();
  EXPECT_EQ(tessera_plan_get_text(other, config, 2, TESSERA_PLAN_SUMMARY, text, sizeof text, &length, &err),
            TESSERA_E_IO)
      << "a plan belongs to one model";
  EXPECT_EQ(tessera_model_set_tp_plan(model, "auto", "{}", &err), TESSERA_E_ARGUMENT);
  EXPECT_EQ(tessera_model_set_tp_plan(model, "p", "[", &err), TESSERA_E_FORMAT);
  tessera_model_destroy(other);
  tessera_model_destroy(model);
  tessera_config_destroy(config);
}

}  // namespace
