//! The agent that runs: its start and its end, the loop that owns the machine, and what the loop reads and writes.
//!
//! Below the socket API and the command line, which ask it and never reach into it. What all three share lies beside it: the
//! [event log](crate::event_log), the [types of its lines and answers](crate::types), and [how the machine's view is
//! shown](crate::show).

pub(crate) mod advertise;
pub(crate) mod driver;
pub(crate) mod hooks;
pub(crate) mod log;
pub(crate) mod notify;
pub(crate) mod seeds;
pub(crate) mod shell;
pub(crate) mod srv;
pub(crate) mod start;
pub(crate) mod telemetry;
