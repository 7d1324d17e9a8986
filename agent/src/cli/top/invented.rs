//! Invented clusters for the tests.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::facts::{Facts, News};
use super::model::Model;
use crate::types::{Finding, Member, PathRow, SelfInfo, Service, ServiceInstance, WatchLine};

/// Seconds after the beginning of all tests.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + second).unwrap()
}

pub(super) fn member(name: &str, status: &str, zone: &str) -> Member {
    serde_json::from_value(json!({
        "name": name, "host_id": "1", "generation": 1, "heartbeat": 1, "status": status,
        "address": "10.0.0.1:4327", "zone": zone, "tags": {}, "phi": 0.0, "since": at(0).to_string(),
        "reachable": true, "accusers": [],
    }))
    .unwrap()
}

pub(super) fn path(name: &str, state: &str) -> PathRow {
    let direction = (state == "down").then_some("both");
    serde_json::from_value(json!({
        "name": name, "id": "1", "address": "10.0.0.1:4327", "state": state, "direction": direction,
        "rtt_ms": 0.5, "last_direct_ms_ago": 1000,
    }))
    .unwrap()
}

pub(super) fn line(kind: &str, name: &str, second: i64) -> WatchLine {
    WatchLine {
        kind: kind.to_owned(),
        index: second.try_into().unwrap(),
        time: at(second).to_string(),
        name: Some(name.to_owned()),
        status: Some(kind.strip_prefix("member-").unwrap_or("alive").to_owned()),
        ..WatchLine::default()
    }
}

pub(super) fn finding(code: &str, severity: &str, of: Option<&str>, what: &str) -> Finding {
    Finding {
        code: code.to_owned(),
        severity: severity.to_owned(),
        of: of.map(str::to_owned),
        what: what.to_owned(),
        remedy: "mend it".to_owned(),
        since: Some(at(0).to_string()),
    }
}

pub(super) fn service(name: &str, member: &str, health: &str) -> Service {
    let instance = ServiceInstance {
        member: member.to_owned(),
        status: "alive".to_owned(),
        address: "10.0.0.1".to_owned(),
        port: Some(80),
        health: health.to_owned(),
        ..ServiceInstance::default()
    };
    Service { name: name.to_owned(), healthy: 1, known: 2, instances: vec![instance] }
}

/// The agent n1, which sees these.
pub(super) fn facts(members: Vec<Member>, findings: &[Finding]) -> Facts {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for member in &members {
        *counts.entry(&member.status).or_default() += 1;
    }
    let me: SelfInfo = serde_json::from_value(json!({
        "member": member("n1", "alive", "a"), "cluster": "shop", "profile": "lan", "bind": "10.0.0.1:4327", "pid": 1,
        "started": at(-100).to_string(), "encrypted": true, "joined": true, "isolated": false, "leaving": false,
        "local_health": 0, "peers_agreeing": 3, "peers_known": 3,
        "news_delay": { "median_seconds": 0.05, "slowest_seconds": 0.21, "beacons": 32 }, "counts": counts, "seeds": [], "conditions": [],
        "quorum": { "quorum": "held", "present": 3, "needed": 3, "expected": 5, "reason": "", "since": at(0).to_string() },
        "findings": findings, "version": { "version": "0.1.0", "protocol_min": 1, "protocol_max": 1 },
    }))
    .unwrap();
    Facts { me, index: 0, members, spelt: BTreeMap::new() }
}

/// `n1` to so many, in the zones a, b and c; all are well.
pub(super) fn members(number: usize) -> Vec<Member> {
    (1..=number).map(|n| member(&format!("n{n}"), "alive", ["a", "b", "c"][n % 3])).collect()
}

/// What the screen shows of these.
pub(super) fn seen(facts: Facts) -> Model {
    let mut model = Model::default();
    let paths = facts.members.iter().filter(|member| member.name != "n1");
    let paths = paths.map(|member| path(&member.name, "up")).collect();
    model.take(News::Facts(Box::new(facts)), at(1));
    model.take(News::Paths(paths), at(1));
    model.settle();
    model
}

/// All well.
pub(super) fn cluster(number: usize) -> Model {
    seen(facts(members(number), &[]))
}

/// Divisible by five, as the spans of a line are.
const BEGIN: i64 = 1_800_000_000;
