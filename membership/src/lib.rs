//! The heartsay membership protocol as a pure state machine.
