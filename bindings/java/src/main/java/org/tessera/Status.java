package org.tessera;

/** What kind of failure a {@link TesseraException} tells of. */
public enum Status {
  /** A value that the call cannot accept. */
  ARGUMENT(tessera_status_code.TESSERA_E_ARGUMENT),
  /** A null handle. */
  HANDLE_NULL(tessera_status_code.TESSERA_E_HANDLE_NULL),
  /** A handle that was destroyed while the call began. */
  HANDLE_STALE(tessera_status_code.TESSERA_E_HANDLE_STALE),
  /** A handle of another kind. */
  HANDLE_TYPE(tessera_status_code.TESSERA_E_HANDLE_TYPE),
  /** A buffer that is too small. */
  BUFFER(tessera_status_code.TESSERA_E_BUFFER),
  /** Another call on the same object is running. */
  BUSY(tessera_status_code.TESSERA_E_BUSY),
  /** The time to wait is over. */
  TIMEOUT(tessera_status_code.TESSERA_E_TIMEOUT),
  /** The work was cancelled before it began. */
  CANCELLED(tessera_status_code.TESSERA_E_CANCELLED),
  /** Another rank died, left or failed; {@link TesseraException#rank} says which. */
  PEER_FAILED(tessera_status_code.TESSERA_E_PEER_FAILED),
  /** The ranks called different collectives. */
  COLLECTIVE_MISMATCH(tessera_status_code.TESSERA_E_COLLECTIVE_MISMATCH),
  /** Reading or writing failed. */
  IO(tessera_status_code.TESSERA_E_IO),
  /** A file or text that breaks its format. */
  FORMAT(tessera_status_code.TESSERA_E_FORMAT),
  /** No such key, file or parameter. */
  NOT_FOUND(tessera_status_code.TESSERA_E_NOT_FOUND),
  /** Something that this build or version cannot do. */
  UNSUPPORTED(tessera_status_code.TESSERA_E_UNSUPPORTED),
  /** Not enough memory. */
  OUT_OF_MEMORY(tessera_status_code.TESSERA_E_OUT_OF_MEMORY),
  /** NaN or infinity where a finite number is needed. */
  NUMERIC(tessera_status_code.TESSERA_E_NUMERIC),
  /** No more data. */
  END(tessera_status_code.TESSERA_E_END),
  /** The object is not in a state that allows the call. */
  STATE(tessera_status_code.TESSERA_E_STATE),
  /** The object was made before {@code fork()}. */
  FORKED(tessera_status_code.TESSERA_E_FORKED),
  /** The device failed. */
  DEVICE(tessera_status_code.TESSERA_E_DEVICE),
  /** A defect of the library. */
  INTERNAL(tessera_status_code.TESSERA_E_INTERNAL),
  /** Code of this program threw, see {@link Throwable#getCause}; the library never says so. */
  HOST(-1),
  /** A number that this version of the binding does not know. */
  UNKNOWN(-2);

  private final int number;

  Status(int number) {
    this.number = number;
  }

  /**
   * The name in the C interface.
   *
   * @return such as "E_PEER_FAILED"
   */
  public String code() {
    return number < 0 ? "E_" + name() : Text.ascii(Native.tessera_status_name(number));
  }

  /**
   * One line in plain words.
   *
   * @return such as "a value that the call cannot accept"
   */
  public String description() {
    return number < 0 ? code() : Text.ascii(Native.tessera_status_string(number));
  }

  static Status of(int number) {
    for (Status status : values()) {
      if (status.number == number && number > 0) {
        return status;
      }
    }
    return UNKNOWN;
  }
}
