//! Deterministic simulator for heartsay.
fn main() {}
