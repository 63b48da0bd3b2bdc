package org.tessera;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/** A tokenizer with the ids of transformers for the same checkpoint. May be used by any thread. */
public final class Tokenizer extends NativeObject {
  private Tokenizer(long id) {
    super(tessera_kind.TESSERA_KIND_TOKENIZER, id);
  }

  /**
   * Reads {@code tokenizer.json} (or a SentencePiece model) and its companions from a Hugging Face
   * directory.
   *
   * @param directory the folder
   * @return a new tokenizer
   */
  public static Tokenizer open(Path directory) {
    long[] out = new long[1];
    Native.tessera_tokenizer_open(Text.in("directory", directory), out);
    return new Tokenizer(out[0]);
  }

  /**
   * The number of tokens, added ones included.
   *
   * @return positive
   */
  public long tokenCount() {
    long[] out = new long[1];
    Native.tessera_tokenizer_count(this, out);
    return out[0];
  }

  /**
   * Text to ids.
   *
   * @param text any
   * @param addSpecial with the begin and end tokens that the checkpoint asks for
   * @return ids
   */
  public long[] encode(String text, boolean addSpecial) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    int special = addSpecial ? 1 : 0;
    return Text.readLongs(
        bytes.length / 2 + 16,
        (buffer, length) -> Native.tessera_tokenizer_encode(this, bytes, special, buffer, length));
  }

  /**
   * Many texts to ids, on many threads.
   *
   * @param texts any
   * @param addSpecial as in {@link #encode}
   * @return the ids of each text
   */
  public long[][] encodeBatch(List<String> texts, boolean addSpecial) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    long[] textEnds = new long[texts.size()];
    for (int i = 0; i < textEnds.length; ++i) {
      all.writeBytes(texts.get(i).getBytes(StandardCharsets.UTF_8));
      textEnds[i] = all.size();
    }
    byte[] bytes = all.toByteArray();
    long[] idEnds = new long[textEnds.length];
    int special = addSpecial ? 1 : 0;
    long[] ids =
        Text.readLongs(
            bytes.length / 2 + 16,
            (buffer, length) ->
                Native.tessera_tokenizer_encode_batch(
                    this, bytes, textEnds, textEnds.length, special, idEnds, buffer, length));
    long[][] out = new long[textEnds.length][];
    for (int i = 0; i < out.length; ++i) {
      int begin = i == 0 ? 0 : (int) idEnds[i - 1];
      out[i] = Arrays.copyOfRange(ids, begin, (int) idEnds[i]);
    }
    return out;
  }

  /**
   * Ids to text; ids that are no token are left out.
   *
   * @param ids tokens
   * @param skipSpecial without special tokens
   * @return text
   */
  public String decode(long[] ids, boolean skipSpecial) {
    int skip = skipSpecial ? 1 : 0;
    return Text.read(
        (buffer, length) ->
            Native.tessera_tokenizer_decode(this, ids, ids.length, skip, buffer, length));
  }

  /**
   * A conversation as the checkpoint's chat template prints it.
   *
   * @param conversation JSON: a list of messages {"role": .., "content": ..}, or an object with
   *     {@code messages} and optionally {@code tools} and {@code documents}
   * @param addGenerationPrompt ends with the opening of an assistant turn
   * @return text with special tokens
   */
  public String chatText(String conversation, boolean addGenerationPrompt) {
    byte[] json = Text.in("conversation", conversation);
    int prompt = addGenerationPrompt ? 1 : 0;
    return Text.read(
        (buffer, length) ->
            Native.tessera_tokenizer_get_chat_text(this, json, prompt, buffer, length));
  }

  /**
   * A conversation for {@link Dataset#push}.
   *
   * @param tokens ids
   * @param labels -100 where a token is not trained on
   */
  public record Chat(long[] tokens, long[] labels) {}

  /**
   * A conversation as ids and labels: what the assistant says is trained on.
   *
   * @param conversation as in {@link #chatText}
   * @return ids and labels, equally many
   */
  public Chat encodeChat(String conversation) {
    byte[] json = Text.in("conversation", conversation);
    long[][] tokens = new long[1][];
    long[] labels =
        Text.readLongs(
            1024,
            (buffer, length) -> {
              tokens[0] = new long[buffer.length];
              Native.tessera_tokenizer_encode_chat(this, json, tokens[0], buffer, length);
            });
    return new Chat(Arrays.copyOf(tokens[0], labels.length), labels);
  }
}
