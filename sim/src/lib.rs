//! Whole nodes and phones in a simulated world: a network that loses, delays and doubles, a clock that jumps, a disk that
//! crashes; all from one seed, so that what failed once fails again.

#![warn(missing_docs)]

pub mod executor;
pub mod house;
pub mod media;
pub mod network;
pub mod node;
pub mod reader;
pub mod scenario;
pub mod tally;
mod view;
