//! What other members are asked for readers here.
//!
//! Each question costs another member something. So all that want to know the same at the same time share one answer, which
//! is good for [`FRESH`]; beyond that the machine has a budget.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use heartsay_membership::{Answer, Instant, Name, Question};
use tokio::sync::Mutex;

use super::{App, Problem};
use crate::daemon::driver::Request;

/// The last answers.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    answers: parking_lot::Mutex<BTreeMap<(Name, Question), Slot>>,
}

/// Held while the member is asked: those that come meanwhile wait for the same answer.
type Slot = Arc<Mutex<Option<Last>>>;

#[derive(Clone, Debug)]
struct Last {
    at: Instant,
    /// `None`: it has not answered.
    answer: Option<Answer>,
}

impl App {
    /// What another member says, and when it said so; `None`: it has not answered in time.
    pub(super) async fn ask_member(
        &self,
        member: Name,
        question: Question,
    ) -> Result<(Instant, Option<Answer>), Problem> {
        let clock = &self.0.clock;
        let slot = self.0.asking.slot((member.clone(), question.clone()));
        let mut last = slot.lock().await;
        if let Some(Last { at, answer }) = last.as_ref().filter(|last| clock.now().since(last.at) < FRESH) {
            return Ok((*at, answer.clone()));
        }
        let answer = self.ask(|reply| Request::Ask(member, question, reply)).await??;
        let at = clock.now();
        *last = Some(Last { at, answer: answer.clone() });
        Ok((at, answer))
    }
}

impl Asking {
    fn slot(&self, key: (Name, Question)) -> Slot {
        let mut answers = self.answers.lock();
        if answers.len() >= MOST {
            // Old ones, and those that somebody waits for stay.
            answers.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(answers.entry(key).or_default())
    }
}

/// A page that asks again each ten seconds has a new answer each time, and ten pages together one in two seconds.
const FRESH: Duration = Duration::from_secs(2);
/// Answers that are kept: those of a picture of all members that can be asked. Beside them there are as many as requests.
const MOST: usize = 256;
