//! Test members `n0`, `n1`, …, of one host, with a heartbeat each second.

use crate::identity::{HostId, Name};
use crate::roster::claim::Claim;
use crate::roster::incarnation::{Incarnation, Schedule};
use crate::roster::standing::Standing;
use crate::roster::state::Delta;

/// The first incarnation of `n{i}`.
pub fn incarnation(i: usize) -> Incarnation {
    let schedule = Schedule { unix_ms: 1, heartbeat: 0, interval_ms: 1000 };
    let name = Name::new(&format!("n{i}")).unwrap();
    Incarnation::new(name, HostId(1), 1, ([10, 0, 0, 1], 4327).into(), schedule)
}

/// The claim that brings it into a roster.
pub fn claim(incarnation: Incarnation, delta: Option<Delta>) -> Claim {
    Claim {
        subject: incarnation.hash,
        generation: incarnation.generation,
        standing: Standing::default(),
        forgotten: false,
        incarnation: Some(incarnation),
        delta,
    }
}
