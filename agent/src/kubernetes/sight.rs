//! What the agent says, and whether it is to be acted on.

use std::time::Duration;

use tokio::time::Instant;

use super::plan::Wanted;
use crate::client::{Client, ClientError};
use crate::types::{Members, SelfInfo};

/// An agent that may be acted on.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// Its own name.
    pub(super) name: String,
    /// Its proof of a majority lasts until then.
    pub(super) until: Instant,
}

/// Why there is nothing to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// In words.
    pub(super) why: String,
    /// No agent has answered.
    pub(super) silent: bool,
}

/// Asks the agent how it stands.
pub(super) async fn standing(client: &Client) -> Result<Standing, Doubt> {
    // The proof counts from before the question, so it never lasts longer than it does.
    let asked = Instant::now();
    let me: SelfInfo = client.read_within("/v1/self", PATIENCE).await.map_err(|error| silent(&error))?;
    let left = believed(&me).map_err(doubt)?;
    Ok(Standing { name: me.member.name, until: asked + left })
}

/// Asks the agent for the members.
pub(super) async fn wanted(client: &Client) -> Result<Wanted, Doubt> {
    let all: Members = client.read_within("/v1/members", PATIENCE).await.map_err(|error| silent(&error))?;
    if !all.joined || all.isolated {
        return Err(doubt("the agent is not in the cluster, or isolated".to_owned()));
    }
    let rows = all.members.iter().map(|member| {
        let tag = member.tags.get("node").map(String::as_str);
        (member.name.as_str(), member.status.as_str(), tag)
    });
    Ok(Wanted::of(rows))
}

/// How long its view is to be believed; or why it is not.
fn believed(me: &SelfInfo) -> Result<Duration, String> {
    if !me.joined || me.leaving {
        return Err("the agent is not in the cluster, or not yet".to_owned());
    }
    if let Some(outside) = &me.outside {
        return Err(format!("the others do not count the agent: {}", outside.reason));
    }
    if me.isolated {
        return Err("the agent is isolated: most others look silent at once".to_owned());
    }
    let left = me.quorum.left_seconds.and_then(|left| Duration::try_from_secs_f64(left).ok());
    match left.filter(|left| me.quorum.quorum == "held" && !left.is_zero()) {
        Some(left) => Ok(left.min(LONGEST)),
        None => Err(format!("the agent does not hold quorum: {}", me.quorum.reason)),
    }
}

fn doubt(why: String) -> Doubt {
    Doubt { why, silent: false }
}

fn silent(error: &ClientError) -> Doubt {
    Doubt { why: format!("the agent does not answer: {error}"), silent: true }
}

/// With the agent, which is on this host.
const PATIENCE: Duration = Duration::from_secs(2);
/// However long a proof is said to last.
const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn agent(change: &[(&str, Value)]) -> SelfInfo {
        let member = json!({
            "name": "a", "host_id": "1", "generation": 1, "heartbeat": 1, "status": "alive", "address": "10.0.0.1:1",
            "zone": null, "tags": {}, "phi": 0.0, "since": "", "reachable": null, "accusers": [],
        });
        let quorum = json!({
            "quorum": "held", "present": 2, "needed": 2, "expected": 3, "reason": "why", "since": "", "left_seconds": 2.5,
        });
        let mut me = json!({
            "member": member, "cluster": "c", "profile": "lan", "bind": "", "pid": 1, "started": "", "encrypted": false,
            "joined": true, "isolated": false, "leaving": false, "local_health": 0, "peers_agreeing": 1, "peers_known": 1,
            "counts": {}, "quorum": quorum, "seeds": [], "conditions": [],
            "version": { "version": "0", "protocol_min": 1, "protocol_max": 1 },
        });
        for (at, value) in change {
            me.pointer_mut(at).map(|place| *place = value.clone()).unwrap_or_else(|| {
                me[at.trim_start_matches('/')] = value.clone();
            });
        }
        serde_json::from_value(me).unwrap()
    }

    #[test]
    fn an_agent_is_believed_while_it_is_inside_and_has_proof_of_a_majority() {
        assert_eq!(believed(&agent(&[])), Ok(Duration::from_millis(2500)));
        let outside = json!({ "why": "down", "by": [], "since": "", "reason": "", "advice": "" });
        for (at, value) in [
            ("/joined", json!(false)),
            ("/leaving", json!(true)),
            ("/isolated", json!(true)),
            ("/outside", outside),
            ("/quorum/quorum", json!("lost")),
            ("/quorum/quorum", json!("unsettled")),
            ("/quorum/left_seconds", Value::Null),
            ("/quorum/left_seconds", json!(-1.0)),
        ] {
            assert!(believed(&agent(&[(at, value.clone())])).is_err(), "{at} {value}");
        }
    }
}
