//! Envoy: the answer of an endpoint discovery service (EDS), as its file subscription reads it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::json::pretty;
use super::{Entry, Rendered, Shape};

pub(super) fn write(shape: &Shape, entries: &[Entry]) -> Rendered {
    let mut zones: BTreeMap<Option<&str>, Vec<Value>> = BTreeMap::new();
    for entry in entries {
        if let Some(port) = entry.port {
            let address = json!({ "address": entry.address, "port_value": port });
            let endpoint = json!({ "endpoint": { "address": { "socket_address": address } } });
            zones.entry(entry.zone.as_deref()).or_default().push(endpoint);
        }
    }
    let members = zones.values().map(Vec::len).sum();
    let endpoints = zones.into_iter().map(|(zone, endpoints)| match zone {
        Some(zone) => json!({ "locality": { "zone": zone }, "lb_endpoints": endpoints }),
        None => json!({ "lb_endpoints": endpoints }),
    });
    let assignment = json!({
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": shape.name,
        "endpoints": endpoints.collect::<Value>(),
    });
    // Shown by Envoy, so that one can see which list it has.
    let version = format!("{:08x}", crc32fast::hash(assignment.to_string().as_bytes()));
    let answer = json!({ "version_info": version, "resources": [assignment] });
    Rendered { bytes: pretty(&answer), members, left_out: entries.len() - members }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HOSTILE, entry, shape};
    use super::*;

    fn read(entries: &[Entry]) -> Value {
        serde_json::from_slice(&write(&shape(), entries).bytes).unwrap()
    }

    #[test]
    fn endpoints_stand_in_their_zones() {
        let east = Entry { zone: Some("east".to_owned()), ..entry("b") };
        let answer = read(&[entry("a"), east]);
        let cluster = &answer["resources"][0];
        assert_eq!(cluster["cluster_name"], "web");
        let socket = json!({ "address": "10.0.0.1", "port_value": 80 });
        let endpoints = json!([{ "endpoint": { "address": { "socket_address": socket } } }]);
        let east = json!({ "locality": { "zone": "east" }, "lb_endpoints": endpoints });
        assert_eq!(cluster["endpoints"], json!([{ "lb_endpoints": endpoints }, east]));
        assert_ne!(read(&[entry("a")])["version_info"], answer["version_info"]);
    }

    #[test]
    fn a_zone_is_a_text_whatever_it_says() {
        for hostile in HOSTILE {
            let told = Entry { zone: Some(hostile.to_owned()), ..entry(hostile) };
            let cluster = &read(&[told])["resources"][0];
            assert_eq!(cluster["endpoints"][0]["locality"]["zone"], hostile);
            assert_eq!(cluster["endpoints"].as_array().map(Vec::len), Some(1), "{hostile:?}");
        }
    }
}
