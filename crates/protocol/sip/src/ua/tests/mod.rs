mod calls;
mod changes;
mod cost;
mod courses;
mod requests;
mod storms;
mod subscriptions;
mod world;
