mod calls;
mod world;
