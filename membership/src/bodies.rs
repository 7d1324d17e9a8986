//! Bodies of records that never change, kept once however many hold them.
//!
//! An agent is alone in its process and shares with nobody but itself. The
//! simulator runs thousands of nodes that all know the same lives: there, one
//! copy serves all (10,000 members seen by 10,000 would otherwise be 14 GB of
//! equal names and addresses).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::life::Life;
use crate::state::State;

/// Where equal bodies are found. Clones are the same place.
///
/// Sharing is never seen from outside: a body is only shared after it was
/// compared. It keeps the last body of every life until it is dropped.
#[derive(Clone, Debug, Default)]
pub struct Bodies {
    shelf: Option<Arc<Mutex<Shelf>>>,
}

/// The last bodies of each life, by its tag.
type Shelf = BTreeMap<u64, (Arc<Life>, State)>;

impl Bodies {
    /// A place to be shared by all nodes that get a clone of it. The default shares nothing.
    #[must_use]
    pub fn shared() -> Self {
        Self { shelf: Some(Arc::default()) }
    }

    pub(crate) fn share(&self, life: Life, mut state: State) -> (Arc<Life>, State) {
        let Some(shelf) = &self.shelf else { return (Arc::new(life), state) };
        let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        match shelf.get(&life.tag) {
            Some((known, said)) if **known == life => {
                state.share(said);
                (known.clone(), state)
            }
            Some(_) => (Arc::new(life), state),
            None => {
                let bodies = (Arc::new(life), state);
                shelf.insert(bodies.0.tag, bodies.clone());
                bodies
            }
        }
    }

    /// The state of `life` has changed: perhaps somebody else holds the same.
    pub(crate) fn share_state(&self, life: &Life, state: &mut State) {
        let Some(shelf) = &self.shelf else { return };
        let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, said)) = shelf.get_mut(&life.tag) else { return };
        if !state.share(said) && said.version() < state.version() {
            said.clone_from(state);
        }
    }
}
