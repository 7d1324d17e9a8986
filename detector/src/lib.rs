//! How overdue is a member?

mod instant;

pub use instant::Instant;
