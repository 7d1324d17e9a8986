//! What to ask of an agent's history.

use crate::client::segment;

/// Which entries of the history: by default the last thousand of all. An agent keeps those of the last days.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter {
    pairs: Vec<String>,
}

impl HistoryFilter {
    /// All of it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only what is about this member.
    #[must_use]
    pub fn member(self, name: &str) -> Self {
        self.with("member", name)
    }

    /// Entries of this type, for instance `member-down`; several are any of them.
    #[must_use]
    pub fn kind(self, kind: &str) -> Self {
        self.with("type", kind)
    }

    /// Not before this moment, in RFC 3339.
    #[must_use]
    pub fn since(self, stamp: &str) -> Self {
        self.with("since", stamp)
    }

    /// Not after this moment, in RFC 3339.
    #[must_use]
    pub fn until(self, stamp: &str) -> Self {
        self.with("until", stamp)
    }

    /// The last so many of them.
    #[must_use]
    pub fn limit(self, number: u32) -> Self {
        self.with("limit", &number.to_string())
    }

    /// As the agent is asked.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/v1/history?{}", self.pairs.join("&"))
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.pairs.push(format!("{key}={}", segment(value)));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_in_the_path_without_what_would_break_it() {
        let filter = HistoryFilter::new()
            .member("web 1&limit=1")
            .kind("member-down")
            .since("2026-11-20T13:45:00Z")
            .limit(5);
        assert_eq!(
            filter.path(),
            "/v1/history?member=web%201%26limit%3D1&type=member%2Ddown&since=2026%2D11%2D20T13%3A45%3A00Z&limit=5"
        );
    }
}
