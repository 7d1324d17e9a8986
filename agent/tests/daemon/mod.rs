//! Real agents for the tests: started on loopback addresses of their own, asked
//! over their sockets, ended with the test.

#![allow(dead_code, reason = "every test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of any test function"
)]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// An agent before it is started.
pub struct Plan {
    pub name: String,
    pub ip: IpAddr,
    dir: tempfile::TempDir,
    socket: PathBuf,
    state_dir: PathBuf,
    bind: bool,
    wrapper: Vec<String>,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
}

/// A random loopback address, most likely of no other test.
pub fn own_ip() -> IpAddr {
    let mut random = [0; 3];
    getrandom::fill(&mut random).unwrap();
    IpAddr::from([127, random[0], random[1], random[2].clamp(1, 254)])
}

pub fn plan(name: &str) -> Plan {
    let dir = tempfile::tempdir().unwrap();
    Plan {
        name: name.to_owned(),
        ip: own_ip(),
        socket: dir.path().join("heartsay.sock"),
        state_dir: dir.path().join("state"),
        bind: true,
        dir,
        wrapper: Vec::new(),
        flags: Vec::new(),
        variables: Vec::new(),
    }
}

impl Plan {
    pub fn address(&self) -> String {
        format!("{}:4327", self.ip)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    pub fn seed(self, seed: &str) -> Self {
        self.flags(&["--seed", seed])
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    pub fn with_socket(mut self, socket: &Path) -> Self {
        self.socket = socket.to_owned();
        self
    }

    pub fn with_state_dir(mut self, dir: &Path) -> Self {
        self.state_dir = dir.to_owned();
        self
    }

    /// Starts it by this command, which has to become the agent.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Leaves `--bind` to the flags.
    pub fn without_bind(mut self) -> Self {
        self.bind = false;
        self
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir().join("log")
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Agent {
        let agent = self.launch();
        agent.wait_for("it answers", |agent| agent.try_get("/livez").is_some());
        agent
    }

    /// Starts it with a log that is not read, and that is full soon.
    pub fn start_unread(self) -> Agent {
        fs::write(self.log_path(), "").unwrap();
        let child = self.command().stderr(Stdio::piped()).spawn().unwrap();
        let agent = Agent { child, plan: self };
        agent.wait_for("it answers", |agent| agent.try_get("/livez").is_some());
        agent
    }

    /// Starts it.
    pub fn launch(self) -> Agent {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let child = self.command().stderr(log).spawn().unwrap();
        Agent { child, plan: self }
    }

    /// Starts it and waits until it ends by itself: exit code and what it wrote.
    pub fn fails(self) -> (i32, String) {
        let mut agent = self.launch();
        let status = agent.wait();
        (status.code().unwrap(), agent.log())
    }

    fn command(&self) -> Command {
        let heartsay = env!("CARGO_BIN_EXE_heartsay");
        let mut command = match self.wrapper.split_first() {
            Some((wrapper, words)) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(heartsay);
                command
            }
            None => Command::new(heartsay),
        };
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEARTSAY_")) {
            command.env_remove(name);
        }
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("JOURNAL_STREAM");
        command.arg("agent").args(["--cluster", "tests", "--name", &self.name]);
        command.arg("--state-dir").arg(&self.state_dir).arg("--socket").arg(&self.socket);
        if self.bind {
            command.args(["--bind", &self.address()]);
        }
        command.args(&self.flags).envs(self.variables.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

/// A running agent; killed when the test lets go of it.
pub struct Agent {
    child: Child,
    pub plan: Plan,
}

impl Agent {
    pub fn address(&self) -> String {
        self.plan.address()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.plan.log_path()).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Stops it, and waits until all its threads stand still: while the processors are busy that takes its time.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        let stands = |task: io::Result<fs::DirEntry>| {
            let stat = task.and_then(|task| fs::read_to_string(task.path().join("stat")));
            // Behind the name, which may contain anything, comes the state.
            stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
        };
        self.wait_for("it stands still", |_| fs::read_dir(&tasks).is_ok_and(|mut all| all.all(stands)));
    }

    /// Waits until the process ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        for _ in 0..TRIES {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(PAUSE);
        }
        panic!("{} did not end; its log:\n{}", self.plan.name, self.log());
    }

    /// Kills it without a word and starts it again in the same place.
    pub fn restart(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.again()
    }

    /// Starts an agent that has ended again in the same place.
    pub fn again(mut self) -> Self {
        let log = fs::OpenOptions::new().append(true).open(self.plan.log_path()).unwrap();
        self.child = self.plan.command().stderr(log).spawn().unwrap();
        self.wait_for("it answers again", |agent| agent.try_get("/livez").is_some());
        self
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn wait_for(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..TRIES {
            if condition(self) {
                return;
            }
            thread::sleep(PAUSE);
        }
        panic!("{}: waited in vain until {what}; its log:\n{}", self.plan.name, self.log());
    }

    /// Waits until its log has `text`, and returns the log: a thread of its own writes it, a moment later.
    pub fn wait_log(&self, text: &str) -> String {
        self.wait_for(&format!("the log says {text:?}"), |agent| agent.log().contains(text));
        self.log()
    }

    /// Waits until it sees `name` as `status`.
    pub fn wait_status(&self, name: &str, status: &str) {
        let path = format!("/v1/members/{name}");
        self.wait_for(&format!("{name} is {status}"), |agent| {
            agent.try_get(&path).is_some_and(|member| member["status"] == status)
        });
    }

    /// The JSON at `path`; must be there.
    pub fn get(&self, path: &str) -> Value {
        let response = self.ask("GET", path, "", "");
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        response.json()
    }

    pub fn try_get(&self, path: &str) -> Option<Value> {
        let response = exchange(&self.plan.socket(), "GET", path, "", "").ok()?;
        (response.status == 200).then(|| response.json())
    }

    pub fn post(&self, path: &str, body: &str) -> Response {
        self.ask("POST", path, "Content-Type: application/json\r\n", body)
    }

    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Response {
        exchange(&self.plan.socket(), method, path, headers, body).unwrap()
    }

    /// Begins to follow `/v1/watch` with this query and these header lines.
    pub fn watch(&self, query: &str, headers: &str) -> Watch {
        let mut stream = UnixStream::connect(self.plan.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET /v1/watch{query} HTTP/1.1\r\nHost: h\r\n{headers}\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader).unwrap();
        let mut watch = Watch { status, headers, reader, rest: String::new() };
        if status == 200 {
            // Of what happens before the stream begins, only its snapshot tells: a snapshot, or a sign of life, is there then.
            watch.read();
        }
        watch
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.plan.name, self.log());
        }
    }
}

pub struct Response {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// It is a problem document of this status; returns its detail.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.headers.contains("application/problem+json"), "{}", self.headers);
        let problem = self.json();
        assert_eq!(problem["status"], status);
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// One request on a connection of its own.
pub fn exchange(socket: &Path, method: &str, path: &str, headers: &str, body: &str) -> io::Result<Response> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    speak(stream, method, path, headers, body)
}

/// One request over `stream`, which is closed after it.
pub fn speak(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> io::Result<Response> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    // Refused bodies may not be read to the end.
    let _ = stream.write_all(body.as_bytes());
    let mut reader = BufReader::new(stream);
    let (status, headers) = read_head(&mut reader)?;
    let mut body = String::new();
    let _ = reader.read_to_string(&mut body);
    Ok(Response { status, headers, body })
}

fn read_head(reader: &mut impl BufRead) -> io::Result<(u16, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, head.to_lowercase()))
}

/// A stream of lines, taken out of the chunks of HTTP.
pub struct Watch {
    pub status: u16,
    pub headers: String,
    reader: BufReader<UnixStream>,
    rest: String,
}

impl Watch {
    /// The next line; `None` when the agent ended the stream.
    pub fn text(&mut self) -> Option<String> {
        loop {
            if let Some((line, rest)) = self.rest.split_once('\n') {
                let line = line.to_owned();
                self.rest = rest.to_owned();
                return Some(line);
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Option<()> {
        let mut size = String::new();
        self.reader.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).ok().filter(|size| *size > 0)?;
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        self.rest += std::str::from_utf8(&chunk[..size]).unwrap();
        Some(())
    }

    /// Reads on until a line of this type; not beyond the second sign of life, which comes after half a minute.
    pub fn next_of(&mut self, kind: &str) -> Value {
        let mut idle = 0;
        loop {
            let line = self.line();
            if line["type"] == kind {
                return line;
            }
            idle += u32::from(line["type"] == "idle");
            assert!(idle < 2, "no {kind}");
        }
    }

    /// The next line of JSON.
    pub fn line(&mut self) -> Value {
        serde_json::from_str(&self.text().expect("another line")).unwrap()
    }

    /// Reads on until a line of this type about this name.
    pub fn until(&mut self, kind: &str, name: &str) -> Value {
        loop {
            let line = self.line();
            if line["type"] == kind && line["name"] == name {
                return line;
            }
        }
    }
}

/// Two agents that know each other.
pub fn pair() -> (Agent, Agent) {
    let a = plan("a").flags(&["--expected", "2", "--tag", "role=web"]).start();
    let b = plan("b").flags(&["--expected", "2", "--zone", "z1"]).seed(&a.address()).start();
    a.wait_status("b", "alive");
    b.wait_status("a", "alive");
    (a, b)
}

const PAUSE: Duration = Duration::from_millis(20);
/// 30 s: generous for a loaded machine, and only ever waited in full by a failure.
const TRIES: usize = 1500;
