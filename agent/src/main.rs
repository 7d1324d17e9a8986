//! The heartsay agent.
fn main() {}
