//! ringpost-node
