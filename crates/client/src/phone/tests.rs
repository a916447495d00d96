//! Phones that call each other over a network that loses, delays, doubles and reorders.

mod calls;
mod registrar;
mod world;
