//! ringpost-sim
