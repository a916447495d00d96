//! ringpost-sip

mod flow;

pub use flow::{Flow, Transport};
