//! Checks: whether a service of this host works, as far as its agent can see.
//!
//! Picture: a watchman on his rounds. He knocks at each door at the agreed hour, writes down who answered, and calls for help
//! only when nobody did three times; one who comes to the door too often in an evening has to wait until he is believed again.
//!
//! Each check is a task of its own, on the thread of the API and never on that of the protocol. What a look may hang in (a
//! disk, the start of a program) is done on a helper thread, one for each check at most.
//!
//! | file | answers |
//! |---|---|
//! | [`kind`] | what is looked at, as configured |
//! | [`judge`] | what the results of looks make of a service's health: pure |
//! | [`run`] | when is looked, and who is told |
//! | [`probe`] | how one look is made; a file for each kind that takes more than a page |

mod aside;
mod bus;
mod cgroup;
mod disk;
mod exec;
mod http;
mod judge;
mod kind;
mod probe;
mod process;
mod run;
mod unit;

pub(crate) use judge::{Terms, UNKNOWN};
pub(crate) use kind::{Check, Effect, Kind, Place, Url};
pub(crate) use run::{Running, Tools};

/// Of all services of a host together: each is a task.
pub(crate) const MOST_CHECKS: usize = 256;
