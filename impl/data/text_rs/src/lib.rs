//! Tokenizers and chat templates for Tessera, as one static library of C functions. impl/data/text_ffi.h declares
//! them; impl/data/tokenizer.h and chat.h are what the rest of the library uses. No panic crosses the boundary, no
//! state is global, and every function may be called from any thread.

mod ffi;
mod tokenizer;
