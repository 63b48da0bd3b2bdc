//! Tokenizers and chat templates for Tessera, as one static library of C functions. impl/data/text_ffi.h declares
//! them; impl/data/tokenizer.h and chat.h are what the rest of the library uses. No panic crosses the boundary, no
//! state is shared but the objects handed out, and every function may be called from any thread.

mod dates;
mod environment;
mod ffi;
mod limits;
mod python_json;
mod rewrite;
mod template;
mod tokenizer;
