//! Tasks of the runtime.
//!
//! Each is boxed before it is handed over. What a runtime needs of a task, some two dozen functions, is compiled for each type of
//! future, and takes 3 kB of the program; the box is one allocation in the life of a task.

use std::pin::Pin;

use tokio::task::JoinHandle;

/// Starts a task.
pub(crate) fn start<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    let task: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(task);
    tokio::spawn(task)
}
