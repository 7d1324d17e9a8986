//! A heartsay member inside a tokio program: the shell around the pure state machine of `heartsay-membership`.
//!
//! ```no_run
//! use heartsay_tokio::membership::{Cluster, Config, Name, Profile};
//! use heartsay_tokio::{Member, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new(Cluster::new("demo")?, Profile::Lan);
//! let options = Options {
//!     bind: "0.0.0.0:4327".parse()?,
//!     seeds: vec!["n1.example.org:4327".to_owned()],
//!     state_dir: Some("/var/lib/my-service/membership".into()),
//!     ..Options::new(Name::new("n2")?)
//! };
//! let member = Member::spawn(config, options).await?;
//! let mut view = member.view();
//! while view.changed().await.is_ok() {
//!     let alive = view.borrow().alive().count();
//!     println!("{alive} members are alive");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What the shell does for its machine: it reads *port unreachable* off the socket's error queue; it hands in all
//! datagrams that are there before it tells the time, so that no verdict is given over a full inbox; its clock runs on
//! while the host sleeps; it resolves the seeds again and again; it keeps host id, generation and peers on
//! disk.
//!
//! A program that wants to do more between two turns of the loop takes the parts: [`Shell`] with an [`Observer`], and
//! [`Persistence`] over a [`store`]. [`Member`] and the agent `heartsay` are both built on them.
//!
//! Linux only: the error queue and `CLOCK_BOOTTIME` are Linux's.

pub mod clock;
mod member;
pub mod net;
mod persistence;
mod readiness;
mod seeds;
mod shell;
#[cfg(test)]
mod skipped;
mod sources;
pub mod store;

/// The protocol itself: all that a member is told, says and shows. So one dependency is enough.
pub use heartsay_membership as membership;
pub use member::{CommandError, Member, Options, SpawnError, View};
pub use persistence::{Persistence, Report};
pub use readiness::readable;
pub use seeds::{LastGood, Resolved};
pub use shell::{Observer, Shell};
pub use sources::source_towards;
