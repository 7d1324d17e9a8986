//! Who waits for what another member says.

use std::collections::BTreeMap;

use heartsay_membership::{Answer, Rejected};
use tokio::sync::oneshot;

/// What was asked and is not answered. The machine ends each question, and bounds how many there are.
#[derive(Debug, Default)]
pub(super) struct Asking {
    waiting: BTreeMap<u64, Reply>,
    last: u64,
}

type Reply = oneshot::Sender<Result<Option<Answer>, Rejected>>;

impl Asking {
    /// Returns the number of a new question.
    pub(super) fn open(&mut self, reply: Reply) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, reply);
        self.last
    }

    /// The asker may have gone.
    pub(super) fn end(&mut self, number: u64, answer: Result<Option<Answer>, Rejected>) {
        if let Some(reply) = self.waiting.remove(&number) {
            let _ = reply.send(answer);
        }
    }
}
