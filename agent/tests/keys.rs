//! The key of a cluster of real agents is changed while it runs, with the commands that operators have.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use daemon::{Agent, plan};
use serde_json::Value;

#[test]
fn a_key_is_changed_by_add_use_and_remove_and_no_member_is_lost() {
    let cluster = Cluster::of(3, &format!("{}=\n", "A".repeat(43)));
    let old = cluster.agents[0].get("/v1/self")["keys"][0].as_u64().unwrap().to_string();
    let new = cluster.dir.path().join("new");
    private(&new, &format!("# of today\n{}=\n", "E".repeat(43)));
    let new = new.to_str().unwrap();

    cluster.says(0, &["keys", "add", new], 0, "added");
    let ids: Value = serde_json::from_slice(&cluster.run(0, &["keys", "list", "-o", "json"]).stdout).unwrap();
    let id = ids["keys"][1]["id"].to_string();
    cluster.agents[0].wait_for("it says who lacks the new key", |_| {
        let ids = cluster.run(0, &["keys", "list", "-o", "json"]);
        let ids: Value = serde_json::from_slice(&ids.stdout).unwrap();
        ids["keys"][1]["lacked_by"] == serde_json::json!(["n1", "n2"])
    });
    cluster.says(0, &["keys", "use", &id], 4, "n1, n2; add it there first");
    cluster.says(0, &["keys", "add", new], 1, "is in the key file already");
    cluster.says(1, &["keys", "add", new], 0, "added");
    cluster.says(2, &["keys", "add", new], 0, "added");
    cluster.wait_all("all have both", |keys| keys.len() == 2);
    for i in 0..3 {
        cluster.says(i, &["keys", "use", &id], 0, "used");
        if i == 0 {
            cluster.wait_seen(0, &id);
            cluster.says(0, &["keys", "remove", &old], 4, "let them use another first");
        }
    }
    cluster.wait_all("all send with the new one", |keys| keys[0].as_u64() == id.parse().ok());
    for i in 0..3 {
        cluster.says(i, &["keys", "remove", &old], 0, "removed");
    }
    cluster.wait_all("the old one is gone", |keys| keys.len() == 1);
    cluster.says(0, &["keys", "remove", &id, "--force"], 1, "would hold no key");
    cluster.is_whole();
    let file = cluster.key_file(0);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_plain_cluster_gets_its_first_key_without_a_restart() {
    let key = format!("{}=\n", "A".repeat(43));
    let cluster = Cluster::plain(3);
    for i in 0..3 {
        private(&cluster.key_file(i), &format!("plain\n{key}"));
        fs::write(cluster.config(i), format!("key_file = {:?}\n", cluster.key_file(i).to_str().unwrap()))
            .unwrap();
        let done = cluster.agents[i].post("/v1/reload", "").json();
        assert_eq!(done["changed"], serde_json::json!(["key_file"]), "{done}");
    }
    cluster.wait_all("all open both", |keys| keys.len() == 2 && keys[0] == 0);
    let id = cluster.agents[0].get("/v1/self")["keys"][1].to_string();
    for i in 0..3 {
        cluster.says(i, &["keys", "use", &id], 0, "used");
    }
    cluster.wait_all("all seal", |keys| keys[0].as_u64() == id.parse().ok());
    for i in 0..3 {
        cluster.says(i, &["keys", "remove", "plain"], 0, "plain: removed");
    }
    cluster.wait_all("none takes plain datagrams", |keys| keys.len() == 1);
    assert_eq!(cluster.agents[2].get("/v1/self")["encrypted"], true);
    cluster.is_whole();
}

struct Cluster {
    dir: tempfile::TempDir,
    agents: Vec<Agent>,
}

impl Cluster {
    fn of(count: usize, keys: &str) -> Self {
        Self::started(count, Some(keys))
    }

    fn plain(count: usize) -> Self {
        Self::started(count, None)
    }

    fn started(count: usize, keys: Option<&str>) -> Self {
        let mut cluster = Self { dir: tempfile::tempdir().unwrap(), agents: Vec::new() };
        for i in 0..count {
            let (config, key_file) = (cluster.config(i), cluster.key_file(i));
            let mut text = String::new();
            if let Some(keys) = keys {
                private(&key_file, keys);
                text = format!("key_file = {:?}\n", key_file.to_str().unwrap());
            }
            fs::write(&config, text).unwrap();
            let mut plan = plan(&format!("n{i}")).flags(&["--config", config.to_str().unwrap()]);
            if let Some(first) = cluster.agents.first() {
                plan = plan.seed(&first.address());
            }
            cluster.agents.push(plan.start());
        }
        for agent in &cluster.agents {
            (0..count).for_each(|i| agent.wait_status(&format!("n{i}"), "alive"));
        }
        cluster
    }

    fn config(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("n{i}.toml"))
    }

    fn key_file(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("n{i}.keys"))
    }

    fn run(&self, i: usize, words: &[&str]) -> Output {
        let socket = self.agents[i].plan.socket();
        let heartsay = env!("CARGO_BIN_EXE_heartsay");
        Command::new(heartsay).arg("--socket").arg(socket).args(words).output().unwrap()
    }

    fn says(&self, i: usize, words: &[&str], code: i32, what: &str) {
        let output = self.run(i, words);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            output.status.code() == Some(code) && text.contains(what),
            "{words:?}: {} {text}",
            output.status
        );
    }

    /// Waits until every agent sees that in every record.
    fn wait_all(&self, what: &str, fits: impl Fn(&[Value]) -> bool) {
        for agent in &self.agents {
            agent.wait_for(what, |agent| {
                let members = agent.get("/v1/members")["members"].clone();
                members
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|m| m["keys"].as_array().is_some_and(|keys| fits(keys)))
            });
        }
    }

    fn wait_seen(&self, i: usize, id: &str) {
        let name = format!("n{i}");
        for agent in &self.agents {
            agent.wait_for("its record says so", |agent| {
                agent.get(&format!("/v1/members/{name}"))["keys"][0].as_u64() == id.parse().ok()
            });
        }
    }

    /// No datagram was refused for its key, and no member was called down.
    fn is_whole(&self) {
        for agent in &self.agents {
            let refused = agent.get("/v1/stats")["rejected"].clone();
            for reason in ["unknown-key", "unauthentic", "plain-but-keyed", "sealed-but-no-key"] {
                assert!(refused[reason].is_null(), "{reason}: {refused}");
            }
            assert_eq!(agent.get("/v1/self")["counts"]["alive"], self.agents.len());
            assert!(!agent.log().contains("member-down"), "{}", agent.log());
        }
    }
}

fn private(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}
