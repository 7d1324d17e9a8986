//! Services: what the members say of the programs on their hosts, and those of this host.
//!
//! A service is no thing of its own. It is a value in the record of the member on whose host it runs, one for each name,
//! and lives and goes with that member. There is no catalogue: the view answers.
//!
//! | file | answers |
//! |---|---|
//! | [`instance`] | what is an instance, and how does it travel |
//! | [`registry`] | which instances does this host have, and for how long |
//! | [`entry`] | who registered one of these, and how is it |
//! | [`check`] | does a service of this host work |
//! | [`asked`] | what is another member told that asks why |
//! | [`listing`] | what do all members say, by name |
//! | [`announced`] | what has come, changed and gone since it was last told |

pub(crate) mod announced;
pub(crate) mod asked;
pub(crate) mod check;
pub(crate) mod entry;
pub(crate) mod instance;
pub(crate) mod listing;
pub(crate) mod registry;

pub(crate) use entry::Owner;
pub(crate) use instance::{Health, Instance, Registration, ServiceName, told};
pub(crate) use registry::{Held, Refused, Registry};
