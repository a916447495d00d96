//! ringpost-xtask

fn main() {}
