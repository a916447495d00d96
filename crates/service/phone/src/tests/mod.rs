//! The service between test phones, a directory and a media plane that are not real, over a network that may lose.

mod bystanders;
mod calls;
mod forks;
mod media;
mod office;
mod peer;
mod voicemail;
mod world;
