//! ringpost-interop
