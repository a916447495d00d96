//! ringpost-server

fn main() {}
