//! Prometheus: target groups, for `file_sd_configs` and `http_sd_configs`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::json::pretty;
use super::{Entry, Rendered};
use crate::export::Served;

pub(super) fn write(entries: &[Entry]) -> Rendered {
    let members = entries.iter().filter_map(Entry::socket_or_gossip).count();
    Rendered { bytes: pretty(&groups(entries)), members, left_out: entries.len() - members }
}

/// One group for each member, with what it says in labels that vanish unless they are relabelled.
pub(crate) fn groups(entries: &[Entry]) -> Value {
    let group = |entry: &Entry| {
        let target = entry.socket_or_gossip()?.to_string();
        Some(json!({ "targets": [target], "labels": labels(entry) }))
    };
    entries.iter().filter_map(group).collect()
}

fn labels(entry: &Entry) -> BTreeMap<String, &str> {
    let mut labels = BTreeMap::new();
    for (key, value) in &entry.tags {
        // Of two keys that become one, the first in order.
        labels.entry(format!("{PREFIX}tag_{}", label(key))).or_insert(value.as_str());
    }
    labels.insert(format!("{PREFIX}name"), entry.name.as_str());
    labels.insert(format!("{PREFIX}status"), entry.status.as_str());
    if let Some(zone) = &entry.zone {
        labels.insert(format!("{PREFIX}zone"), zone.as_str());
    }
    if let Some(Served { service, member, id, health, home: _ }) = &entry.served {
        let own = [("service", service.as_str()), ("member", member), ("id", id), ("health", health.word())];
        labels.extend(own.map(|(key, value)| (format!("{PREFIX}{key}"), value)));
    }
    labels
}

/// Labels have letters, digits and underscores.
fn label(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

const PREFIX: &str = "__meta_heartsay_";

#[cfg(test)]
mod tests {
    use super::super::tests::{HOSTILE, entry};
    use super::*;

    use crate::export::served::tests::served;

    #[test]
    fn a_group_for_each_member_with_its_tags_as_labels() {
        let mut told = entry("n1");
        told.tags = BTreeMap::from([("a-b".to_owned(), "1".to_owned()), ("a.b".to_owned(), "2".to_owned())]);
        told.zone = Some("east".to_owned());
        let labels = json!({
            "__meta_heartsay_name": "n1", "__meta_heartsay_status": "alive", "__meta_heartsay_tag_a_b": "1",
            "__meta_heartsay_zone": "east",
        });
        assert_eq!(groups(&[told]), json!([{ "targets": ["10.0.0.1:80"], "labels": labels }]));
        assert_eq!(groups(&[]), json!([]), "an empty list, and no null");
        let bare = Entry { port: None, ..entry("n1") };
        assert_eq!(groups(&[bare])[0]["targets"][0], "10.0.0.1:4327");
    }

    #[test]
    fn an_instance_says_of_which_service_it_is_and_one_without_a_port_is_left_out() {
        let one = served(&entry("n1"), "db", "2", 9187);
        let labels = json!({
            "__meta_heartsay_name": "n1-2", "__meta_heartsay_status": "alive", "__meta_heartsay_tag_role": "web",
            "__meta_heartsay_service": "db", "__meta_heartsay_member": "n1", "__meta_heartsay_id": "2",
            "__meta_heartsay_health": "passing",
        });
        assert_eq!(
            groups(std::slice::from_ref(&one)),
            json!([{ "targets": ["10.0.0.1:9187"], "labels": labels }])
        );
        let written = write(&[Entry { port: None, ..one }, entry("n1")]);
        assert_eq!((written.members, written.left_out), (1, 1));
    }

    #[test]
    fn no_text_becomes_a_target_or_a_label_of_another_kind() {
        for hostile in HOSTILE {
            let mut told = entry(hostile);
            told.tags.insert(hostile.to_owned(), hostile.to_owned());
            let read: Value = serde_json::from_slice(&write(&[told]).bytes).unwrap();
            assert_eq!(read[0]["targets"], json!(["10.0.0.1:80"]));
            assert_eq!(read[0]["labels"]["__meta_heartsay_name"], hostile);
            let labels = read[0]["labels"].as_object().unwrap();
            let fine = |label: &String| {
                label.starts_with(PREFIX) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            };
            assert!(labels.keys().all(fine), "{labels:?}");
        }
    }
}
