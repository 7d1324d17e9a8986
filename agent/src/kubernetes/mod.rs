//! Taints on the nodes of Kubernetes for members that are down.
//!
//! One instance runs beside each agent and asks it over its socket, as any other program does. One of them acts: the holder of a
//! [`lease`]. What it does is decided by [`plan`] alone, from what the agent says ([`sight`]) and the nodes as they are ([`node`]);
//! [`taint`] goes round and round, and [`api`] is the way to the server. It never knows a rule of the protocol.

mod api;
mod lease;
mod node;
mod plan;
mod sight;
mod taint;

pub(crate) use api::Api;
pub(crate) use taint::{Ended, Event, Tainter};
