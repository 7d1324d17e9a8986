//! Nodes, as far as taints are concerned.

use serde::Deserialize;
use serde_json::{Value, json};

/// A page of `GET /api/v1/nodes`.
#[derive(Debug, Deserialize)]
pub(super) struct NodeList {
    /// Where the next page begins.
    #[serde(default)]
    pub(super) metadata: ListMeta,
    /// The nodes of this page.
    pub(super) items: Vec<Node>,
}

/// Of a list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListMeta {
    /// Absent or empty on the last page.
    #[serde(default, rename = "continue")]
    pub(super) next: Option<String>,
}

/// One node.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Node {
    /// Its name, and its version.
    pub(super) metadata: Meta,
    #[serde(default)]
    spec: Spec,
}

/// Of any object.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    /// Unique among its kind.
    pub(super) name: String,
    /// Another one after each change.
    pub(super) resource_version: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Spec {
    /// As they are, since a patch has to give back those of others unchanged.
    #[serde(default)]
    taints: Option<Vec<Value>>,
}

/// Whether a node has the taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It has not.
    Free,
    /// As this program puts it there.
    Ours,
    /// Somebody gave it a value. A node has one taint of each key and effect, so nothing is to be done there.
    Others,
}

impl Node {
    /// Whether it has the taint `key`.
    pub(super) fn mark(&self, key: &str) -> Mark {
        match self.taints().find(|taint| is_of(taint, key)) {
            Some(taint) if is_ours(taint, key) => Mark::Ours,
            Some(_) => Mark::Others,
            None => Mark::Free,
        }
    }

    /// The change that puts the taint there; `now` is for people who read it.
    pub(super) fn tainted(&self, key: &str, now: &str) -> Value {
        let ours = json!({ "key": key, "effect": EFFECT, "timeAdded": now });
        self.change(&self.taints().cloned().chain([ours]).collect::<Vec<_>>())
    }

    /// The change that takes it off.
    pub(super) fn untainted(&self, key: &str) -> Value {
        self.change(&self.taints().filter(|taint| !is_ours(taint, key)).cloned().collect::<Vec<_>>())
    }

    fn taints(&self) -> impl Iterator<Item = &Value> {
        self.spec.taints.iter().flatten()
    }

    /// A merge patch replaces lists as a whole, so it holds for this version of the node alone.
    fn change(&self, taints: &[Value]) -> Value {
        json!({
            "metadata": { "resourceVersion": self.metadata.resource_version },
            "spec": { "taints": taints },
        })
    }
}

fn is_of(taint: &Value, key: &str) -> bool {
    let field = |name: &str| taint.get(name).and_then(Value::as_str);
    field("key") == Some(key) && field("effect") == Some(EFFECT)
}

fn is_ours(taint: &Value, key: &str) -> bool {
    let value = taint.get("value").and_then(Value::as_str).unwrap_or_default();
    is_of(taint, key) && value.is_empty()
}

/// Pods without a toleration are evicted.
pub(super) const EFFECT: &str = "NoExecute";

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "heartsay.io/down";

    fn node(taints: &Value) -> Node {
        let meta = json!({ "name": "n", "resourceVersion": "7", "labels": {} });
        serde_json::from_value(json!({ "metadata": meta, "spec": { "taints": taints }, "status": {} }))
            .unwrap()
    }

    #[test]
    fn only_the_taint_without_a_value_is_ours() {
        for (taints, mark) in [
            (Value::Null, Mark::Free),
            (json!([{ "key": KEY, "effect": "NoExecute" }]), Mark::Ours),
            (json!([{ "key": KEY, "effect": "NoExecute", "value": "", "timeAdded": "x" }]), Mark::Ours),
            (json!([{ "key": KEY, "effect": "NoExecute", "value": "mine" }]), Mark::Others),
            (json!([{ "key": KEY, "effect": "NoSchedule" }]), Mark::Free),
            (json!([{ "key": "other", "effect": "NoExecute" }]), Mark::Free),
        ] {
            assert_eq!(node(&taints).mark(KEY), mark, "{taints}");
        }
    }

    #[test]
    fn those_of_others_stay_as_they_are() {
        let others =
            json!([{ "key": "a", "effect": "NoExecute", "new": 1 }, { "key": KEY, "effect": "NoSchedule" }]);
        let put = node(&others).tainted(KEY, "now");
        assert_eq!(put["metadata"], json!({ "resourceVersion": "7" }));
        let taints = put["spec"]["taints"].clone();
        assert_eq!(taints[2], json!({ "key": KEY, "effect": "NoExecute", "timeAdded": "now" }));
        assert_eq!(node(&taints).untainted(KEY)["spec"]["taints"], others);
    }
}
