//! The service over the reference store, in the hands of sessions.

mod bounds;
mod greylist;
mod interleaved;
mod mailboxes;
mod maildrop;
mod messages;
mod model;
mod parts;
mod queue;
mod quota;
mod sync;
mod voicemail;
mod world;
