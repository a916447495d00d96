//! ringpost-perf
