//! What the stories ask of the crate.

use std::process::Stdio;
use std::sync::mpsc::Sender;
use std::time::Duration;

use heartsay_client::types::RegisterRequest;
use heartsay_client::{Client, ClientError, Filter, HistoryFilter};
use serde_json::{Value, json};

use super::pass_on;

pub(crate) async fn run(client: &Client, words: &[String], to: &Sender<String>) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let say = |what: Value| to.send(what.to_string()).unwrap();
    match words.as_slice() {
        ["ask", one, other] => say(ask(client, one, other).await.unwrap()),
        ["watch", types @ ..] => {
            let mut follow = client.follow(types.iter().fold(Filter::new(), |all, kind| all.kind(kind)));
            loop {
                let line = follow.line().await.unwrap();
                say(
                    json!({ "type": line.kind, "index": line.index, "name": line.name, "generation": line.generation }),
                );
            }
        }
        ["wait", count, seconds] => {
            let waiting = client.wait(|view| {
                let db = view
                    .with_status("alive")
                    .filter(|(_, seen)| seen.tags.get("role").is_some_and(|role| role == "db"));
                db.count().to_string() == *count && view.joined && view.holds_quorum()
            });
            let limit = Duration::from_secs_f64(seconds.parse().unwrap());
            let met = tokio::time::timeout(limit, waiting).await.map(Result::unwrap).is_ok();
            to.send(if met { "met" } else { "time is up" }.to_owned()).unwrap();
        }
        ["register", name, port] => {
            let tags = [("v".to_owned(), "1".to_owned())].into();
            let (name, port) = ((*name).to_owned(), port.parse().ok());
            let wish = RegisterRequest { name, port, tags, ..RegisterRequest::default() };
            let ClientError::Refused(problem) = client.register(&wish).await else { panic!("not refused") };
            to.send(format!("refused {}", problem.status)).unwrap();
        }
        ["guard", command @ ..] => loop {
            let (output, input) = std::io::pipe().unwrap();
            pass_on(output, to.clone());
            let guarded = client.guard(command, Duration::from_secs(5), |command| {
                command.stdout(Stdio::from(input));
            });
            if let Some(status) = guarded.await.unwrap() {
                to.send(format!("ended with {}", status.code().unwrap())).unwrap();
                return;
            }
        },
        other => panic!("{other:?}"),
    }
}

async fn ask(client: &Client, one: &str, other: &str) -> Result<Value, ClientError> {
    let names =
        |all: heartsay_client::types::Members| all.members.into_iter().map(|m| m.name).collect::<Vec<_>>();
    let web = Filter::new().tag("role=web").status("alive").status("suspect");
    let one = client.member(one).await?.unwrap();
    let refused = client.members(&Filter::new().status("wrong")).await;
    let Err(ClientError::Refused(problem)) = refused else { panic!("{refused:?}") };
    let joins = HistoryFilter::new().member(&one.name).kind("member-join");
    let history: Vec<String> =
        client.history(&joins).await?.entries.into_iter().map(|e| e.event.kind).collect();
    Ok(json!({
        "members": names(client.members(&Filter::new()).await?), "web": names(client.members(&web).await?),
        "evidence": one.evidence.unwrap().phi_threshold, "one": one.status, "other": client.member(other).await?,
        "me": client.me().await?.member.name, "quorum": client.quorum().await?.quorum,
        "history": history, "refused": [problem.status, problem.detail],
    }))
}
