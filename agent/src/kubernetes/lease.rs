//! The one that acts holds a Lease object.
//!
//! The floor is a rule over all nodes, and the version of one node cannot guard it: two that act at once, each on another node, would
//! both find room. So one acts. As with the leader election of Kubernetes itself, clocks are never compared: a lease has run
//! out for who has seen it unchanged for its whole length. It is a promise among the well-behaved: a holder that stood still in
//! the middle of a request can still make that one change, which its version then has to let through.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api::{Api, ApiError};
use super::node::Meta;

/// The lease, as this instance knows it.
#[derive(Debug)]
pub(super) struct Lease {
    namespace: String,
    /// For how long each renewal holds.
    length: Duration,
    /// As last seen, and since when it has looked like that.
    seen: Option<(Object, Instant)>,
    /// Who we are to it, and when we last asked to renew it with success.
    held: Option<(String, Instant)>,
}

/// Who may act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// We, until then.
    Ours(Instant),
    /// Another one; by name.
    Others(String),
}

#[derive(Clone, Debug, Deserialize)]
struct Object {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    holder_identity: Option<String>,
    #[serde(default)]
    lease_duration_seconds: Option<u64>,
    #[serde(default)]
    lease_transitions: Option<u64>,
}

impl Object {
    fn holder(&self) -> &str {
        self.spec.holder_identity.as_deref().unwrap_or_default()
    }
}

impl Lease {
    /// In this namespace.
    pub(super) fn new(namespace: String, length: Duration) -> Self {
        Self { namespace, length, seen: None, held: None }
    }

    /// When to look again: often enough to lose no more than a third of it.
    pub(super) fn pause(&self) -> Duration {
        self.length / 3
    }

    /// Takes it or renews it for `me` where that is possible, and says whose turn it is.
    pub(super) async fn turn(&mut self, api: &Api, me: &str) -> Result<Turn, ApiError> {
        let now = Instant::now();
        if let Some(until) = self.until(me).filter(|until| now + self.pause() < *until) {
            return Ok(Turn::Ours(until));
        }
        let found = match api.get::<Object>(&self.path(NAME)).await {
            Ok(found) => found,
            Err(error) if error.is_absent() => {
                let made = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": { "name": NAME, "namespace": self.namespace }, "spec": self.spec(me, 0, true),
                });
                return self.settle(api.create(&self.path(""), &made).await, me, now);
            }
            Err(error) => return Err(error),
        };
        let found = self.see(found, now);
        let is_ours = found.holder() == me;
        if !(is_ours || found.holder().is_empty() || self.has_run_out(now)) {
            self.held = None;
            return Ok(Turn::Others(found.holder().to_owned()));
        }
        let transitions = found.spec.lease_transitions.unwrap_or(0) + u64::from(!is_ours);
        let change = json!({
            "metadata": { "resourceVersion": found.metadata.resource_version },
            "spec": self.spec(me, transitions, !is_ours),
        });
        let changed = api.patch(&self.path(NAME), &change, self.length / 3).await;
        self.settle(changed, me, now)
    }

    /// Gives it back, so that the next one need not wait. Whether that succeeds does not matter: it runs out.
    pub(super) async fn give_back(&mut self, api: &Api) {
        let Some((me, _)) = self.held.take() else { return };
        if let Some((seen, _)) = self.seen.take().filter(|(seen, _)| seen.holder() == me) {
            let change = json!({
                "metadata": { "resourceVersion": seen.metadata.resource_version },
                "spec": { "holderIdentity": "" },
            });
            let _ = api.patch::<Value>(&self.path(NAME), &change, GOING).await;
        }
    }

    /// We may act until then: a third earlier than others may think that it has run out.
    fn until(&self, me: &str) -> Option<Instant> {
        let (_, renewed) = self.held.as_ref().filter(|(held, _)| held == me)?;
        Some(*renewed + self.length * 2 / 3)
    }

    fn settle(
        &mut self,
        changed: Result<Object, ApiError>,
        me: &str,
        now: Instant,
    ) -> Result<Turn, ApiError> {
        self.held = None;
        match changed {
            Ok(object) => {
                self.see(object, now);
                self.held = Some((me.to_owned(), now));
                Ok(Turn::Ours(now + self.length * 2 / 3))
            }
            // Another one was faster.
            Err(error) if error.is_conflict() => Ok(Turn::Others("another one".to_owned())),
            Err(error) => Err(error),
        }
    }

    fn see(&mut self, found: Object, now: Instant) -> Object {
        let same = |seen: &Object| seen.metadata.resource_version == found.metadata.resource_version;
        let since = self.seen.as_ref().filter(|(seen, _)| same(seen)).map_or(now, |(_, since)| *since);
        self.seen = Some((found.clone(), since));
        found
    }

    fn has_run_out(&self, now: Instant) -> bool {
        self.seen.as_ref().is_some_and(|(seen, since)| {
            let length = seen.spec.lease_duration_seconds.map_or(self.length, Duration::from_secs);
            now.duration_since(*since) >= length.clamp(SHORTEST, LONGEST)
        })
    }

    fn spec(&self, me: &str, transitions: u64, is_new: bool) -> Value {
        let now = micro_time();
        let mut spec = json!({
            "holderIdentity": me,
            // At least what is meant: it is in whole seconds.
            "leaseDurationSeconds": self.length.as_secs() + u64::from(self.length.subsec_nanos() > 0),
            "leaseTransitions": transitions,
            "renewTime": now,
        });
        if let (true, Some(spec)) = (is_new, spec.as_object_mut()) {
            spec.insert("acquireTime".to_owned(), now.into());
        }
        spec
    }

    fn path(&self, name: &str) -> String {
        let all = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace);
        if name.is_empty() { all } else { format!("{all}/{name}") }
    }
}

/// As Kubernetes writes its `MicroTime`.
fn micro_time() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Of the object.
const NAME: &str = "heartsay-taint";
/// Bounds of a length that another instance wrote: a slip there neither takes the lease nor keeps it.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// On the way out.
const GOING: Duration = Duration::from_secs(2);
