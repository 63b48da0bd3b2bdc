package org.tessera;

import java.nio.charset.StandardCharsets;
import java.util.OptionalInt;

/**
 * A failed call. The message is one line that names the argument and its value: "tp=3 does not
 * divide n_heads=32".
 */
public final class TesseraException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** Where {@link #nativeCode} comes from. */
  public enum Domain {
    /** No code. */
    NONE,
    /** {@code errno} of the operating system. */
    OS,
    /** A {@code cudaError_t}. */
    CUDA,
    /** An {@code ncclResult_t}. */
    NCCL,
    /** LibTorch; no code. */
    TORCH
  }

  /** The kind. */
  private final Status status;

  /** Where nativeCode comes from. */
  private final Domain domain;

  /** The code of the system below, or 0. */
  private final int nativeCode;

  /** The rank that failed first, or -1. */
  private final int rank;

  /** Called by the JNI layer with the fields of {@code tessera_error}. */
  TesseraException(int status, int domain, int nativeCode, int rank, byte[] message) {
    super(new String(message, StandardCharsets.UTF_8));
    this.status = Status.of(status);
    this.domain =
        switch (domain) {
          case tessera_domain.TESSERA_DOMAIN_OS -> Domain.OS;
          case tessera_domain.TESSERA_DOMAIN_CUDA -> Domain.CUDA;
          case tessera_domain.TESSERA_DOMAIN_NCCL -> Domain.NCCL;
          case tessera_domain.TESSERA_DOMAIN_TORCH -> Domain.TORCH;
          default -> Domain.NONE;
        };
    this.nativeCode = nativeCode;
    this.rank = rank;
  }

  /** What the code of this program threw on a rank; -1 when it was not that of a rank. */
  TesseraException(Throwable cause, int rank) {
    super(cause.toString(), cause);
    this.status = Status.HOST;
    this.domain = Domain.NONE;
    this.nativeCode = 0;
    this.rank = rank;
  }

  /**
   * The kind.
   *
   * @return never null
   */
  public Status status() {
    return status;
  }

  /**
   * The rank that failed first.
   *
   * @return empty when it is this one or unknown
   */
  public OptionalInt rank() {
    return rank < 0 ? OptionalInt.empty() : OptionalInt.of(rank);
  }

  /**
   * Where {@link #nativeCode} comes from.
   *
   * @return never null
   */
  public Domain domain() {
    return domain;
  }

  /**
   * The code of the system below.
   *
   * @return 0 when there is none
   */
  public int nativeCode() {
    return nativeCode;
  }
}
