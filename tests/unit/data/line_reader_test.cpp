// Lines of plain, gzip and zstd files; limits; file lists.
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "data/line_reader.h"
#include "data_directory.h"

namespace tessera {
namespace {

void write_gzip(const std::string& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
}

std::string zstd_bytes(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::vector<std::string> lines_of(const std::string& path, int64_t limit = 1 << 20) {
  LineReader reader(path, limit);
  std::vector<std::string> out;
  for (Line line; reader.next(line);)
    out.push_back(cat(line.number, "@", line.offset, line.too_long ? "!" : ":", line.text));
  return out;
}

using Lines = std::vector<std::string>;

TEST(DataLineReader, GivesNumbersAndOffsetsAndDropsLineEndings) {
  DataDirectory directory;
  EXPECT_EQ(lines_of(directory.write("a.jsonl", "ab\r\n\ncde")), (Lines{"1@0:ab", "2@4:", "3@5:cde"}));
  EXPECT_EQ(lines_of(directory.write("b.jsonl", "\xef\xbb\xbfx\ny\n")), (Lines{"1@3:x", "2@5:y"}));
  EXPECT_EQ(lines_of(directory.write("c.jsonl", "")), Lines{});
  EXPECT_EQ(lines_of(directory.write("d.jsonl", "\n")), (Lines{"1@0:"}));
}

TEST(DataLineReader, PassesOverLinesLongerThanTheLimit) {
  DataDirectory directory;
  const std::string text = "a\n" + std::string(5 << 20, 'x') + "\nb\n" + std::string(101, 'y');
  const Lines lines = lines_of(directory.write("a.jsonl", text), 100);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], "1@0:a");
  EXPECT_EQ(lines[1].substr(0, 5), "2@2!x");
  EXPECT_EQ(lines[2], cat("3@", 2 + (5 << 20) + 1, ":b"));
  EXPECT_EQ(lines[3].substr(0, 2), "4@");
  EXPECT_NE(lines[3].find('!'), std::string::npos);
}

TEST(DataLineReader, ReadsGzipAndZstdByTheirContent) {
  DataDirectory directory;
  std::string text;
  for (int i = 0; i < 200000; ++i) text += cat("line ", i, "\n");
  const Lines plain = lines_of(directory.write("plain", text));
  write_gzip(directory.path("zipped"), text);
  EXPECT_EQ(lines_of(directory.path("zipped")), plain);
  EXPECT_EQ(lines_of(directory.write("z", zstd_bytes(text))), plain);
  const std::string half = text.substr(0, 1000);
  EXPECT_EQ(lines_of(directory.write("two", zstd_bytes(half) + zstd_bytes(text.substr(1000)))), plain);
}

TEST(DataLineReader, DamagedCompressionIsAnErrorThatNamesTheFile) {
  DataDirectory directory;
  std::string text;
  for (int i = 0; i < 50000; ++i) text += cat(i * 7919 % 104729, "\n");
  const std::string cut = zstd_bytes(text).substr(0, 20000);
  try {
    lines_of(directory.write("cut.zst", cut));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::format);
    EXPECT_NE(std::string(error.what()).find("cut.zst: zstd data ends in the middle"), std::string::npos);
  }
  write_gzip(directory.path("whole.gz"), text);
  std::ifstream in(directory.path("whole.gz"), std::ios::binary);
  std::string zipped((std::istreambuf_iterator<char>(in)), {});
  EXPECT_THROW(lines_of(directory.write("cut.gz", zipped.substr(0, zipped.size() / 2))), Error);
  zipped[zipped.size() / 2] ^= 0x55;
  EXPECT_THROW(lines_of(directory.write("bad.gz", zipped)), Error);
}

TEST(DataLineReader, ExpandsDirectoriesAndGlobsInAFixedOrder) {
  DataDirectory directory;
  directory.write("b.jsonl", "x");
  directory.write("a.jsonl.gz", "x");
  directory.write("notes.md", "x");
  directory.write(".hidden.jsonl", "x");
  std::filesystem::create_directory(directory.path("sub"));
  directory.write("sub/c.txt", "x");
  const Lines all{directory.path("a.jsonl.gz"), directory.path("b.jsonl"), directory.path("sub/c.txt")};
  EXPECT_EQ(expand_paths({directory.path("")}), all);
  EXPECT_EQ(expand_paths({directory.path("*.jsonl")}), Lines{all[1]});
  EXPECT_EQ(expand_paths({directory.path("[as]*")}), (Lines{all[0], all[2]})) << "a directory that matches";
  EXPECT_THROW(expand_paths({directory.path("*.parquet")}), Error);
  EXPECT_THROW(expand_paths({}), Error);
}

}  // namespace
}  // namespace tessera
