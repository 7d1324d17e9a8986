//! How overdue is a member?
//!
//! **Everyday picture.** You wait for a bus that comes every ten minutes, give or take one. After eleven
//! minutes you look at your watch; after fifteen you are surprised; after thirty you start to walk. You never
//! *know* that the bus will not come, you only become more and more surprised, and how fast depends on how
//! regular the buses were until today. This crate keeps the memory of the buses and says the surprise as a
//! number.
//!
//! **Formula.** With `F` the distribution of silences learnt so far and `t` the present silence less the
//! pause we forgive,
//!
//! ```text
//! phi = -log10( 1 - F(t) )      phi 1: one healthy silence in 10 is this long;  phi 8: one in 100 million
//! ```
//!
//! Evidence that is independent adds up in phi, which is why the share of contacts that are lost anyway
//! ([`LossShare::surprise`]) is given in the same unit.
//!
//! **Weak spot.** The tail. No observer has seen the silence that comes once in 100 million, so beyond phi 2 or 3
//! the number tells about the assumed curve, not about the world: real pauses (a garbage collection, a moved
//! virtual machine) come from another distribution than jitter. Hence a forgiven pause beside the curve, a
//! floor under the deviation, two curves to choose from ([`Tail`]), and the rule that silence is evidence and
//! never proof: a verdict needs more than this crate.
//!
//! **Paper.** N. Hayashibara, X. Défago, R. Yared, T. Katayama, *The φ accrual failure detector*, SRDS 2004.
//! The forgiven pause and the prior are Akka's, the exponential curve is Cassandra's. [`RttEstimator`] is
//! Jacobson and Karels as in RFC 6298, [`LocalHealth`] is from A. Dadgar, J. Phillips, J. Currey,
//! *Lifeguard*, DSN-W 2018.
//!
//! **What this crate never knows**: what time it is (every call is told), who the member is, what a datagram
//! looks like, what others think, and whether a member is dead.
//!
//! ```
//! use heartsay_detector::{Detector, DetectorConfig, Instant};
//! use std::time::Duration;
//!
//! let config = DetectorConfig::default();
//! let mut now = Instant::EPOCH;
//! let mut member = Detector::new(now, &config);
//! for _ in 0..100 {
//!     now += Duration::from_secs(1);
//!     member.heartbeat(now, 1, &config); // its counter advanced by one
//! }
//! assert!(member.phi(now + Duration::from_secs(1), &config) < 0.001);
//! assert!(member.is_overdue(now + Duration::from_secs(4), &config));
//! let wake_up = member.time_at_phi(config.threshold(), &config); // sleep until then
//! assert!(wake_up > now + Duration::from_secs(3) && member.is_overdue(wake_up, &config));
//! ```

mod detector;
mod evidence;
mod fixed;
mod instant;
mod link;
mod local_health;
mod loss_after_loss;
mod loss_share;
mod phi;
mod rtt;
mod window;

pub use detector::{Detector, DetectorConfig};
pub use evidence::{Case, Tally};
pub use fixed::{Fixed, FixedConfig};
pub use instant::Instant;
pub use link::LinkRecord;
pub use local_health::{LocalHealth, LocalHealthConfig};
pub use loss_after_loss::LossAfterLoss;
pub use loss_share::LossShare;
pub use phi::{PhiAccrual, PhiConfig, Tail};
pub use rtt::{RttConfig, RttEstimator};
pub use window::History;
