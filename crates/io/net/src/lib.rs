//! ringpost-net
