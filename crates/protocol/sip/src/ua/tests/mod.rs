mod calls;
mod changes;
mod requests;
mod storms;
mod subscriptions;
mod world;
