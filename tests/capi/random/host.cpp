// Handles, traces, texts and numbers of a random host.
#include "host.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "dlpack.h"

namespace random_host {
namespace {

/// All callers, for whoever prints what they did last.
struct Registry {
  std::mutex mutex;
  std::set<Caller*> callers;
  std::map<std::string, int64_t> messages;
};
Registry& registry() {
  static auto* const only = new Registry;
  return *only;
}

/// Only what a message says, so that the same one with other figures is counted once.
std::string pattern_of(const char* message) {
  std::string out;
  for (const char* at = message; *at != '\0'; ++at) {
    const bool digit = *at >= '0' && *at <= '9';
    if (digit && !out.empty() && out.back() == '9') continue;
    out += digit ? '9' : *at;
  }
  return out;
}

}  // namespace

int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

void print_traces() {
  std::fflush(stdout);
  // No lock: this is printed when something has gone wrong in the middle of anything.
  for (const Caller* caller : registry().callers) {
    const char* const running = caller->running.load();
    std::fprintf(stderr, "---- caller %d, %s\n%s\n", caller->number,
                 running == nullptr ? "between calls" : running, caller->trace().c_str());
  }
}

void fail(const std::string& what) {
  std::fprintf(stderr, "FAILED: %s\n", what.c_str());
  print_traces();
  std::abort();
}

void record_message(const char* function, tessera_status status, const char* message) {
  const std::string line =
      std::string(tessera_status_name(status)) + " " + pattern_of(message) + "   [" + function + "]";
  const std::lock_guard lock(registry().mutex);
  ++registry().messages[line];
}

void print_messages() {
  const std::lock_guard lock(registry().mutex);
  for (const auto& [line, count] : registry().messages)
    std::printf("%7lld %s\n", static_cast<long long>(count), line.c_str());
}

bool hanging(std::chrono::seconds longest) {
  const std::lock_guard lock(registry().mutex);
  for (const Caller* caller : registry().callers) {
    const char* const running = caller->running.load();
    const int64_t since = caller->since_ns.load();
    if (running == nullptr || now_ns() - since < std::chrono::nanoseconds(longest).count()) continue;
    std::fprintf(stderr, "caller %d has been in %s for %lld s\n", caller->number, running,
                 static_cast<long long>((now_ns() - since) / 1'000'000'000));
    return true;
  }
  return false;
}

// ---- Host -----------------------------------------------------------------------------------------------

Host::Host(std::string where) : folder(std::move(where)) {
  std::filesystem::create_directories(folder);
}
Host::~Host() {
  for (DLManagedTensorVersioned* tensor : dlpacks_) release_dlpack(tensor);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
}

uint64_t Host::live(int kind, uint64_t choice) {
  const std::lock_guard lock(mutex_);
  const auto& ids = live_[kind];
  return ids.empty() ? 0 : ids[choice % ids.size()];
}
uint64_t Host::stale(uint64_t choice) {
  const std::lock_guard lock(mutex_);
  return stale_.empty() ? 0 : stale_[choice % stale_.size()];
}
void Host::made(int kind, uint64_t id) {
  const std::lock_guard lock(mutex_);
  live_[kind].push_back(id);
}
void Host::destroyed(int kind, uint64_t id) {
  const std::lock_guard lock(mutex_);
  if (std::erase(live_[kind], id) > 0) stale_.push_back(id);
}
std::vector<uint64_t> Host::all(int kind) {
  const std::lock_guard lock(mutex_);
  return live_[kind];
}
void* Host::keep(size_t bytes) {
  auto block = std::make_unique<char[]>(bytes + 1);
  const std::lock_guard lock(mutex_);
  return kept_.emplace_back(std::move(block)).get();
}
void Host::give_dlpack(DLManagedTensorVersioned* tensor) {
  const std::lock_guard lock(mutex_);
  dlpacks_.push_back(tensor);
}
DLManagedTensorVersioned* Host::take_dlpack() {
  const std::lock_guard lock(mutex_);
  if (dlpacks_.empty()) return nullptr;
  DLManagedTensorVersioned* const tensor = dlpacks_.back();
  dlpacks_.pop_back();
  return tensor;
}
Job Host::job(uint64_t choice) {
  const std::lock_guard lock(mutex_);
  return jobs_.empty() ? Job{} : jobs_[choice % jobs_.size()];
}
void Host::add_job(Job made) {
  const std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(made));
}

// ---- Caller ---------------------------------------------------------------------------------------------

Caller::Caller(Host& shared, uint64_t seed, int its_number)
    : host(shared), number(its_number), random_(seed) {
  const std::lock_guard lock(registry().mutex);
  registry().callers.insert(this);
}
Caller::~Caller() {
  const std::lock_guard lock(registry().mutex);
  registry().callers.erase(this);
}

void Caller::begin(const char* function) {
  call = Call{};
  call.name = function;
  {
    const std::lock_guard lock(trace_mutex_);
    trace_.emplace_back(function);
    if (trace_.size() > 30) trace_.pop_front();
  }
  since_ns.store(now_ns());
}

void Caller::note(const std::string& argument) {
  const std::lock_guard lock(trace_mutex_);
  if (argument.empty() || argument.back() == '=') trace_.back() += ' ';
  trace_.back() += argument.substr(0, 60);
}

std::string Caller::trace() const {
  std::string out;
  for (const std::string& line : trace_) out += "  " + line + "\n";
  return out;
}

void* Caller::memory(size_t bytes) {
  return call.memory.emplace_back(new char[bytes]).get();
}

const char* Caller::text_memory(const std::string& value) {
  auto* out = static_cast<char*>(memory(value.size() + 1));
  std::memcpy(out, value.c_str(), value.size() + 1);
  return out;
}

void Caller::end(tessera_status status, const tessera_error* err) {
  running.store(nullptr);
  note(" -> " + std::string(tessera_status_name(status)));
  if (std::strcmp(tessera_status_name(status), "E_UNKNOWN") == 0)
    fail(std::string(call.name) + " returned no status");
  if (err != nullptr) {
    if (std::memchr(err->message, '\0', sizeof err->message) == nullptr) fail("a message without an end");
    note(std::string(" ") + err->message);
    const std::string_view message = err->message;
    const auto wrong = [&](const char* what) {
      fail(std::string(call.name) + ": " + what + ": " + err->message);
    };
    if (err->code != status) wrong("the error struct has another code");
    if (message.empty() != (status == TESSERA_OK))
      wrong("a message exactly where there is an error is wanted");
    if (status == TESSERA_E_INTERNAL)
      wrong("an error that is no defect of the host, as a defect of the library");
    if (!message.empty() && message.back() == '.' && !message.ends_with("..") && !message.ends_with("/."))
      wrong("a message with a full stop");
    for (const char* leaked :
         {"basic_string", "vector::", "std::", "c10::", "at::", "nlohmann", "json.exception", ".cpp"})
      if (message.find(leaked) != message.npos) wrong("a message from the inside");
    record_message(call.name, status, err->message);
  }
  for (const auto& after : call.after) after(status);
  call.memory.clear();
}

int64_t Caller::odd_number() {
  static const std::vector<int64_t> values = {0,
                                              1,
                                              -1,
                                              2,
                                              3,
                                              4,
                                              5,
                                              7,
                                              8,
                                              12,
                                              16,
                                              31,
                                              63,
                                              64,
                                              65,
                                              127,
                                              128,
                                              255,
                                              1000,
                                              -2,
                                              -100,
                                              -101,
                                              INT32_MAX,
                                              INT32_MIN,
                                              int64_t{INT32_MAX} + 1,
                                              int64_t{1} << 32,
                                              int64_t{1} << 40,
                                              (int64_t{1} << 53) + 1,
                                              INT64_MAX,
                                              INT64_MIN,
                                              INT64_MAX - 1,
                                              INT64_MIN + 1};
  return one_of(values);
}

int64_t Caller::bounded_timeout() {
  static const std::vector<int64_t> values = {0, 1, 1000, 1'000'000, 5'000'000, 20'000'000};
  return one_of(values);
}

std::string Caller::path() {
  static const std::vector<std::string> names = {"model",
                                                 "model",
                                                 "model",
                                                 "tokenizer",
                                                 "checkpoint",
                                                 "checkpoint2",
                                                 "export",
                                                 "rows.jsonl",
                                                 "broken.jsonl",
                                                 "recipe.yaml",
                                                 "nothing",
                                                 "nothing/deep/er",
                                                 "",
                                                 ".",
                                                 "model/config.json",
                                                 "rows.jsonl/below",
                                                 "n\xff\xfe",
                                                 "caf\xc3\xa9",
                                                 "*"};
  if (chance(2)) return "";
  if (chance(2)) return host.folder + "/" + std::string(300, 'n');
  if (chance(1)) return std::string(5000, '/');
  return host.folder + "/" + one_of(names);
}

tessera_key_info Caller::key() {
  tessera_key_info info{};
  tessera_key_info_init(&info, sizeof info);
  int64_t count = 0;
  if (tessera_key_count(&count, nullptr) != TESSERA_OK || count <= 0) fail("no keys");
  if (tessera_key_get(static_cast<int64_t>(below(static_cast<uint64_t>(count))), &info, nullptr) !=
      TESSERA_OK)
    fail("a key is missing");
  return info;
}

std::string Caller::value_of(const tessera_key_info& info, bool odd) {
  static const std::vector<std::string> values = {"",
                                                  "0",
                                                  "-1",
                                                  "1",
                                                  "2",
                                                  "true",
                                                  "false",
                                                  "nan",
                                                  "-inf",
                                                  "1e308",
                                                  "1e-320",
                                                  "0x10",
                                                  "9223372036854775807",
                                                  "-9223372036854775808",
                                                  "99999999999999999999",
                                                  "auto",
                                                  ",",
                                                  ",,,",
                                                  "\\",
                                                  "\\,",
                                                  " ",
                                                  "\t1",
                                                  "1 ",
                                                  "1,2,3",
                                                  "1e3",
                                                  "0.5",
                                                  "\xff\xfe",
                                                  "\xc3\xa9",
                                                  "{}",
                                                  "[]",
                                                  "null",
                                                  "~",
                                                  "*x",
                                                  "&x [*x]",
                                                  "%s%n",
                                                  "$(reboot)"};
  if (odd) {
    if (chance(3)) return std::string(1 + below(200'000), 'a');
    return one_of(values);
  }
  switch (info.type) {
    case TESSERA_KEY_BOOLEAN:
      return chance(50) ? "true" : "false";
    case TESSERA_KEY_CHOICE: {
      std::vector<std::string> choices(1);
      for (const char* at = info.choices; *at != '\0'; ++at) {
        if (*at == ',')
          choices.emplace_back();
        else
          choices.back() += *at;
      }
      return one_of(choices);
    }
    case TESSERA_KEY_INTEGER:
      return std::to_string(static_cast<int64_t>(info.has_min != 0 ? info.min : 0) + small_number());
    case TESSERA_KEY_REAL:
    case TESSERA_KEY_REAL_LIST: {
      const double low = info.has_min != 0 ? info.min : -1;
      const double high = std::min(info.has_max != 0 ? info.max : 2.0, low + 2);
      return std::to_string(low + (high - low) * static_cast<double>(below(5)) / 4);
    }
    default:
      if (std::strcmp(info.name, "cluster") == 0) {
        static const std::vector<std::string> clusters = {"a100-8x-ib", "cpu-local", "h100", "{}",
                                                          "{gpus: 0}"};
        return one_of(clusters);
      }
      return chance(70) ? path() : one_of(values);
  }
}

std::string Caller::text(const std::string& name) {
  static const std::vector<std::string> axes = {
      "world", "dp", "tp",           "pp", "cp",   "dp_shard", "dp_shard_cp", "dp_cp",
      "model", "ep", "dp_replicate", "",   "nope", "dp,tp",    "\xff"};
  static const std::vector<std::string> parameters = {"model.embed_tokens.weight",
                                                      "model.norm.weight",
                                                      "lm_head.weight",
                                                      "model.layers.0.self_attn.q_proj.weight",
                                                      "model.layers.1.mlp.down_proj.weight",
                                                      "model.layers.9.mlp.down_proj.weight",
                                                      "",
                                                      "weight",
                                                      "auto",
                                                      "mine"};
  static const std::vector<std::string> yamls = {
      "optimizer: {lr: 1e-4}",
      "a: &a [1]\nb: *a",
      "{",
      "train:\n\tseed: 1",
      "- 1",
      "optimizer.lr: 1",
      "optimizer: {lr: {a: 1}}",
      "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: "
      "[*c,*c,*c,*c]",
      "? [1]: 2",
      "!!binary x",
      "\xef\xbb\xbftrain: {seed: 3}",
      "train: {seed: 1, seed: 2}",
      "--- 1\n--- 2",
      ""};
  static const std::vector<std::string> conversations = {
      R"([{"role":"user","content":"hi"},{"role":"assistant","content":"hello"}])",
      "[]",
      "{}",
      "1",
      "[1]",
      "null",
      R"([{"role":1,"content":{}}])",
      R"({"messages":[{"role":"assistant"}],"tools":7})",
      "[{\"role\":\"user\",\"content\":\"\\ud800\"}]"};
  static const std::vector<std::string> plans = {R"({"model.layers.*.self_attn.q_proj":"colwise"})",
                                                 "{}",
                                                 "[]",
                                                 R"({"*":"sideways"})",
                                                 R"({"":""})",
                                                 "{",
                                                 R"({"x":1})"};
  static const std::vector<std::string> packers = {"next_fit", "first_fit",      "ffd",  "bfd", "wfd",
                                                   "optimal",  "next_fit_split", "none", ""};
  static const std::vector<std::string> dtypes = {"fp32", "bf16", "fp16", "fp8", "", "FP32"};
  static const std::vector<std::string> states = {
      "", "{}", "0", R"({"epoch":0,"step":1})", R"({"epoch":-1})", R"({"step":9e99})", "[[["};
  static const std::vector<std::string> sentences = {
      "", "hello world", "\xff\xfe", "<|im_start|>user", std::string("a\0b", 3), "caf\xc3\xa9"};
  if (chance(3)) {
    switch (below(4)) {
      case 0:
        return std::string(1 + below(100'000), "[{\"(*"[below(5)]);
      case 1:
        return "\xc3\x28\xf0\x9f\x98";
      case 2:
        return std::string(1 + below(100'000), 'x') + "\n%n%s";
      default: {
        std::string noise;
        for (uint64_t i = below(64); i > 0; --i) noise += static_cast<char>(1 + below(255));
        return noise;
      }
    }
  }
  if (name == "axis") return one_of(axes);
  if (name == "name") return one_of(parameters);
  if (name == "yaml") return one_of(yamls);
  if (name == "conversation") return one_of(conversations);
  if (name == "plan") return one_of(plans);
  if (name == "packer") return one_of(packers);
  if (name == "dtype") return one_of(dtypes);
  if (name == "state") return one_of(states);
  if (name == "key") return chance(95) ? key().name : one_of(parameters);
  if (name == "value") return value_of(key(), chance(60));
  if (name == "directory" || name == "path" || name == "plugin") return path();
  return one_of(sentences);
}

}  // namespace random_host
