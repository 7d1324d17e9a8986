//! Pages: self-contained, the same bytes for the same seed, truthful about what they were made from.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use assert_cmd::Command;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("heartsay-report-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("writable");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover in the temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn sim(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("heartsay-sim").expect("built").args(arguments).output().expect("starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn page(arguments: &[&str], out: &str) -> String {
    let (code, _, err) = sim(&[&["report"], arguments, &["--out", out]].concat());
    assert_eq!(code, 0, "{arguments:?}: {err}");
    std::fs::read_to_string(Path::new(out)).expect("written")
}

#[test]
fn a_page_needs_no_network_and_is_the_same_twice() {
    let folder = Folder::new("twice");
    let arguments = [
        "crash",
        "--nodes",
        "8",
        "--seeds",
        "2",
        "--over",
        "protocol.phi-threshold=6,8",
        "--over",
        "network.loss=0,0.1",
        "--sizes",
        "4,8",
        "--sweep-seeds",
        "1",
    ];
    let html = page(&arguments, &folder.file("a.html"));
    assert_eq!(html, page(&arguments, &folder.file("b.html")));
    for word in ["http:", "https:", "<script", "<link", "url(", "@import", "src="] {
        assert!(!html.contains(word), "{word}");
    }
    for word in [
        "prefers-color-scheme: dark",
        "Members over time",
        "Phi of n",
        "Detection latency",
        "Dissemination",
        "Disagreement over time",
        "shipped default",
        "Sweep over nodes",
        "ChaCha8",
        "heartsay-sim report crash",
    ] {
        assert!(html.contains(word), "{word}");
    }
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    assert!(!html.contains("NaN") && !html.contains("inf\""), "every coordinate is a number");
}

#[test]
fn a_page_says_when_this_build_gives_another_trace() {
    let folder = Folder::new("recipe");
    let (_, json, _) = sim(&["run", "crash", "--nodes", "6", "--seeds", "1", "-o", "json", "--lenient"]);
    std::fs::write(folder.file("same.json"), &json).expect("writable");
    let trace = json.lines().find(|line| line.contains("\"trace\"")).expect("a trace");
    let other = json.replace(trace, "\"trace\": \"0000000000000000\",");
    std::fs::write(folder.file("other.json"), other).expect("writable");
    let same = page(&[&folder.file("same.json")], &folder.file("same.html"));
    assert!(same.contains("nodes=6") && !same.contains("otherwise than the build"));
    let other = page(&[&folder.file("other.json")], &folder.file("other.html"));
    assert!(other.contains("seeds 1 otherwise than the build"));
}

#[test]
fn a_page_says_what_became_of_quorum_where_members_vote() {
    let folder = Folder::new("quorum");
    let short = ["--nodes", "5", "--duration", "60s", "--set", "fault.0.for=10s", "--seeds", "1"];
    let html = page(&[&["partition"] as &[&str], &short].concat(), &folder.file("votes.html"));
    assert!(
        html.contains("Losses of quorum by healthy members 0 in") && html.contains("lost quorum after cut")
    );
    let html = page(&["crash", "--nodes", "4", "--seeds", "1"], &folder.file("none.html"));
    assert!(!html.contains("Losses of quorum"));
}

#[test]
fn wrong_arguments_are_refused_with_a_reason() {
    for (arguments, words) in [
        (&["report", "crahs"] as &[&str], "did you mean `crash`?"),
        (&["report", "crash", "--phi", "n1"], "write two members"),
        (&["report", "crash", "--phi", "n1,n999"], "two different members"),
        (&["report", "crash", "--seeds", "0"], "nothing to draw"),
        (&["report", "/does/not/exist.json"], "cannot read"),
        (&["report", "crash", "--over", "a=1", "--over", "b=1", "--over", "c=1"], "at most two"),
        (&["compare-detectors", "restart"], "model of a detector"),
        (&["one-link", "--days", "0"], "between 0.01 and 60"),
    ] {
        let (code, _, err) = sim(arguments);
        assert!(code != 0 && err.contains(words), "{arguments:?}: {code} {err}");
    }
}

#[test]
fn detectors_are_compared_in_one_table_and_one_link_gives_table_csv_and_svg() {
    let (code, out, err) = sim(&["compare-detectors", "crash", "--nodes", "8", "--seeds", "1"]);
    assert_eq!(code, 0, "{err}");
    for name in ["heartsay", "swim", "lifeguard", "fixed", "phi", "phi-exponential", "small models"] {
        assert!(out.contains(name), "{out}");
    }
    let go = |format| sim(&["one-link", "--days", "0.2", "-o", format]).1;
    assert!(go("table").contains("same mean detection time"));
    assert_eq!(go("csv").lines().count(), 66);
    assert!(go("svg").starts_with("<svg xmlns=") && go("svg") == go("svg"));
}

#[test]
fn recording_does_not_change_what_happens() {
    use heartsay_simulator::{
        run::{record, run_one},
        scenario::load,
        trace::Trace,
        world::World,
    };
    let scenario = load("crash", &["nodes=8".to_owned()]).expect("shipped");
    let recorded =
        World::new(&scenario, 5, Trace::new(None)).expect("starts").recorded(Some((0, 3))).run(&|_| {});
    assert_eq!(format!("{:016x}", recorded.trace), run_one(&scenario, 5, None).expect("runs").trace);
    let film = record(&scenario, 5, None).expect("runs");
    let (_, subject) = film.pair.expect("a member is struck");
    assert_eq!(film.lanes[subject].bands[0].what, "gone");
    assert!(film.phi.iter().any(|(_, phi)| *phi > 0.0) && film.lanes.len() == 8);
}
