// Timelines as SVG images.
#include <algorithm>

#include "core/error.h"
#include "schedule/timeline_blocks.h"
#include "schedule/timeline_draw.h"

namespace tessera {
namespace {

using Rows = std::vector<std::vector<TimelineBlock>>;

constexpr double kLeft = 64;
constexpr double kRight = 64;
constexpr double kTop = 52;  // of the first row: title and legend are above
constexpr double kRow = 22;
constexpr double kThinRow = 9;  // collectives
constexpr double kGap = 5;
constexpr size_t kMostBlocks = 150'000;

std::string number(double value) {
  std::string text = fixed_text(value, 1);
  if (text.size() > 2 && text.compare(text.size() - 2, 2, ".0") == 0) text.resize(text.size() - 2);
  return text;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else {
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

// Joins what is narrower than `least` (in time) with neighbours of its kind.
std::vector<TimelineBlock> joined(const std::vector<TimelineBlock>& row, double least) {
  std::vector<TimelineBlock> out;
  for (const TimelineBlock& block : row) {
    if (!out.empty()) {
      TimelineBlock& last = out.back();
      if (last.phase == block.phase && last.chunk == block.chunk && block.end - last.start < 2 * least &&
          block.start - last.end < least / 2) {
        last.end = block.end;
        last.microbatch = -1;
        continue;
      }
    }
    out.push_back(block);
  }
  return out;
}

// Rows that are drawn with at most kMostBlocks blocks: `least` grows until they are.
void bound_blocks(Rows& rows, double least) {
  for (;; least *= 2) {
    size_t blocks = 0;
    for (auto& row : rows) {
      row = joined(row, least);
      blocks += row.size();
    }
    if (blocks <= kMostBlocks) return;
    // Alternating kinds cannot be joined: the narrowest are left out.
    for (auto& row : rows) {
      std::erase_if(row, [&](const TimelineBlock& block) { return block.end - block.start < least; });
    }
  }
}

std::string tooltip(const TimelineBlock& block) {
  std::string text = phase_name(block.phase);
  if (block.microbatch >= 0) text += " of micro-batch " + std::to_string(block.microbatch);
  if (block.first_unit >= 0) text += ", u" + std::to_string(block.first_unit);
  if (block.last_unit > block.first_unit) text += "..u" + std::to_string(block.last_unit);
  return text + ", " + fixed_text(block.start, 3) + " to " + fixed_text(block.end, 3);
}

void append_text(std::string& out, double x, double y, const std::string& text, const char* attributes = "") {
  out += "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\"" + attributes + ">" + escaped(text) +
         "</text>\n";
}

class Image {
 public:
  Image(const Timeline& timeline, const std::string& title)
      : timeline_(timeline),
        title_(title),
        compute_(timeline_blocks(timeline, Lane::compute)),
        collectives_(timeline_blocks(timeline, Lane::collectives)) {
    size_t longest = 1;
    for (const auto& row : compute_) longest = std::max(longest, row.size());
    span_ = std::clamp(static_cast<double>(longest) * 24, 640.0, 4000.0);
    scale_ = timeline.length > 0 ? span_ / timeline.length : 0;
    phases_ = phases_in(compute_);
    const std::vector<Phase> more = phases_in(collectives_);
    phases_.insert(phases_.end(), more.begin(), more.end());
    pitch_ = kRow + kGap + (more.empty() ? 0 : kThinRow + 1);
    if (scale_ > 0) {
      bound_blocks(compute_, 1 / scale_);
      bound_blocks(collectives_, 1 / scale_);
    }
  }

  std::string draw() const {
    const double width = kLeft + span_ + kRight;
    const double height = kTop + static_cast<double>(compute_.size()) * pitch_ + 6;
    std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(width) + "\" height=\"" +
                      number(height) + "\" viewBox=\"0 0 " + number(width) + " " + number(height) +
                      "\" font-family=\"sans-serif\" font-size=\"11\">\n" +
                      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
    append_text(out, 8, 17, title_, " font-size=\"13\"");
    append_legend(out);
    for (size_t rank = 0; rank < compute_.size(); ++rank) append_rank(out, rank);
    return out + "</svg>\n";
  }

 private:
  void append_legend(std::string& out) const {
    double x = kLeft;
    const auto entry = [&](const char* fill, const std::string& name) {
      out += "<rect x=\"" + number(x) + "\" y=\"28\" width=\"12\" height=\"12\" fill=\"" + fill +
             "\" stroke=\"#888888\" stroke-width=\"0.5\"/>\n";
      append_text(out, x + 17, 38, name);
      x += 32 + 6.2 * static_cast<double>(name.size());
    };
    for (const Phase phase : phases_) entry(phase_style(phase).image, phase_name(phase));
    entry("#eeeeee", "bubble");
    if (has_chunks(compute_)) append_text(out, x, 38, "paler: a rank's 2nd, 4th, ... stage");
  }

  void append_rank(std::string& out, size_t rank) const {
    const double top = kTop + static_cast<double>(rank) * pitch_;
    append_text(out, 8, top + 15, "rank " + std::to_string(rank));
    out += "<rect x=\"" + number(kLeft) + "\" y=\"" + number(top) + "\" width=\"" + number(span_) +
           "\" height=\"" + number(kRow) + "\" fill=\"#eeeeee\"/>\n";
    append_blocks(out, compute_[rank], top, kRow);
    append_blocks(out, collectives_[rank], top + kRow + 1, kThinRow);
    append_text(out, kLeft + span_ + 8, top + 15,
                fixed_text(100 * timeline_.bubble(static_cast<int>(rank)), 1) + "%");
  }

  void append_blocks(std::string& out, const std::vector<TimelineBlock>& row, double top,
                     double height) const {
    for (const TimelineBlock& block : row) {
      const double x = kLeft + block.start * scale_;
      const double width = (block.end - block.start) * scale_;
      out += "<rect x=\"" + number(x) + "\" y=\"" + number(top) + "\" width=\"" +
             number(std::max(0.1, width)) + "\" height=\"" + number(height) + "\" fill=\"" +
             phase_style(block.phase).image + "\"";
      if (block.chunk % 2 == 1) out += " fill-opacity=\"0.55\"";
      if (width > 4) out += " stroke=\"#ffffff\" stroke-width=\"0.8\"";
      out += width > 2 ? "><title>" + tooltip(block) + "</title></rect>\n" : "/>\n";
      const std::string label = block_label(block);
      if (label.empty() || height < kRow || width < 6.5 * static_cast<double>(label.size()) + 3) continue;
      append_text(out, x + width / 2, top + 15, label, " text-anchor=\"middle\" pointer-events=\"none\"");
    }
  }

  const Timeline& timeline_;
  const std::string& title_;
  Rows compute_;
  Rows collectives_;
  std::vector<Phase> phases_;
  double span_ = 0;
  double scale_ = 0;  // pixels of a measure of time
  double pitch_ = 0;  // from row to row
};

}  // namespace

std::string draw_svg(const Timeline& timeline, const std::string& title) {
  TESSERA_CHECK(timeline.ranks.size() <= 1024, argument, "ranks=", timeline.ranks.size(),
                " are too many for an image: at most 1024");
  return Image(timeline, title).draw();
}

}  // namespace tessera
