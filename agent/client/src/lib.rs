//! Asks the heartsay agent of this host: who is in the cluster, who is alive, and every change in order.
//!
//! ```no_run
//! use heartsay_client::{Client, ClientError, Filter};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ClientError> {
//! let client = Client::new(None);
//! for member in client.members(&Filter::new().tag("role=web").status("alive")).await?.members {
//!     println!("{} at {}", member.name, member.address);
//! }
//! let mut follow = client.follow(Filter::new().kind("member-down"));
//! loop {
//!     let line = follow.line().await?;
//!     if line.kind == "member-down" {
//!         println!("{} is down: {}", line.name.unwrap_or_default(), line.reason.unwrap_or_default());
//!     }
//! }
//! # }
//! ```
//!
//! `cargo run -p heartsay-client --example follow` runs it. What a stream and a guard promise is said in `docs/clients.md`, and what each
//! answer means in `docs/openapi.yaml`. The command line of `heartsay` is built on this crate.

mod client;
pub mod escape;
mod follow;
mod guard;
mod history;
pub mod types;
mod view;

pub use client::{Address, Client, ClientError, Hold, Kept, Unreachable, Watch, segment};
pub use follow::{Filter, Follow};
pub use history::HistoryFilter;
pub use view::{Seen, View};
