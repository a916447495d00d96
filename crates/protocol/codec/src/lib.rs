//! ringpost-codec
