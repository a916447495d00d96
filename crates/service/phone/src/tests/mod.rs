//! The service between test phones, a directory and a media plane that are not real, over a network that may lose.

mod access;
mod bystanders;
mod calls;
mod changes;
mod forks;
mod lamp;
mod media;
mod mounts;
mod office;
mod outside;
mod overheard;
mod peer;
mod registration;
mod storms;
mod texts;
mod torture;
mod voicemail;
mod world;
