//! Calls that may hang, one at a time, on a thread where they hold up nothing.

use tokio::task::{JoinError, JoinHandle};

/// At most one call. One that was not waited for to its end is waited for before the next.
#[derive(Debug)]
pub(super) struct Aside<T>(Option<JoinHandle<T>>);

impl<T: Send + 'static> Aside<T> {
    /// Of none.
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// What `call` returns. Dropped before, it leaves the call to itself.
    pub(super) async fn run(&mut self, call: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        if let Some(before) = &mut self.0 {
            let _ = before.await;
        }
        let now = self.0.insert(tokio::task::spawn_blocking(call));
        let ended = now.await;
        self.0 = None;
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn a_call_that_hangs_holds_back_the_next_of_its_kind_and_no_other() {
        let (mut one, mut other) = (Aside::new(), Aside::new());
        let (go, wait) = mpsc::channel::<()>();
        let short = Duration::from_millis(20);
        let hung = one.run(move || wait.recv().map_or(1, |()| 2));
        assert!(tokio::time::timeout(short, hung).await.is_err());
        assert!(tokio::time::timeout(short, one.run(|| 3)).await.is_err(), "no second thread");
        assert_eq!(other.run(|| 4).await.unwrap(), 4);
        go.send(()).unwrap();
        assert_eq!(one.run(|| 5).await.unwrap(), 5, "and never the answer of an earlier call");
    }
}
