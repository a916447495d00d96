mod calls;
mod changes;
mod cost;
mod requests;
mod storms;
mod subscriptions;
mod world;
