//! The stream without a gap: over breaks, and over restarts of the agent.

use std::time::Duration;

use crate::types::WatchLine;
use crate::{Client, ClientError, Watch, segment};

/// Which members, and which lines of the stream. Repeated statuses and types widen, repeated tags narrow.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    members: Vec<String>,
    types: Vec<String>,
}

impl Filter {
    /// All of them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Members with this status.
    #[must_use]
    pub fn status(mut self, status: &str) -> Self {
        self.members.push(format!("status={}", segment(status)));
        self
    }

    /// Members with this tag, `KEY` or `KEY=VALUE`.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.members.push(format!("tag={}", segment(tag)));
        self
    }

    /// Lines of this type, for instance `member-down`. A question for members passes it over.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> Self {
        self.types.push(format!("type={}", segment(kind)));
        self
    }

    pub(crate) fn of_members(&self) -> String {
        self.members.join("&")
    }

    /// The snapshot comes always: it says in which life of the agent its index counts.
    fn of_lines(&self, point: Option<Point>) -> String {
        let snapshot = (!self.types.is_empty()).then(|| "type=snapshot".to_owned());
        let point = point.map(|Point { index, generation }| format!("since={index}&generation={generation}"));
        let all = self.members.iter().chain(&self.types).cloned().chain(snapshot).chain(point);
        all.collect::<Vec<_>>().join("&")
    }
}

/// Where to go on.
#[derive(Clone, Copy, Debug)]
struct Point {
    index: u64,
    generation: u64,
}

/// A snapshot and then each change, over breaks and restarts of the agent: see [`Client::follow`].
#[derive(Debug)]
pub struct Follow {
    client: Client,
    filter: Filter,
    point: Option<Point>,
    watch: Option<Watch>,
}

impl Client {
    /// A stream of all changes, without an end.
    ///
    /// After a break it goes on behind the last line. Where that cannot be (another life of the agent, or more events than it
    /// keeps), a line of type `lagged` comes and then a new snapshot: start over from that.
    #[must_use]
    pub fn follow(&self, filter: Filter) -> Follow {
        Follow { client: self.clone(), filter, point: None, watch: None }
    }
}

impl Follow {
    /// Goes on behind this index of the stream, in this life of the agent, as its snapshot said it.
    #[must_use]
    pub fn since(mut self, index: u64, generation: u64) -> Self {
        self.point = Some(Point { index, generation });
        self
    }

    /// The next line. Waits for an agent where none answers. Safe to drop half-way: no line is lost.
    ///
    /// # Errors
    /// The agent refuses what is asked for, or its address cannot be used.
    pub async fn line(&mut self) -> Result<WatchLine, ClientError> {
        loop {
            let Some(watch) = &mut self.watch else {
                match self.client.watch(&self.filter.of_lines(self.point)).await {
                    Ok(watch) => self.watch = Some(watch),
                    Err(ClientError::Refused(problem)) if problem.status == GONE && self.point.is_some() => {
                        let index = self.point.take().map_or(0, |point| point.index);
                        return Ok(WatchLine { kind: "lagged".to_owned(), index, ..WatchLine::default() });
                    }
                    Err(error) if error.may_pass() => tokio::time::sleep(RETRY).await,
                    Err(error) => return Err(error),
                }
                continue;
            };
            match tokio::time::timeout(SILENCE, watch.line()).await {
                Ok(Ok(raw)) => {
                    let line: WatchLine = watch.read(&raw)?;
                    self.note(&line);
                    return Ok(line);
                }
                Ok(Err(_)) | Err(_) => {
                    self.watch = None;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn note(&mut self, line: &WatchLine) {
        match (&mut self.point, line.generation) {
            (_, Some(generation)) if line.kind == "snapshot" => {
                self.point = Some(Point { index: line.index, generation });
            }
            (Some(point), _) => point.index = line.index,
            // No snapshot has come yet.
            (None, _) => {}
        }
    }
}

/// HTTP's word for events that are not kept any more, or are of another life.
const GONE: u16 = 410;
/// Twice as long as the agent is ever silent.
const SILENCE: Duration = Duration::from_secs(30);
/// Between two tries to find an agent.
const RETRY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_becomes_a_query_and_the_snapshot_comes_always() {
        let filter = Filter::new().tag("role=a&b").status("alive").kind("quorum");
        assert_eq!(filter.of_members(), "tag=role%3Da%26b&status=alive");
        let point = Point { index: 7, generation: 9 };
        let query = "tag=role%3Da%26b&status=alive&type=quorum&type=snapshot&since=7&generation=9";
        assert_eq!(filter.of_lines(Some(point)), query);
        assert_eq!(Filter::new().of_lines(None), "");
    }
}
