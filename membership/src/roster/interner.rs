//! Interns the immutable bodies of records: equal ones are kept once, however many nodes hold them.
//!
//! An agent is alone in its process and shares nothing. The simulator runs thousands of nodes that all know the same
//! incarnations, and there one copy serves all (10,000 members seen by 10,000 would otherwise be 14 GB of equal names
//! and addresses).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::roster::incarnation::Incarnation;
use crate::roster::state::State;

/// A table of equal bodies. Clones are the same table.
///
/// Sharing has no visible effect: a body is only shared after it was compared. The table keeps the last body of every
/// incarnation until it is dropped.
#[derive(Clone, Debug, Default)]
pub struct Interner {
    table: Option<Arc<Mutex<Table>>>,
}

/// The last bodies of each incarnation, by its tag.
type Table = BTreeMap<u64, (Arc<Incarnation>, State)>;

impl Interner {
    /// A table to be shared by all nodes that get a clone of it. The default shares nothing.
    #[must_use]
    pub fn shared() -> Self {
        Self { table: Some(Arc::default()) }
    }

    pub(crate) fn intern(&self, incarnation: Incarnation, mut state: State) -> (Arc<Incarnation>, State) {
        let Some(table) = &self.table else { return (Arc::new(incarnation), state) };
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        match table.get(&incarnation.tag) {
            Some((known, said)) if **known == incarnation => {
                state.share(said);
                (known.clone(), state)
            }
            Some(_) => (Arc::new(incarnation), state),
            None => {
                let bodies = (Arc::new(incarnation), state);
                table.insert(bodies.0.tag, bodies.clone());
                bodies
            }
        }
    }

    /// The state of `incarnation` has changed: another node may hold the same one.
    pub(crate) fn intern_state(&self, incarnation: &Incarnation, state: &mut State) {
        let Some(table) = &self.table else { return };
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, said)) = table.get_mut(&incarnation.tag) else { return };
        if !state.share(said) && said.version() < state.version() {
            said.clone_from(state);
        }
    }
}
