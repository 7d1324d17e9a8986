//! Lists of members, or of instances of a service, for programs that ask for them.

use std::mem::take;

use axum::Json;
use axum::extract::{Query, State};
use serde_json::Value;

use super::filter::{self, MemberFilter};
use super::{App, Problem};
use crate::export::doubt::Sight;
use crate::export::format::prometheus_groups;
use crate::export::{Port, Select, entries, seen};

/// Targets for `http_sd_configs`. An error while the view is not to be believed: Prometheus then keeps the targets that it has.
pub(super) async fn prometheus(
    State(app): State<App>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, Problem> {
    filter::check_number(&query)?;
    let Understood { members, select, port } = understood(&query)?;
    let view = app.whole().await?;
    if let Some(doubt) = Sight::of(&view, app.has_joined(&view)).doubt() {
        return Err(Problem::unavailable(format!("keep the targets that you have: {doubt}")));
    }
    let members = view.members.iter().filter(|view| members.takes(view));
    let (entries, _) = entries(seen(members, select.service.as_ref()), &select, &port);
    Ok(Json(prometheus_groups(&entries)))
}

/// What is asked for.
struct Understood {
    /// What a list in a file does not know: the version and the load.
    members: MemberFilter,
    select: Select,
    port: Port,
}

fn understood(query: &[(String, String)]) -> Result<Understood, Problem> {
    let (mut filter, mut select, mut port) = (MemberFilter::default(), Select::default(), Port::None);
    for (key, value) in query {
        let wrong = |problem: String| Problem::bad_request(format!("{key} {problem}"));
        match key.as_str() {
            _ if filter.add(key, value)? => {}
            "zone" => select.zones.push(value.clone()),
            "port" => port = value.parse().map_err(|e| wrong(format!("{value:?} {e}")))?,
            "service" => select.service = Some(value.parse().map_err(Problem::bad_request)?),
            "health" => select.health.push(value.parse().map_err(Problem::bad_request)?),
            _ => {
                let known = "health, max_load, port, service, status, tag, version and zone";
                return Err(wrong(format!("is not understood; known are {known}")));
            }
        }
    }
    // An instance has tags that its member has not.
    (select.statuses, select.tags) = (take(&mut filter.statuses), take(&mut filter.tags));
    Ok(Understood { members: filter, select, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::services::Health;

    #[test]
    fn a_query_says_which_members_and_which_port() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let query = [("port", "9100"), ("tag", "role=web"), ("zone", "east"), ("status", "alive")];
        let Understood { members, select, port } = understood(&pairs(&query)).unwrap();
        assert_eq!(port, Port::Fixed(9100));
        assert_eq!((select.statuses.len(), select.tags.len(), select.zones.len()), (1, 1, 1));
        assert_eq!((members.statuses.len(), members.tags.len()), (0, 0), "they are asked of entries");
        let query = [("health", "warning"), ("service", "db"), ("version", "1"), ("max_load", "75")];
        let Understood { members, select, .. } = understood(&pairs(&query)).unwrap();
        assert_eq!((members.version.as_deref(), members.max_load), (Some("1"), Some(75)));
        assert_eq!((select.service, select.health), ("db".parse().ok(), vec![Health::Warning]));
        for wrong in [
            ("port", "0"),
            ("status", "up"),
            ("tag", "=x"),
            ("ports", "1"),
            ("service", "Db"),
            ("health", "ill"),
        ] {
            assert!(understood(&pairs(&[wrong])).is_err(), "{wrong:?}");
        }
    }
}
