//! How overdue is a member?

mod instant;
mod local_health;
mod rtt;

pub use instant::Instant;
pub use local_health::{LocalHealth, LocalHealthConfig};
pub use rtt::{RttConfig, RttEstimator};
