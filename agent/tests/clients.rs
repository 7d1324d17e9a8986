//! The clients for Python, Go, Node and Rust, each against a live agent that is killed and restarted under it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

#[path = "clients/program.rs"]
mod crate_program;
mod daemon;
mod relay;
mod skipped;

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use daemon::{Agent, pair, plan};
use heartsay_client::Client;
use nix::sys::signal::Signal;
use relay::Relay;
use serde_json::{Value, json};
use skipped::skipped;
use tokio::sync::oneshot;

/// The same stories in each language.
macro_rules! in_each_language {
    ($($story:ident),*) => {
        mod rust { $(#[test] fn $story() { crate::told_in(&crate::RUST, crate::$story); })* }
        mod python { $(#[test] fn $story() { crate::told_in(&crate::PYTHON, crate::$story); })* }
        mod go { $(#[test] fn $story() { crate::told_in(&crate::GO, crate::$story); })* }
        mod node { $(#[test] fn $story() { crate::told_in(&crate::NODE, crate::$story); })* }
    };
}

in_each_language!(
    questions_are_answered,
    no_event_is_lost_or_told_twice_and_what_cannot_be_resumed_is_told,
    a_condition_is_waited_for_over_a_restart,
    a_guarded_command_runs_only_while_quorum_is_held,
    a_service_is_registered_as_long_as_its_program_runs,
    the_example_of_the_documentation_works
);

fn told_in(language: &LazyLock<Option<Language>>, story: fn(&Language)) {
    match &**language {
        Some(language) => story(language),
        None => skipped("its language is not installed, or too old"),
    }
}

fn questions_are_answered(language: &Language) {
    let (a, _b) = pair();
    a.wait_for("quorum is held", |a| a.get("/v1/quorum")["quorum"] == "held");
    let answer = language.run(&a, &["ask", "b", "no/body?"]).line();
    let refused = a.ask("GET", "/v1/members?status=wrong", "", "").problem(400);
    let threshold = &a.get("/v1/members/b")["evidence"]["phi_threshold"];
    let expected = json!({
        "members": ["a", "b"], "web": ["a"], "evidence": threshold, "one": "alive", "other": null, "me": "a", "quorum": "held",
        "history": ["member-join"], "refused": [400, refused],
    });
    assert_eq!(answer.as_f64_everywhere(), expected.as_f64_everywhere());
}

fn no_event_is_lost_or_told_twice_and_what_cannot_be_resumed_is_told(language: &Language) {
    let mut agent = plan("a").start();
    let relay = Relay::to(&agent.plan.socket());
    let mut reader = Reader::of(language.start(&relay.socket, &["watch"]));
    let first = reader.snapshot();
    tag(&agent, 5);
    reader.reads_on_to(&agent);

    // It has half a line, and then no agent for a while.
    relay.cut_in_the_next_line();
    tag(&agent, 5);
    relay.mend();
    tag(&agent, 5);
    reader.reads_on_to(&agent);

    agent = agent.restart();
    let second = reader.starts_over();
    assert_ne!(first, second, "another life");
    tag(&agent, 5);
    reader.reads_on_to(&agent);

    // More than the agent keeps.
    relay.cut_in_the_next_line();
    tag(&agent, 4200);
    relay.mend();
    assert_eq!(reader.starts_over(), second);
    tag(&agent, 5);
    reader.reads_on_to(&agent);

    // Only what is asked for.
    let mut filtered = Reader::of(language.start(&relay.socket, &["watch", "member-down", "quorum"]));
    filtered.snapshot();
    tag(&agent, 5);
    let b = plan("b").seed(&agent.address()).start();
    agent.wait_status("b", "alive");
    drop(b);
    loop {
        let line = filtered.program.line();
        if line["type"] == "member-down" {
            assert_eq!(line["name"], "b");
            return;
        }
        assert!(line["type"] == "quorum" || line["type"] == "idle", "{line}");
    }
}

fn a_condition_is_waited_for_over_a_restart(language: &Language) {
    let absent = plan("a").flags(&["--expected", "2"]);
    let mut waiting = language.start(&absent.socket(), &["wait", "1", "60"]);
    let a = absent.start().restart();
    assert_eq!(language.run(&a, &["wait", "1", "0.5"]).text(), "time is up");
    let _b = plan("b").flags(&["--expected", "2", "--tag", "role=db"]).seed(&a.address()).start();
    assert_eq!(waiting.text(), "met");
    assert_eq!(language.run(&a, &["wait", "1", "60"]).text(), "met");
}

fn a_guarded_command_runs_only_while_quorum_is_held(language: &Language) {
    let mut agent = plan("a").flags(&["--expected", "1"]).start();
    assert_eq!(language.run(&agent, &["guard", "sh", "-c", "exit 3"]).text(), "ended with 3");

    // The shell is not the only one of its group.
    let script = r#"trap 'echo stop; exit' TERM; echo start; while :; do sleep 0.05; done"#;
    let mut program = language.run(&agent, &["guard", "sh", "-c", script]);
    assert_eq!(program.text(), "start");
    agent.kill();
    assert_eq!(program.text(), "stop");
    agent = agent.again();
    assert_eq!(program.text(), "start");
    agent.freeze();
    assert_eq!(program.text(), "stop", "the agent stands still");
    agent.signal(Signal::SIGCONT);
    assert_eq!(program.text(), "start");
    (program.kill)();
    assert_eq!(program.text(), "stop", "the guard is gone");
    program.ends();
}

fn a_service_is_registered_as_long_as_its_program_runs(language: &Language) {
    let mut agent = plan("a").start();
    let mut program = language.run(&agent, &["register", "db", "5432"]);
    let is_there = |agent: &Agent| agent.try_get("/v1/services/db").is_some();
    agent.wait_for("it is registered", is_there);
    let one = agent.get("/v1/services/db")["instances"][0].clone();
    assert_eq!((&one["port"], &one["tags"]), (&json!(5432), &json!({ "v": "1" })));
    assert_eq!(language.run(&agent, &["register", "db", "1"]).text(), "refused 409");
    agent = agent.restart();
    agent.wait_for("it is registered again", is_there);
    (program.kill)();
    agent.wait_for("it is gone with its program", |agent| !is_there(agent));
}

fn the_example_of_the_documentation_works(language: &Language) {
    let page = include_str!("../../docs/clients.md");
    // That of the crate is compiled with it, and compared by the tests of the documentation.
    let Some(make) = language.make else { return };
    let fence = format!("```{}\n", language.fence);
    let example = page.split_once(&fence).unwrap().1.split_once("```").unwrap().0;
    assert!(example.lines().count() <= language.longest_example, "{example}");
    let (a, b) = pair();
    let dir = tempfile::tempdir().unwrap();
    let mut command = make(dir.path(), example);
    let mut program = Program::start(command.env("HEARTSAY_SOCKET", a.plan.socket()), dir);
    assert_eq!(program.text(), format!("a at {}", a.address()));
    let metrics = |a: &Agent| a.ask("GET", "/metrics", "", "").body;
    a.wait_for("it follows", |a| {
        metrics(a).lines().any(|line| line.starts_with("heartsay_api_streams") && !line.ends_with(" 0"))
    });
    drop(b);
    let line = program.text();
    assert!(line.starts_with("b is down: "), "{line}");
}

/// Changes a tag of the agent this often: an event each.
fn tag(agent: &Agent, times: u32) {
    let before = agent.get("/v1/members")["index"].as_u64().unwrap();
    for n in 1..=u64::from(times) {
        let answer = agent.post("/v1/tags", &json!({ "set": { "n": (before + n).to_string() } }).to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// What a program under test reads of the stream, in which each index comes once.
struct Reader {
    program: Program,
    at: u64,
}

impl Reader {
    fn of(program: Program) -> Self {
        Self { program, at: 0 }
    }

    /// The first line; the life of the agent.
    fn snapshot(&mut self) -> u64 {
        let line = self.program.line();
        assert_eq!(line["type"], "snapshot", "{line}");
        self.at = line["index"].as_u64().unwrap();
        line["generation"].as_u64().unwrap()
    }

    /// Each event, once and in order, up to the last that the agent has told.
    fn reads_on_to(&mut self, agent: &Agent) {
        let newest = agent.get("/v1/members")["index"].as_u64().unwrap();
        while self.at < newest {
            let line = self.program.line();
            if line["type"] == "idle" {
                continue;
            }
            assert!(line["type"] != "snapshot" && line["type"] != "lagged", "{line} after {}", self.at);
            assert_eq!(line["index"], self.at + 1, "{line}");
            self.at += 1;
        }
    }

    /// After what comes before the break, it is told that it lags, once, and gets a new snapshot.
    fn starts_over(&mut self) -> u64 {
        loop {
            let line = self.program.line();
            match line["type"].as_str().unwrap() {
                "idle" => {}
                "lagged" => {
                    assert_eq!(line["index"], self.at, "{line}");
                    return self.snapshot();
                }
                _ => {
                    assert_eq!(line["index"], self.at + 1, "{line}");
                    self.at += 1;
                }
            }
        }
    }
}

/// A running program; killed when the test lets go of it.
struct Program {
    kill: Box<dyn FnMut()>,
    lines: Receiver<String>,
    _dir: Option<tempfile::TempDir>,
}

impl Program {
    fn start(command: &mut Command, dir: tempfile::TempDir) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, lines) = channel();
        pass_on(child.stdout.take().unwrap(), to);
        let kill = Box::new(move || {
            let _ = child.kill();
            let _ = child.wait();
        });
        Self { kill, lines, _dir: Some(dir) }
    }

    /// The crate needs no program of its own: a task of this one, which ends where it stands.
    fn start_task(socket: &Path, words: &[&str]) -> Self {
        let client = Client::new(socket.to_str());
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let ((to, lines), (stop, stopped)) = (channel(), oneshot::channel::<()>());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = crate_program::run(&client, &words, &to) => {}
                    _ = stopped => {}
                }
            });
        });
        let mut stop = Some(stop);
        Self { kill: Box::new(move || drop(stop.take())), lines, _dir: None }
    }

    #[track_caller]
    fn text(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("another line in time")
    }

    fn line(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).expect(&text)
    }

    /// No process of it has its output any more.
    fn ends(&mut self) {
        assert!(
            self.lines
                .recv_timeout(PATIENCE)
                .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Disconnected)
        );
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        (self.kill)();
    }
}

fn pass_on(output: impl Read + Send + 'static, to: Sender<String>) {
    let output = BufReader::new(output);
    thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
}

struct Language {
    /// As it is written behind the three ticks of an example.
    fence: &'static str,
    longest_example: usize,
    /// Lays a program beside the client; what runs it.
    make: Option<fn(&Path, &str) -> Command>,
    /// Of agent/tests/clients.
    program: PathBuf,
}

impl Language {
    /// Runs the test program with these words.
    fn start(&self, socket: &Path, words: &[&str]) -> Program {
        let Some(make) = self.make else { return Program::start_task(socket, words) };
        let dir = tempfile::tempdir().unwrap();
        let mut command = make(dir.path(), &fs::read_to_string(&self.program).unwrap());
        Program::start(command.arg(socket).args(words), dir)
    }

    fn run(&self, agent: &Agent, words: &[&str]) -> Program {
        self.start(&agent.plan.socket(), words)
    }
}

static RUST: LazyLock<Option<Language>> = LazyLock::new(|| {
    Some(Language { fence: "rust", longest_example: 20, make: None, program: PathBuf::new() })
});

static PYTHON: LazyLock<Option<Language>> = LazyLock::new(|| {
    let works =
        succeeds(Command::new("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]));
    works.then(|| Language {
        fence: "python",
        longest_example: 10,
        program: here("tests/clients/program.py"),
        make: Some(|dir, program| {
            fs::copy(here("clients/python/heartsay.py"), dir.join("heartsay.py")).unwrap();
            fs::write(dir.join("program.py"), program).unwrap();
            let mut command = Command::new("python3");
            command.arg("-u").arg(dir.join("program.py"));
            command
        }),
    })
});

static NODE: LazyLock<Option<Language>> = LazyLock::new(|| {
    let works = succeeds(
        Command::new("node").args(["-e", "process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)"]),
    );
    works.then(|| Language {
        fence: "js",
        longest_example: 10,
        program: here("tests/clients/program.mjs"),
        make: Some(|dir, program| {
            fs::copy(here("clients/node/heartsay.mjs"), dir.join("heartsay.mjs")).unwrap();
            fs::write(dir.join("program.mjs"), program).unwrap();
            let mut command = Command::new("node");
            command.arg(dir.join("program.mjs"));
            command
        }),
    })
});

static GO: LazyLock<Option<Language>> = LazyLock::new(|| {
    succeeds(Command::new("go").arg("version")).then(|| Language {
        fence: "go",
        longest_example: 30,
        program: here("tests/clients/program.go"),
        make: Some(|dir, program| {
            fs::write(dir.join("go.mod"), "module shop\n\ngo 1.19\n").unwrap();
            fs::create_dir(dir.join("heartsay")).unwrap();
            for file in ["heartsay.go", "guard.go"] {
                fs::copy(here("clients/go").join(file), dir.join("heartsay").join(file)).unwrap();
            }
            fs::write(dir.join("main.go"), program).unwrap();
            let mut build = Command::new("go");
            build.args(["build", "-o", "program", "."]).current_dir(dir).env("GOFLAGS", "-mod=mod");
            if std::env::var_os("HOME").is_none() {
                build.env("GOCACHE", std::env::temp_dir().join("heartsay-go-cache"));
            }
            assert!(build.status().unwrap().success());
            Command::new(dir.join("program"))
        }),
    })
});

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

trait Numbers {
    fn as_f64_everywhere(&self) -> Value;
}

impl Numbers for Value {
    /// JavaScript and Go write 8 for 8.0.
    fn as_f64_everywhere(&self) -> Value {
        match self {
            Value::Number(number) => json!(number.as_f64()),
            Value::Array(items) => items.iter().map(Numbers::as_f64_everywhere).collect(),
            Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), v.as_f64_everywhere())).collect(),
            other @ (Value::Null | Value::Bool(_) | Value::String(_)) => other.clone(),
        }
    }
}

/// Generous for a loaded machine, and only ever waited in full by a failure.
const PATIENCE: Duration = Duration::from_secs(20);
