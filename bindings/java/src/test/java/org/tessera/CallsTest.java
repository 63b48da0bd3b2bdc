package org.tessera;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Calls that need no job: settings, tensors, packs, tokenizers, logging, versions. */
class CallsTest {
  @TempDir Path folder;

  @Test
  void everyKeyIsDescribedAndHasItsDefault() {
    List<Config.Key> keys = Config.keys();
    assertTrue(keys.size() > 20);
    try (Config config = new Config()) {
      for (Config.Key key : keys) {
        assertFalse(key.doc().isEmpty(), key.name());
        assertEquals(key, Config.describe(key.name()));
        if (!key.defaultValue().isEmpty()) {
          assertEquals(key.defaultValue(), config.get(key.name()));
        }
      }
    }
    assertEquals(Config.Type.CHOICE, Config.describe("backend").type());
    assertTrue(Config.describe("backend").choices().contains("gloo"));
    assertThrows(TesseraException.class, () -> Config.describe("optimizer.lrr"));
  }

  @Test
  void settingsComeFromTextAndFilesAllOrNothing() throws IOException {
    try (Config config = new Config();
        Config again = new Config()) {
      config.loadText("optimizer: {lr: 0.5}\ntrain: {steps: 7}");
      config.load(Files.writeString(folder.resolve("recipe.yaml"), "train: {seed: 11}"));
      again.loadText(config.toYaml());
      assertEquals("7", again.get("train.steps"));
      assertEquals("11", again.get("train.seed"));
      assertThrows(TesseraException.class, () -> again.loadText("train: {steps: 9, stepps: 1}"));
      assertEquals("7", again.get("train.steps"));
      assertThrows(IllegalArgumentException.class, () -> again.set("data.path", "a\0b"));
    }
  }

  @Test
  void textOfAnyLengthAndAlphabetComesBack() {
    try (Config config = new Config()) {
      for (String text :
          List.of(
              "ä€😀𝄞", "x".repeat(5000), "😀".repeat(1000), "x".repeat(511), "x".repeat(512))) {
        assertEquals(text, config.set("data.path", text).get("data.path"));
      }
      TesseraException error =
          assertThrows(TesseraException.class, () -> config.set("no.such.😀", 1));
      assertTrue(error.getMessage().contains("no.such.😀"), error.getMessage());
    }
  }

  @Test
  void tensorsKeepTheirElements() {
    assertArrayEquals(
        new long[] {1, -2, Long.MAX_VALUE},
        Tensor.of(new long[] {1, -2, Long.MAX_VALUE}, 3, 1).toLongs());
    assertArrayEquals(new double[] {1.5}, Tensor.of(new double[] {1.5}).toDoubles());
    assertArrayEquals(new int[] {3, 4}, Tensor.of(new int[] {3, 4}, 2).toInts());
    assertArrayEquals(new float[0], Tensor.of(new float[0], 0, 4).toFloats());
    Tensor half = Tensor.ofBytes(Dtype.BF16, new byte[] {(byte) 0x80, 0x3f}, 1);
    assertEquals(Dtype.BF16, half.dtype());
    assertArrayEquals(new byte[] {(byte) 0x80, 0x3f}, half.toBytes());
    Tensor zeros = Tensor.zeros(Dtype.F32, 2, 2);
    assertArrayEquals(new float[4], zeros.toFloats());
    zeros.set(new float[] {1, 2, 3, 4});
    assertArrayEquals(new float[] {1, 2, 3, 4}, zeros.toFloats());
    zeros.setBytes(new byte[16]);
    assertArrayEquals(new float[4], zeros.toFloats());
    assertThrows(IllegalArgumentException.class, zeros::toLongs);
    assertThrows(TesseraException.class, () -> zeros.set(new float[3]));
    assertThrows(TesseraException.class, () -> Tensor.of(new float[2], 3));
    assertThrows(TesseraException.class, () -> Tensor.zeros(Dtype.F32, -1));
    assertThrows(
        TesseraException.class, () -> Tensor.zeros(Dtype.F32, Long.MAX_VALUE, Long.MAX_VALUE));
  }

  @Test
  void memoryIsSharedByViewsAndDlpack() {
    ByteBuffer memory = ByteBuffer.allocateDirect(8).order(ByteOrder.nativeOrder());
    try (Tensor view = Tensor.view(Dtype.F32, memory, 2)) {
      view.set(new float[] {5, 6});
      assertEquals(6, memory.getFloat(4));
      memory.putFloat(0, 7);
      assertArrayEquals(new float[] {7, 6}, view.toFloats());
      assertThrows(IllegalStateException.class, view::toDlpack);
    }
    assertThrows(
        IllegalArgumentException.class, () -> Tensor.view(Dtype.F32, ByteBuffer.allocate(8), 2));
    assertThrows(TesseraException.class, () -> Tensor.view(Dtype.F32, memory, 3));
    long dlpack;
    try (Tensor tensor = Tensor.of(new float[] {1, 2, 3}, 3)) {
      dlpack = tensor.toDlpack();
    }
    try (Tensor back = Tensor.fromDlpack(dlpack)) {
      assertArrayEquals(new float[] {1, 2, 3}, back.toFloats());
    }
    assertThrows(TesseraException.class, () -> Tensor.fromDlpack(0));
  }

  @Test
  void batchesShiftLabelsInsideDocuments() {
    try (Batch batch = new Batch()) {
      batch.push(new long[] {5, 6, 7, 8}, new long[] {5, 6, 7, -100}, 2, 2);
      assertEquals(1, batch.count());
      assertArrayEquals(new long[] {5, 6, 7, 8}, batch.array(0, Batch.Part.TOKENS));
      assertArrayEquals(new long[] {6, -100, -100, -100}, batch.array(0, Batch.Part.LABELS));
      assertArrayEquals(new long[] {0, 1, 0, 1}, batch.array(0, Batch.Part.POSITIONS));
      assertArrayEquals(new long[] {0, 2, 4}, batch.array(0, Batch.Part.CU_SEQLENS));
      assertEquals(4, batch.tokenCount());
      assertEquals(1, batch.labelCount());
      assertThrows(TesseraException.class, () -> batch.array(1, Batch.Part.TOKENS));
      assertThrows(TesseraException.class, () -> batch.push(new long[2], null, 3));
      assertThrows(IllegalArgumentException.class, () -> batch.push(new long[2], new long[1], 2));
      long[] many = new long[5000];
      assertArrayEquals(many, batch.push(many, null, 5000).array(1, Batch.Part.TOKENS));
    }
  }

  @Test
  void packersPutWholeDocumentsIntoPacks() {
    long[] lengths = {5, 4, 3, 2, 1};
    for (Tessera.Packer packer : Tessera.Packer.values()) {
      Tessera.Packs packs = Tessera.pack(packer, lengths, 5, 1);
      long[] held = new long[(int) packs.count()];
      for (int i = 0; i < lengths.length; ++i) {
        held[(int) packs.packOf()[i]] += lengths[i];
      }
      for (long tokens : held) {
        assertTrue(tokens >= 1 && tokens <= 5, packer.name());
      }
    }
    assertThrows(
        TesseraException.class, () -> Tessera.pack(Tessera.Packer.OPTIMAL, new long[] {6}, 5, 0));
    try (Config config = new Config()) {
      config.set("data.seq_len", "10").set("data.packing", "next_fit_split");
      assertEquals(
          List.of(
              new Tessera.Piece(0, 0, 0, 6),
              new Tessera.Piece(0, 1, 0, 4),
              new Tessera.Piece(1, 1, 4, 1)),
          Tessera.packPieces(config, 6, 5));
    }
  }

  @Test
  void packedDocumentsHaveOtherForms() {
    try (Batch batch = new Batch()) {
      long[] tokens = {5, 6, 7, 0, 8, 9, 0, 0};
      batch.pushForm(Batch.Form.ROWS, tokens, 3, 2);
      assertArrayEquals(new long[] {1, 1, 1, 0, 2, 2, 0, 0}, batch.array(0, Batch.Part.SEGMENTS));
      Batch.PaddedRows rows = batch.rows(0, 4, 1);
      assertEquals(4, rows.rowLength());
      assertArrayEquals(new long[] {5, 6, 7, 1, 8, 9, 1, 1}, rows.tokens());
      assertArrayEquals(new long[] {-100, 6, 7, -100, -100, 9, -100, -100}, rows.labels());
      assertThrows(
          TesseraException.class, () -> batch.pushForm(Batch.Form.POSITIONS, new long[] {5}, 1));
    }
  }

  @Test
  void tokenizersGoBothWays() throws IOException {
    Files.writeString(
        folder.resolve("tokenizer.json"),
        """
        {"version": "1.0", "added_tokens": [], "normalizer": null,
         "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
         "truncation": null, "padding": null, "model": {"type": "WordLevel", "unk_token": "?",
         "vocab": {"?": 0, "user": 1, "assistant": 2, "hello": 3, "wörld😀": 4}}}
        """);
    Files.writeString(
        folder.resolve("tokenizer_config.json"),
        "{\"chat_template\": \"{% for m in messages %}"
            + "{{ m['role'] + ' ' + m['content'] + ' ' }}{% endfor %}\"}");
    try (Tokenizer tokenizer = Tokenizer.open(folder)) {
      assertEquals(5, tokenizer.tokenCount());
      assertArrayEquals(new long[] {3, 4, 0}, tokenizer.encode("hello wörld😀 nobody", false));
      assertEquals("hello wörld😀", tokenizer.decode(new long[] {3, 4}, false));
      assertEquals(3000, tokenizer.encode("hello ".repeat(3000), false).length);
      long[][] several = tokenizer.encodeBatch(List.of("hello wörld😀", "", "wörld😀"), false);
      assertArrayEquals(new long[][] {{3, 4}, {}, {4}}, several);
      assertEquals(0, tokenizer.encodeBatch(List.of(), false).length);
      String chat =
          "[{\"role\": \"user\", \"content\": \"hello\"},"
              + " {\"role\": \"assistant\", \"content\": \"wörld😀\"}]";
      assertEquals("user hello assistant wörld😀", tokenizer.chatText(chat, false).trim());
      Tokenizer.Chat encoded = tokenizer.encodeChat(chat);
      assertArrayEquals(new long[] {1, 3, 2, 4}, encoded.tokens());
      assertArrayEquals(
          new long[] {-100, -100, 4},
          new long[] {encoded.labels()[0], encoded.labels()[1], encoded.labels()[3]});
      assertThrows(TesseraException.class, () -> tokenizer.encodeChat("[{}]"));
    } catch (TesseraException error) {
      if (error.status() == Status.UNSUPPORTED) {
        abort("the library was built without tokenizers");
      }
      throw error;
    }
  }

  @Test
  void theLogHasALevelAndTheLibraryAVersion() {
    Tessera.LogLevel before = Tessera.logLevel();
    Tessera.setLogLevel(Tessera.LogLevel.ERROR);
    assertEquals(Tessera.LogLevel.ERROR, Tessera.logLevel());
    Tessera.setLogLevel(before);
    try (Events events = new Events(16)) {
      Tessera.setLogEvents(events);
      Tessera.setLogEvents(null);
    }
    assertTrue(Tessera.version().startsWith("0."));
    assertTrue(Tessera.buildInfo().contains(Tessera.version()));
    assertEquals("E_PEER_FAILED", Status.PEER_FAILED.code());
    assertEquals("a value that the call cannot accept", Status.ARGUMENT.description());
    assertEquals(Status.UNKNOWN, Status.of(999));
    assertEquals(Status.UNKNOWN, Status.of(-1));
  }

  @Test
  void aLibraryOfAnotherAbiIsRefused() {
    NativeLibrary.checkAbi(Tessera.abiVersion(), Tessera.version());
    UnsatisfiedLinkError error =
        assertThrows(UnsatisfiedLinkError.class, () -> NativeLibrary.checkAbi(999, "9.9.9"));
    assertTrue(error.getMessage().startsWith("libtessera 9.9.9 has ABI 999"), error.getMessage());
  }
}
